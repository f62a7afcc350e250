"""The shipped study, shortened: killed in the middle, continued by the same command, nothing repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.subprocesses import popen
from helpers.supervised_runs import wait_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, str(ROOT / "launch.py"), "pipeline=reach_study", "agent.trainer.timesteps=480"]


def runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Run.json by step."""
    found = [json.loads(file.read_text()) for file in folder.glob("outputs/*/run.json")]
    return {info["pipeline"]["step"]: info for info in found}


def test_killed_in_the_middle_and_continued(tmp_path: Path) -> None:
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": tmp_path}
    first = popen(COMMAND, start_new_session=True, cwd=tmp_path)
    wait_for(lambda: "judge.seed_0" in runs(tmp_path), 600)
    wait_for(lambda: list(tmp_path.glob("outputs/*/checkpoints/step_*.pt")))
    first.kill()
    first.communicate()
    for pid in [r["supervisor"]["pid"] for r in runs(tmp_path).values() if r["status"] == "running"]:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)  # the workers notice, save and end
    wait_for(lambda: all(r["status"] != "running" for r in runs(tmp_path).values() if r["supervisor"]))
    before = runs(tmp_path)
    finished = {step: info for step, info in before.items() if info["status"] == "finished"}
    assert "train.seed_0" in finished and len(finished) < 6

    done = subprocess.run(COMMAND, timeout=900, **out)
    assert done.returncode == 0, done.stdout
    after = runs(tmp_path)
    assert len(list(tmp_path.glob("outputs/*/run.json"))) <= 8, "at most an evaluation, which saves nothing, anew"
    for step, info in finished.items():
        for key in ("id", "started", "ended", "resumed", "headline"):
            assert after[step][key] == info[key], f"{step}: what was finished was not touched"
    assert set(after) == {"report"} | {f"{step}.seed_{i}" for step in ("train", "judge") for i in range(3)}
    for i in range(3):
        assert after[f"judge.seed_{i}"]["parents"] == [after[f"train.seed_{i}"]["id"]]
        assert after[f"judge.seed_{i}"]["headline"]["distance"] < 0.5
    again = subprocess.run([*COMMAND, "dry_run=true"], timeout=300, **out)
    report = json.loads((tmp_path / "outputs" / after["report"]["id"] / "report/report.json").read_text())
    assert [(row["policy"], row["seeds"]) for row in report["policies"]] == [("train", [0, 1, 2])]
    assert_names(again.stdout, "7 of 7")


@pytest.mark.parametrize("name", ["reach_study", "go2_walk", "go2_stairs"])
def test_the_shipped_pipelines_are_sound(tmp_path: Path, name: str) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), f"pipeline={name}", "dry_run=true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 of" in done.stdout
