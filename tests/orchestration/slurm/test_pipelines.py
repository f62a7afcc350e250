"""Pipelines on a real Slurm: the whole graph is submitted at once, and a failure ends what comes after it."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.user_folder import write
from orchestration.slurm.cluster import SMALL, Cluster, wait_for
from regimen.system import files

pytestmark = pytest.mark.slow

STEPS = """# A test
overrides: [task=idle, sim=idle, agent=idle, hardware=slurm]
steps:
  - {name: walk, stage: make, foreach: {seed: [0, 1]}, overrides: [stage.steps=20, stage.step_s=0.05]}
  - {name: data, stage: make, foreach: walk, inputs: {policy: walk@best}, overrides: [stage.data=true]}
  - {name: model, stage: make, inputs: {data: data}, overrides: [stage.broken=upside_down]}
  - {name: judge, stage: make, inputs: {policy: model@best}}
"""
COMMAND = ("--config-dir", "conf", "pipeline=p", *SMALL)


def by_step(cluster: Cluster) -> dict[str, dict[str, Any]]:
    runs = [files.read_json(file) or {} for file in cluster.folder.glob("outputs/*/run.json")]
    return {str((run["pipeline"] or {})["step"]): run for run in runs}


def statuses(cluster: Cluster) -> dict[str, str]:
    return {step: run["status"] for step, run in by_step(cluster).items()}


def test_the_graph_is_submitted_at_once_and_only_once(cluster: Cluster) -> None:
    write(cluster.folder / "conf/pipeline/p.yaml", STEPS)
    said = cluster.launch(*COMMAND)
    assert said.count("submitted ") == 6, said
    runs = by_step(cluster)
    assert runs["model"]["status"] == "queued"
    assert runs["model"]["pending"] == {
        f"data.{i}": str(cluster.dir(runs[f"data.seed_{i}"]["id"]).resolve()) for i in (0, 1)
    }
    assert runs["model"]["parents"] == [runs["data.seed_0"]["id"], runs["data.seed_1"]["id"]]
    again = cluster.launch(*COMMAND)
    assert "submitted " not in again
    assert_names(again, "force=true")
    assert len(by_step(cluster)) == 6 and len(list(cluster.folder.glob("outputs/*/run.json"))) == 6
    plan = cluster.launch(*COMMAND, "dry_run=true")
    assert "  to do  " not in plan, plan

    wait_for(lambda: set(statuses(cluster).values()) == {"finished"}, "all finished")
    runs = by_step(cluster)
    assert runs["model"]["pending"] == {} and set(runs["model"]["inputs"]) == {"data.0", "data.1"}
    assert runs["data.seed_1"]["inputs"]["policy"]["run"] == runs["walk.seed_1"]["id"]
    said = cluster.launch(*COMMAND)
    assert_names(said, "6 of 6")
    assert said.count("reused  ") >= 6, said
    assert len(list(cluster.folder.glob("outputs/*/run.json"))) == 6


def test_a_failed_step_ends_those_after_it_and_the_same_command_continues_in_place(cluster: Cluster) -> None:
    write(cluster.folder / "conf/pipeline/p.yaml", STEPS)
    flag = write(cluster.folder / "upside_down", "")
    said = cluster.launch(*COMMAND, "wait=true", code=1)
    assert "model" in said and "failed (1)" in said and "blocked by model" in said, said
    runs = by_step(cluster)
    assert runs["judge"]["status"] == "killed" and runs["judge"]["supervisor"] is None, "it never started"
    assert_names(runs["judge"]["reason"], f"job {runs['judge']['queue']['job']}")
    (file,) = cluster.folder.glob("multirun/*/pipeline.json")
    steps = {step["name"]: step["status"] for step in (files.read_json(file) or {})["steps"]}
    assert steps["judge"] == "blocked by model" and steps["data.seed_1"] == "finished"

    flag.unlink()
    said = cluster.launch(*COMMAND, "wait=true")
    assert_names(said, "6 of 6")
    after = by_step(cluster)
    assert {step: run["id"] for step, run in after.items()} == {step: run["id"] for step, run in runs.items()}
    assert len(after["model"]["resumed"]) == 1 and not after["walk.seed_0"]["resumed"]
