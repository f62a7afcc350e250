"""`regimen deploy-check`: the exported file acts outside of this project as its checkpoint does, or is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.messages import assert_names, raises_naming
from helpers.tasks import make_env, task_config
from helpers.trainings import new_run
from regimen.agents.deployment import closed_loop, exporting
from regimen.agents.deployment.runner_process import RunnerProcess
from regimen.agents.student import Student, StudentCfg
from regimen.cli import main
from regimen.config.schema import Config, HardwareCfg
from regimen.config.task_schema import ManagerEnvCfg
from regimen.envs.sims.mujoco import MujocoWorldCfg
from regimen.runs import checkpoint
from regimen.stages.export import Export, ExportCfg
from regimen.stages.train import TrainCfg
from regimen.system.errors import CheckpointError, ConfigError

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra [onnx]")

TERMS = {
    "joint_pos": {"clip": 0.4, "history": 3, "noise": 0.2, "delay": [1, 1]},
    "joint_vel": {"bias": 0.5},
    "action": {"func": "last_action", "scale": 0.5},
}
SHORT = {"episode_length_s": 0.5, "observations": {"policy": {"history": 2, "terms": TERMS}}}


def arm() -> ManagerEnvCfg:
    return task_config("reach", num_envs=4, **SHORT)


def student_run(folder: Path, seed: int = 0) -> Path:
    """A run with the checkpoint of a recurrent student of an arm; its directory."""
    cfg = StudentCfg(observations=["policy"], hidden=[16], recurrent=8)
    choices = {"task": "reach", "sim": "mujoco", "agent": "student", "hardware": "cpu", "stage": "train"}
    hardware = HardwareCfg(threads=1)
    config = Config(env=arm(), sim=MujocoWorldCfg(), agent=cfg, hardware=hardware, stage=TrainCfg(), choices=choices)
    run = new_run(folder / "outputs", config)
    save(run.checkpoints / "last.pt", run.id, seed)
    return run.dir


def save(path: Path, run: str, seed: int, step: int = 48) -> None:
    cfg = StudentCfg(observations=["policy"], hidden=[16], recurrent=8)
    io = make_env("reach", 1, **SHORT).io
    net = Student(cfg, io, 1, torch.device("cpu"), seed).net
    torch.nn.init.normal_(net.head[-1].weight, std=0.5)
    head = {"format": 1, "run": run, "step": step, "agent": asdict(cfg), "io": io.to_dict()}
    checkpoint.save(path, head | {"policy": {"net": net.state_dict()}})


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose policy was exported with its observation pipeline."""
    run = student_run(tmp_path_factory.mktemp("deployed"))
    assert main.main(["export", str(run), "format=onnx", "observations=raw"]) == 0
    return run


@needs_onnx
@pytest.mark.slow
def test_the_runner_moves_the_arm_as_the_checkpoint_through_several_episodes(deployed, capsys):
    assert main.main(["deploy-check", f"{deployed}@last", "--steps", "120"]) == 0
    assert_names(capsys.readouterr().out, "120", "raw", "last.onnx.deploy_check.json")
    told = json.loads((deployed / "exported" / "last.onnx.deploy_check.json").read_text())
    assert (told["agrees"], told["steps"], told["run"], told["observations"]) == (True, 120, deployed.name, "raw")
    assert told["episodes"] == 5 and told["falls"] == 0
    assert max(told["joints"].values()) <= 1e-5 and set(told["joints"]) == {"shoulder", "elbow"}
    assert 0 < told["step_median_s"] <= told["step_p99_s"]


