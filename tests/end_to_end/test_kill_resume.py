"""A few rounds of the kill -9 benchmark, and proof that it sees a difference."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from kill_resume import differences, unreadable  # noqa: E402


@pytest.mark.slow
def test_kills_at_random_moments_leave_nothing_unreadable_and_change_nothing(tmp_path):
    output = tmp_path / "kill.json"
    command = [sys.executable, str(ROOT / "benchmarks/kill_resume.py"), "--rounds", "3", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["equal"] == found["of"] == 3
    assert all(r["kills"] and r["launches"] > len(r["kills"]) - 1 for r in found["rounds"])
    assert not any(r["leftovers"] for r in found["rounds"])


def test_the_smallest_difference_is_seen():
    a = {"w": torch.ones(3), "rows": [{"x": 1.0}, {"x": float("nan")}], "n": 1}
    assert differences(a, {**a, "w": torch.ones(3)}) == []
    assert differences(a, {**a, "w": torch.ones(3) + 1e-7}) == ["/w"]
    assert differences(a, {**a, "w": torch.ones(3, dtype=torch.double)}) == ["/w"]
    assert differences(a, {**a, "rows": [{"x": 1.0}, {"x": 2.0}]}) == ["/rows/1/x"]
    assert differences(a, {**a, "rows": [{"x": 1.0}]}) == ["/rows"]
    assert differences(a, {"w": a["w"], "rows": a["rows"]}) == [""]
    assert differences(a, {**a, "n": 1.0}) == ["/n"]


def test_a_damaged_file_is_seen(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.json").write_text('{"id"')
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step"\n')
    (tmp_path / "checkpoints" / "last.pt").write_bytes(b"PK\x03\x04")
    found = unreadable(tmp_path, cut_lines=0)
    assert [line.split()[0] for line in found] == ["run.json", "metrics.jsonl", "last.pt:"]
    assert [line.split()[0] for line in unreadable(tmp_path, cut_lines=1)] == ["run.json", "last.pt:"]
