"""`regimen export`: what is written does what the policy does and says what a robot has to know, or is not written."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from agents.export.made_policies import AGENTS, run_with
from agents.rsl_rl.test_ppo import config as rsl_rl_config
from helpers.messages import assert_names, raises_naming
from helpers.tasks import make_env
from helpers.trainings import new_run
from regimen.agents.export import header, network
from regimen.agents.export.formats import TorchScript
from regimen.agents.export.network import largest_gap
from regimen.agents.policy_file import load_bundle, load_policy
from regimen.agents.rsl_rl.ppo import RslRlPpo
from regimen.cli import main
from regimen.cli.export_policy import export
from regimen.envs.robots.robot import load
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, ConfigError, PreflightError

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra [onnx]")
ONNX = (needs_onnx, pytest.mark.slow)  # an export to it takes some seconds
CASES = [(agent, "torchscript") for agent in AGENTS]
CASES += [pytest.param(agent, "onnx", marks=ONNX) for agent in AGENTS]


@pytest.mark.parametrize(("agent", "name"), CASES)
def test_what_is_exported_acts_as_the_policy_and_its_targets_are_the_robots(tmp_path, agent, name):
    source = run_with(tmp_path, agent)
    path = Path(export(str(source), name)[0].partition(" (")[0])
    assert path.parent == source.parent.parent / "exported" and path.stem.startswith("last")
    bundle, env = load_bundle(str(path)), make_env("reach", 7)
    exported = load_policy(bundle, env, seed=0)
    obs = {"policy": 2 * torch.randn(7, env.io.size())}
    wanted, _ = load_policy(checkpoint.load(source), env, seed=0).act(obs, None)
    found, _ = exported.act(obs, None)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert wanted.abs().max() > 0.1, "a policy that does nothing would show nothing"
    env.reset(seed=0)
    env.step(wanted)
    _, targets = exported.network([obs["policy"]])
    torch.testing.assert_close(targets, env._targets, rtol=1e-5, atol=1e-5)


def test_each_group_that_a_policy_reads_is_an_input(tmp_path):
    groups = ["policy", "discriminator"]
    cfg = rsl_rl_config("h1_failure", 1, 4, obs_groups={"actor": groups, "critic": ["policy"]})
    env, run = make_env("h1_failure", 3), new_run(tmp_path, cfg)
    agent = RslRlPpo(cfg.agent, env.io, 4, torch.device("cpu"), seed=0)
    head = {"format": 1, "step": 1, "agent": asdict(cfg.agent), "io": env.io.to_dict(), "policy": agent.policy_state()}
    checkpoint.save(run.checkpoints / "last.pt", head | {"run": run.id})
    path = Path(export(str(run.dir), "torchscript")[0].partition(" (")[0])
    bundle = load_bundle(str(path))
    assert bundle["policy"]["inputs"] == groups == list(bundle["io"]["observations"])
    obs = {group: torch.randn(3, env.io.size(group)) for group in env.io.observations}
    found, wanted = (load_policy(b, env, seed=0).act(obs, None)[0] for b in (bundle, head))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [pytest.param("onnx", marks=ONNX), "torchscript"])
def test_the_file_tells_what_a_robot_has_to_know(tmp_path, name):
    source = run_with(tmp_path, "skrl_ppo", task="go2_flat")
    out = tmp_path / f"walker.{'onnx' if name == 'onnx' else 'pt'}"
    said = export(str(source), name, out)
    description, robot = header.read_description(out), load("go2")
    told = description.to_dict()
    beside = json.loads(out.with_name(f"{out.name}.json").read_text())
    assert beside.pop("sha256")[out.name] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert told == beside
    assert told["robot"]["stiffness"] == list(robot.stiffness) and told["robot"]["damping"] == list(robot.damping)
    assert told["joint_names"] == list(robot.joints) and told["action_offset"] == list(robot.default_joint_pos)
    assert told["observations"]["policy"]["joint_vel"] == {"size": 12, "scale": 1.0, "clip": None}
    assert (told["step_dt"], told["task"], told["commit"]) == (0.02, "go2_flat", "c0ffee+")
    assert told["run"] == source.parent.parent.name
    assert told["check"]["observations"] == 1000 and told["check"]["largest_difference"] <= 1e-5
    assert_names("\n".join(said), out, f"{told['check']['largest_difference']:.1e}")
    io = IOSpec.from_dict(load_bundle(str(out))["io"])
    assert io == IOSpec.from_dict(checkpoint.load(source)["io"])


@pytest.mark.slow
@needs_onnx
def test_an_onnx_file_runs_without_this_project_and_holds_nothing_of_this_machine(tmp_path):
    import onnxruntime

    source, out = run_with(tmp_path, "fast_sac"), tmp_path / "arm.onnx"
    export(str(source), "onnx", out)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["policy"]
    assert [node.name for node in session.get_outputs()] == ["actions", "targets"]
    size = session.get_inputs()[0].shape[1]
    for rows in (1, 3):
        assert session.run(["targets"], {"policy": torch.zeros(rows, size).numpy()})[0].shape == (rows, 2)
    props = session.get_modelmeta().custom_metadata_map
    assert json.loads(props["joint_names"]) == list(load("reach_arm").joints)
    assert str(Path(network.__file__).parents[3]).encode() not in out.read_bytes()


def test_what_does_not_do_the_same_is_not_written(tmp_path, monkeypatch):
    source = run_with(tmp_path, "skrl_ppo")
    call = TorchScript.__call__
    monkeypatch.setattr(TorchScript, "__call__", lambda self, obs: [v * (1 + 5e-5) for v in call(self, obs)])
    with raises_naming(CheckpointError, source, "1e-05", "format=onnx") as caught:
        export(str(source), "torchscript")
    allowed, found = sorted(float(figure) for figure in re.findall(r"\b[\d.]+e-\d+", str(caught.value)))
    assert allowed == 1e-5 < found < 1e-4
    assert not (source.parent.parent / "exported").exists()


def test_a_value_that_is_not_a_number_is_a_difference():
    assert largest_gap(torch.tensor([[float("nan")]]), torch.tensor([[0.0]])) == float("inf")
    assert largest_gap(torch.tensor([[40.0], [0.2004]]), torch.tensor([[40.0], [0.2]])) == pytest.approx(1e-5, rel=0.1)
    assert largest_gap(torch.tensor([[40.0, 0.2004]]), torch.tensor([[40.0, 0.2]])) == pytest.approx(4e-4, rel=0.1)


def test_a_policy_that_is_no_network_of_one_step_is_refused(tmp_path):
    path = run_with(tmp_path, "skrl_ppo")
    importlib.import_module("helpers.point_env")  # a checkpoint's own code is used only if it is imported already
    checkpoint.save(
        path, checkpoint.load(path) | {"agent": {"_target_": "helpers.point_env.StepCounter"}, "policy": {"gain": 1}}
    )
    with raises_naming(CheckpointError, "StepCounter", "skrl_ppo", "rsl_rl_ppo", "student"):
        export(str(path), "torchscript")


def test_raw_observations_are_chosen_by_a_word(tmp_path, capsys):
    source, out = run_with(tmp_path, "recurrent"), tmp_path / "arm.pt"
    assert main.main(["export", str(source), "format=torchscript", "observations=raw", "--out", str(out)]) == 0
    assert_names(capsys.readouterr().out, "joint_pos 2", "joint_vel 2", "hidden", "cell")
    assert list(header.read_description(out).sensors) == ["joint_pos", "joint_vel", "target", "tip"]


@needs_onnx
def test_a_runner_that_was_changed_is_not_lost(tmp_path):
    source, out = run_with(tmp_path, "skrl_ppo"), tmp_path / "my-arm.onnx"
    (tmp_path / "my_arm_runner.py").write_text("print('mine')")
    with raises_naming(ConfigError, "my_arm_runner.py", "--out"):
        export(str(source), "onnx", out)
    assert not out.exists()


def test_a_lone_checkpoint_needs_its_task(tmp_path):
    lone = run_with(tmp_path, "skrl_ppo").rename(tmp_path / "arm.policy.pt")
    out = tmp_path / "arm.pt"
    with raises_naming(ConfigError, f"regimen export {lone} format=onnx task=<name>"):
        export(str(lone), "torchscript", out)
    with raises_naming(ConfigError, "elbow", "shoulder", "go2"):
        export(str(lone), "torchscript", out, ["task=go2_flat"])
    export(str(lone), "torchscript", out, ["task=reach"])
    told = header.read_description(out).to_dict()
    assert (told["task"], told["robot"]["name"], told["commit"]) == ("reach", "reach_arm", None)
    with raises_naming(CheckpointError, out, "exported"):
        export(str(out), "torchscript")


def test_mistakes_say_what_to_type(tmp_path, capsys, monkeypatch):
    source = str(run_with(tmp_path, "skrl_ppo"))
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.pt"
    mine.write_text("precious")
    wrong = {
        ("format=onx",): ["format=onx", "onnx"],
        ("format=torchscript", "--out", "arm.onnx"): ["--out arm.onnx", ".pt", "arm.pt"],
        ("format=torchscript", "--out", "mine.pt"): ["--out mine.pt"],
        ("format=torchscript", "task=reach"): ["task=reach", source],
        ("format=torchscript", "observations=row"): ["observations=row", "raw"],
    }
    for words, names in wrong.items():
        assert main.main(["export", source, *words]) == 2
        assert_names(capsys.readouterr().err, *names)
    assert mine.read_text() == "precious"
    assert main.main(["export", "format=onnx", "task=reach"]) == 2
    assert_names(capsys.readouterr().err, "regimen export <run> format=onnx")
    for run in ("walker", "walker@best", "pretrained:go2_flat", "20261120-142233-reach-skrl_ppo-1a2b"):
        assert main.main(["export", run]) == 2
        assert_names(capsys.readouterr().err, run, "format=onnx", "format=torchscript", f"regimen export {run}.csv")
        assert not Path(run).exists()


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with raises_naming(PreflightError, f"{sys.executable} -m pip install -e '.[onnx]'", "format=torchscript"):
        export("pretrained:go2_flat", "onnx")
