"""The distill stage, from datasets to its files: gates, resume, what is written."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.failure_detector.broken_joints import SWING, table, write_swing
from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import change, recorded
from helpers.tasks import CONF
from regimen.agents.failure_detector.agent import FailureGruCfg
from regimen.agents.failure_detector.decision_rule import DecisionCfg
from regimen.agents.failure_detector.model import ModelCfg
from regimen.agents.failure_detector.trainer import TrainingCfg
from regimen.config.compose import compose
from regimen.config.schema import Config
from regimen.envs.vec_env import IOSpec
from regimen.orchestration.preflight import preflight
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.outcome import next_command
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.stages.distill import Distill, DistillCfg
from regimen.system.errors import ConfigError, DatasetError, StopRequested
from stages.pictures import is_drawn

pytestmark = pytest.mark.usefixtures("blank_figures")


def detector_cfg(**training: Any) -> FailureGruCfg:
    learning = TrainingCfg(**({"epochs": 4, "batch_size": 16, "chunk": 20, "learning_rate": 1e-2} | training))
    return FailureGruCfg(model=ModelCfg(hidden=16), training=learning, decision=DecisionCfg(0.8, 3), resamples=50)


def config_for(data: Path | list[Path], stage: DistillCfg | None = None, **training: Any) -> Config:
    paths = data if isinstance(data, list) else [data]
    return Config(
        env=None,
        agent=detector_cfg(**training),
        stage=stage or DistillCfg(),
        data=[str(path) for path in paths],
        choices={"agent": "failure_gru", "stage": "distill", "task": "swing"},
    )


def new_run(root: Path, config: Config) -> Run:
    return Run(create_run_dir(root, {"stage": asdict(config.stage)}, ["launch.py"], [], repository=root))


def distill(root: Path, config: Config) -> tuple[Run, dict[str, Any]]:
    run = new_run(root, config)
    Distill(config.stage)(run, config)
    return run, json.loads((run.dir / "result.json").read_text())


@pytest.mark.usefixtures("drawn_figures")
@pytest.mark.slow
def test_a_detector_is_learned_and_judged_beside_its_baselines(tmp_path, capsys):
    run, result = distill(tmp_path, config_for(write_swing(tmp_path / "e.h5")))
    assert set(result["headline"]) == {"macro_f1", "delay_steps", "false_alarms_per_hour"}
    assert result["headline"]["macro_f1"] > 0.8
    assert set(result["baselines"]) == {"majority", "one_frame", "torque_threshold"}
    figures = result["detector"]["all"]["figures"]
    assert figures["macro_f1"]["low"] <= figures["macro_f1"]["value"] <= figures["macro_f1"]["high"]
    assert figures["macro_f1"]["low"] > result["baselines"]["majority"]["all"]["figures"]["macro_f1"]["high"]
    assert result["detector"]["all"]["joints"].keys() == {"hip", "knee"}, "those that never fail are not scored"
    assert result["gate"] == {"problems": [], "accept": None}
    assert result["data"]["by_split"]["test"]["envs"] == 7
    names = {path.name for path in (run.dir / "figures").glob("*.png")}
    assert names == {"confusion.png", "calibration.png", "delays.png", "baselines.png", "learning_curve.png"}
    assert all(is_drawn(run.dir / "figures" / name) for name in names)
    assert "detector" in capsys.readouterr().out
    bundle = checkpoint.load(run.checkpoints / "best.pt")
    assert bundle["detector"]["classes"] == ["healthy", "hip", "knee"]
    assert bundle["metric"] == pytest.approx(max(row["Train/val_macro_f1"] for row in run.metrics()))


@pytest.mark.slow
@pytest.mark.parametrize("checks", [3, 7])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, checks, monkeypatch):
    config = config_for(write_swing(tmp_path / "e.h5"), epochs=2)
    whole, result = distill(tmp_path, config)
    parts, asked = new_run(tmp_path, config), []
    really = Run.check_stop

    def check_stop(self: Run, step: int, save: Any) -> None:
        asked.append(step)
        self.stop_signal = signal.SIGTERM if len(asked) == checks else None
        really(self, step, save)

    monkeypatch.setattr(Run, "check_stop", check_stop)
    with pytest.raises(StopRequested):
        Distill(config.stage)(parts, config)
    Distill(config.stage)(parts, config)
    again = json.loads((parts.dir / "result.json").read_text())
    assert again["detector"] == result["detector"] and again["baselines"] == result["baselines"]
    first, second = (checkpoint.load(run.checkpoints / "last.pt") for run in (whole, parts))
    assert first["step"] == second["step"]
    assert all(bool((v == second["detector"]["network"][k]).all()) for k, v in first["detector"]["network"].items())
    timings = ("time_s", "Perf/data_share")
    rows = [[{k: v for k, v in row.items() if k not in timings} for row in run.metrics()] for run in (whole, parts)]
    assert rows[0] == rows[1]


def test_the_disaster_of_one_joint_is_refused_by_name(tmp_path):
    made = table()
    made["labels/fault_joint"][made["labels/fault_joint"] == 0] = 1
    path = write_swing(tmp_path / "e.h5", made)
    with raises_naming(DatasetError, "hip: 0", 'stage.accept="<reason>"'):
        distill(tmp_path, config_for(path))


@pytest.mark.slow
def test_refused_data_are_taken_with_a_reason_and_the_reason_is_kept(tmp_path):
    made = table()
    made["labels/fault_joint"][made["labels/fault_joint"] == 0] = 1
    path = write_swing(tmp_path / "e.h5", made)
    run, result = distill(tmp_path, config_for(path, DistillCfg(accept="only knees wanted"), epochs=1))
    assert result["gate"]["accept"] == "only knees wanted" and "hip" in result["gate"]["problems"][0]
    assert any("only knees wanted" in warning for warning in recorded(run)["warnings"])
    assert result["detector"]["all"]["joints"].keys() == {"knee"}


@pytest.mark.slow
def test_several_datasets_are_learned_from_together(tmp_path):
    paths = [write_swing(tmp_path / f"{seed}.h5", table(seed=seed), seed=seed) for seed in (0, 1)]
    _, result = distill(tmp_path, config_for(paths, epochs=1))
    one = distill(tmp_path, config_for(paths[0], epochs=1))[1]
    assert result["data"]["rows"] == 2 * one["data"]["rows"]
    assert result["data"]["by_split"]["test"]["envs"] == 14


@pytest.mark.slow
def test_a_second_dataset_may_come_from_a_policy_that_is_told_more(tmp_path):
    told = table(seed=1)
    told["obs/policy"] = np.concatenate((told["obs/policy"], told["reward"][..., None]), axis=2)
    wider = IOSpec.from_dict(SWING.to_dict())
    wider.observations["policy"]["fault_probability"] = 1
    paths = [write_swing(tmp_path / "0.h5"), write_swing(tmp_path / "1.h5", told, io=wider.to_dict())]
    assert distill(tmp_path, config_for(paths, epochs=1))[1]["data"]["by_split"]["test"]["envs"] == 14
    wider.observations["discriminator"]["more"] = wider.observations["discriminator"].pop("goal")
    odd = write_swing(tmp_path / "2.h5", told, io=wider.to_dict())
    with raises_naming(DatasetError, "discriminator.goal"):
        distill(tmp_path, config_for([paths[0], odd], epochs=1))


@pytest.mark.slow
def test_data_without_any_fault_are_judged_without_claims(tmp_path):
    made = table(num_envs=12)
    made["labels/fault_joint"][:] = -1
    made["labels/fault_limit"][:] = np.nan
    _, result = distill(tmp_path, config_for(write_swing(tmp_path / "e.h5", made), DistillCfg(accept="try"), epochs=1))
    assert result["detector"]["all"]["figures"]["delay_steps"]["value"] is None
    assert set(result["headline"]) == {"macro_f1", "false_alarms_per_hour"}


def test_an_agent_that_does_not_learn_from_data_is_refused(tmp_path):
    config = config_for(write_swing(tmp_path / "e.h5"))
    config.agent = type("Cfg", (), {"_target_": "helpers.point_env.ToGoal"})()
    run = new_run(tmp_path, config)
    with raises_naming(ConfigError, "agent=failure_gru", "fit", "stage=distill"):
        Distill(config.stage)(run, config)


def test_preflight_asks_for_data_and_neither_for_a_policy_nor_for_room_for_envs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_swing(tmp_path / "e.h5", table(num_envs=4))
    words = ["stage=distill", "agent=failure_gru", "task=h1_failure", "env.num_envs=1000000"]
    found = preflight(compose([*words, f"data=[{path}]"], [CONF]), tmp_path)
    assert found.inputs == {"data.0": path} and found.estimate.main["env"] < 2**20
    with raises_naming(ConfigError, "distill", "data=[latest]"):
        preflight(compose(words, [CONF]), tmp_path)
    with raises_naming(ConfigError, "policy=pretrained:h1_flat", "stage=distill", "data"):
        preflight(compose([*words, f"data=[{path}]", "policy=pretrained:h1_flat"], [CONF]), tmp_path)


@pytest.mark.slow
def test_what_to_type_next_names_the_detector(tmp_path):
    config = config_for(write_swing(tmp_path / "e.h5"), epochs=1)
    run, _ = distill(tmp_path / "outputs", config)
    change(run.dir, stage="distill", choices=config.choices)
    said = next_command(run, Status.FINISHED, 0)
    assert said.startswith(
        "python launch.py stage=evaluate task=swing agent=failure_gru policy=<its policy> estimator="
    )


def test_problems_are_found_before_anything_starts():
    assert DistillCfg().problems({"data": ["x.h5"]}) == []
    for cfg, data, name in (
        (DistillCfg(), [], "data=[latest]"),
        (DistillCfg(accept=" "), ["x"], "accept"),
        (DistillCfg(memory_gb=0), ["x"], "memory_gb"),
    ):
        [line] = cfg.problems({"data": data})
        assert_names(line, name)
