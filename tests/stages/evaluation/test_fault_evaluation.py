"""The evaluation over faults, from a pretrained walker to its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tasks import CONF
from regimen.config.schema import Config
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.stages.evaluation.fault_grid import FaultCase
from regimen.stages.evaluation.fault_metrics import fault_metrics
from regimen.stages.evaluation.metrics import EpisodeResults
from stages.pictures import is_drawn

WALKER = str(CONF.parent / "pretrained" / "h1_flat" / "policy.pt")


def evaluate(folder: Path, config: Config) -> dict[str, Any]:
    config.policy = WALKER
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(config.stage)}, ["launch.py"], []))
    Evaluate(config.stage)(run, config)
    return {"dir": run.dir} | json.loads((run.dir / "result.json").read_text())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from regimen.config.compose import compose_config

    changes = ["task=h1_failure", "stage=evaluate", "stage.faults=true", "stage.bootstrap=50", "hardware.threads=1"]
    config = compose_config([*changes, "stage.episode_length_s=3.0"])
    config.env.evaluation.fault_grid.severity = {"left_hip_yaw": [100.0, 50.0], ".*_knee": [300.0, 5.0]}
    config.env.evaluation.fault_grid.envs, config.env.evaluation.fault_grid.onset_s = 2, 0.5
    return evaluate(tmp_path_factory.mktemp("faults"), config)


@pytest.mark.slow
def test_each_joint_and_severity_is_judged_on_its_own_envs(result: dict[str, Any]) -> None:
    assert [(c["joint"], c["severity"], c["episodes"]) for c in result["cells"]] == [
        ("left_hip_yaw", 100.0, 2), ("left_hip_yaw", 50.0, 2), ("left_knee", 300.0, 2), ("left_knee", 5.0, 2),
        ("right_knee", 300.0, 2), ("right_knee", 5.0, 2),
    ]  # fmt: skip
    for cell in result["cells"]:
        assert cell["survival"]["value"] == (0.0 if cell["severity"] == 5.0 else 1.0), cell
        assert (cell["time_to_fall_s"] is None) == (cell["falls"] == 0)
    assert 0.1 < result["joints"]["right_knee"]["time_to_fall_s"] < 2.5
    assert result["healthy"]["episodes"] == 4 and result["healthy"]["falls"] == 0
    assert result["overall"]["episodes"] == 12 and result["overall"]["falls"] == 4


@pytest.mark.slow
def test_the_headline_is_survival_with_a_fault_and_without(result: dict[str, Any]) -> None:
    assert result["headline"]["survival"] == pytest.approx(8 / 12)
    assert result["headline"]["survival_healthy"] == 1.0
    assert result["overall"]["survival"]["low"] < 8 / 12 < result["overall"]["survival"]["high"]
    assert result["overall"]["power"]["value"] > 50.0
    assert is_drawn(result["dir"] / "figures" / "faults.png")


def test_time_to_fall_counts_from_the_onset_and_only_falls_after_it(compose_config: Callable[..., Config]) -> None:
    config = compose_config(["task=h1_failure", "stage=evaluate", "stage.faults=true"])
    columns = {"return": np.zeros(4), "episode_length_s": np.array([1.0, 4.0, 5.0, 20.0])}
    table = EpisodeResults(np.ones(4, dtype=int), columns, np.array([True, True, True, False]))
    everyone = np.ones(4, dtype=bool)
    grid, cfg = config.env.evaluation.fault_grid, EvaluateCfg(bootstrap=20)
    judged = fault_metrics(table, everyone, FaultCase("left_knee", 50.0, 4), grid, cfg.bootstrap, seed=0)
    assert judged.time_to_fall_s == pytest.approx(1.5)
    assert judged.metrics.falls == 3
    assert fault_metrics(table, ~table.fell, None, grid, cfg.bootstrap, seed=0).time_to_fall_s is None
