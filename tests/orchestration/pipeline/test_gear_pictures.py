"""Gear assembly from pictures: its graph in each size, and a tiny one from the episodes to the evaluation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from regimen.orchestration.pipeline import graph, sizes

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("size", "labelled"), [("small", True), ("unlabelled", False), ("tiny", True)])
def test_the_encoder_is_made_before_the_policies_that_read_its_features(size: str, labelled: bool) -> None:
    pipeline, _ = sizes.choose(graph.read("gear_pictures", [ROOT / "conf"]), [f"size={size}"])
    nodes = {node.name: node for node in graph.expand(pipeline)}
    (targets,) = [o for o in nodes["encoder"].overrides if o.startswith("agent.targets=")]
    assert ("privileged" in targets) is labelled
    inputs = {key: str(link) for key, link in nodes["judge.seed_0"].inputs.items()}
    assert inputs == {"policy": "train.seed_0@last", "encoder": "encoder"}


@pytest.mark.slow
def test_a_tiny_one(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "pipeline=gear_pictures", "size=tiny"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*/*/run.json")]
    ended = {record["stage"]: record for record in records}
    assert len(records) == 6 and {record["status"] for record in records} == {"finished"}
    assert ended["distill"]["headline"]["error_mm"] > 0
    assert ended["train"]["inputs"]["encoder"]["run"] == ended["distill"]["id"]
    assert ended["evaluate"]["inputs"]["encoder"] | {"ref": ""} == ended["train"]["inputs"]["encoder"] | {"ref": ""}
    assert 0.0 <= ended["evaluate"]["headline"]["success"] <= 1.0
