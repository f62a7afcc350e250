"""Our tasks in Genesis through the launcher: training, evaluation in both simulators, recorded episodes."""

from __future__ import annotations

import json
from importlib.util import find_spec

import h5py
import pytest

from helpers.launches import launch, record
from regimen.system import json_lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("genesis") is None, reason="Genesis is not installed: make genesis"),
]

REACH = ["task=reach", "hardware.threads=1"]


def test_a_policy_is_trained_in_genesis_judged_in_both_simulators_and_recorded(tmp_path):
    few = ["env.num_envs=4", "agent.trainer.timesteps=96", "stage.checkpoint_interval=96"]
    judged = ["stage.evaluation.every=96", "stage.evaluation.envs_per_command=1", "stage.evaluation.sims=[mujoco]"]
    out = launch(tmp_path, *REACH, "sim=genesis", *few, *judged, "name=arm")
    directory, info = record(tmp_path, "arm")
    assert info["status"] == "finished" and info["warnings"] == [], out
    curves = {row["sim"]: row for row in json_lines.rows(directory / "evaluation.jsonl")}
    assert curves.keys() == {"genesis", "mujoco"}
    assert curves["genesis"]["checkpoint"] == curves["mujoco"]["checkpoint"]
    distances = {sim: row["Evaluation/all/distance"]["value"] for sim, row in curves.items()}
    assert distances["genesis"] != distances["mujoco"], "each has its own physics"
    best = json.loads((directory / "result.json").read_text())["evaluation"]["best"]
    assert best["value"] == distances["genesis"], "the simulator of the training decides"

    judged = ["stage=evaluate", "policy=arm", "sim=mujoco", "stage.envs_per_command=1", "name=in_mujoco"]
    out = launch(tmp_path, *REACH, *judged)
    info = record(tmp_path, "in_mujoco")[1]
    assert info["status"] == "finished" and info["choices"]["sim"] == "mujoco", out
    assert info["headline"]["survival"] == 1.0

    collected = ["stage=collect", "policy=arm", "sim=genesis", "env.num_envs=2", "stage.steps=60", "name=recorded"]
    out = launch(tmp_path, *REACH, *collected)
    directory, info = record(tmp_path, "recorded")
    assert info["status"] == "finished", out
    with h5py.File(directory / "data" / "episodes.h5") as file:
        names: list[str] = []
        file.visit(names.append)
    assert any(name.endswith("actions") or name.endswith("action") for name in names), names