@needs_onnx
@pytest.mark.slow
def test_the_shipped_runner_does_the_pipeline_of_a_file_that_reads_groups(deployed, tmp_path, capsys):
    out = tmp_path / "arm.onnx"
    assert main.main(["export", str(deployed), "format=onnx", "--out", str(out)]) == 0
    assert main.main(["deploy-check", str(deployed), "--file", str(out), "--steps", "60"]) == 0
    spec = importlib.util.spec_from_file_location("arm_runner", tmp_path / "arm_runner.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    runner = module.Runner(str(out))
    assert runner.sensors == ["joint_pos", "joint_vel", "target", "tip"] and runner.joint_names == ["shoulder", "elbow"]
    sensors = {name: np.full(size, 0.2) for name, size in zip(runner.sensors, (2, 2, 2, 3), strict=True)}
    first, later = runner.step(sensors), runner.step(sensors)
    runner.reset()
    assert np.array_equal(runner.step(sensors), first) and not np.array_equal(later, first)
    source = (tmp_path / "arm_runner.py").read_text()
    assert len(source.splitlines()) <= 60 and "regimen" not in source.split('"""')[2]


@needs_onnx
@pytest.mark.slow
def test_a_file_that_acts_differently_is_found(deployed, tmp_path, capsys):
    other = Path(shutil.copytree(deployed, tmp_path / deployed.name))
    save(other / "checkpoints" / "last.pt", deployed.name, seed=1)  # other weights, as of the same run and step
    assert main.main(["deploy-check", str(other), "--steps", "20"]) == 1
    assert json.loads((other / "exported" / "last.onnx.deploy_check.json").read_text())["agrees"] is False
    save(other / "checkpoints" / "last.pt", deployed.name, seed=0, step=96)
    assert main.main(["deploy-check", str(other)]) == 2
    assert_names(capsys.readouterr().err, "48", "96", "regimen export")
    save(other / "checkpoints" / "last.pt", "another-run", seed=0)
    assert main.main(["deploy-check", str(other)]) == 2
    assert_names(capsys.readouterr().err, "another-run", deployed.name)
    spoilt = other / "exported" / "last.onnx"
    spoilt.write_bytes(spoilt.read_bytes() + b"\0")
    assert main.main(["deploy-check", str(other)]) == 2
    assert_names(capsys.readouterr().err, "last.onnx", "last.onnx.json")


@needs_onnx
@pytest.mark.slow
def test_the_stage_leaves_all_that_a_robot_needs_in_its_run(deployed, tmp_path):
    cfg = ExportCfg(observations="raw", check_steps=30)
    choices = {"task": "reach", "sim": "mujoco", "agent": "student", "hardware": "cpu", "stage": "export"}
    config = Config(env=arm(), sim=MujocoWorldCfg(), agent=StudentCfg(), stage=cfg, choices=choices)
    config.hardware, config.policy = HardwareCfg(threads=1), str(deployed / "checkpoints" / "last.pt")
    run = new_run(tmp_path / "outputs", config)
    run.logs.mkdir(exist_ok=True)
    Export(cfg)(run, config)
    names = {"last.onnx", "last.onnx.json", "last_runner.py", "last.onnx.deploy_check.json"}
    assert {path.name for path in (run.dir / "exported").iterdir()} == names
    assert {Path(artifact.path).name for artifact in run.artifacts()} == names
    result = json.loads((run.dir / "result.json").read_text())
    assert result["headline"]["closed_loop_difference"] <= 1e-5 and result["closed_loop"]["steps"] == 30
    assert result["closed_loop"]["run"] == deployed.name


def runner_file(folder: Path, body: str) -> Path:
    path = folder / "arm_runner.py"
    lines = [
        "import numpy as np",
        "class Runner:",
        "    sensors = ['joint_pos']",
        "    def __init__(self, path): self.reset()",
        "    def reset(self): self.count = 0",
        "    def step(self, sensors):",
        "        self.count += 1",
        "        self.actions = self.count * sensors['joint_pos']",
        f"        {body}",
        "        return self.actions + 1",
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.slow
def test_a_runner_is_apart_from_this_project(tmp_path):
    with RunnerProcess(runner_file(tmp_path, "print('not an answer')"), tmp_path / "arm.onnx") as process:
        assert process.sensors == ["joint_pos"]
        steps = [process.step({"joint_pos": [0.5, 0.1]}, begins) for begins in (True, False, True)]
    assert [step.actions[0] for step in steps] == [0.5, 1.0, 0.5] and steps[1].targets[0] == 2.0
    for module in ("regimen", "torch", "regimen.envs"):
        with (
            raises_naming(CheckpointError, "arm.onnx", module.partition(".")[0]),
            RunnerProcess(runner_file(tmp_path, f"import {module}"), tmp_path / "arm.onnx") as process,
        ):
            process.step({"joint_pos": [0.5]}, True)


def test_a_runner_that_ends_is_an_error_at_once(tmp_path):
    began = time.monotonic()
    with (
        raises_naming(CheckpointError, "arm.onnx"),
        RunnerProcess(runner_file(tmp_path, "import os; os._exit(3)"), tmp_path / "arm.onnx") as process,
    ):
        process.step({"joint_pos": [0.5]}, True)
    assert time.monotonic() - began < 30


@needs_onnx
def test_files_that_are_missing_or_changed_are_named(tmp_path):
    source, policy = tmp_path / "arm.policy.pt", tmp_path / "arm.onnx"
    with raises_naming(ConfigError, policy, f"regimen export {source} format=onnx"):
        closed_loop.find_exported(source, policy)
    with raises_naming(ConfigError, "--file", "arm.pt", "format=onnx"):
        closed_loop.find_exported(source, tmp_path / "arm.pt")
    policy.write_bytes(b"\x08network")
    runner = exporting.runner_of(policy)
    runner.write_bytes(exporting.RUNNER.read_bytes())
    sums = {path.name: exporting.files.sha256(path) for path in (policy, runner)}
    exporting.metadata_of(policy).write_text(json.dumps({"sha256": sums}))
    assert closed_loop.find_exported(source, policy) == policy
    runner.write_text(runner.read_text() + "# mine\n")
    with raises_naming(CheckpointError, runner, "arm.onnx.json"):
        closed_loop.find_exported(source, policy)
    policy.write_bytes(b"\x08another")
    with raises_naming(CheckpointError, policy, "arm.onnx.json"):
        closed_loop.find_exported(source, policy)
    runner.write_text("# of another version")
    policy.write_bytes(b"\x08network")
    sums[runner.name] = exporting.files.sha256(runner)
    exporting.metadata_of(policy).write_text(json.dumps({"sha256": sums}))
    with raises_naming(CheckpointError, runner, "version"):
        closed_loop.find_exported(source, policy)


def test_readings_are_those_before_the_pipeline():
    env = make_env("reach", 4, **SHORT)
    env.reset(seed=0)
    readings: dict[str, Any] = env.observations.readings()
    torch.testing.assert_close(readings["policy.joint_pos"], env.state.joint_offset)
    assert readings["policy.joint_pos"].abs().max() > 0.4 and readings["policy.action"].shape == (4, 2)
