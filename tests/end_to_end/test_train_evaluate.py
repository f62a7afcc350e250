"""From the command line to a judged policy, as a user does it: launch, name, evaluate, look."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run launch.py in `folder`, where its outputs go."""
    command = [sys.executable, str(ROOT / "launch.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def the_run(folder: Path, name: str) -> Path:
    """The directory of the run of this name."""
    runs = [p.parent for p in folder.glob("outputs/*/run.json") if json.loads(p.read_text())["name"] == name]
    assert len(runs) == 1
    return runs[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one training of `reach`, named `arm`."""
    folder = tmp_path_factory.mktemp("user")
    done = launch(folder, "task=reach", "agent.trainer.timesteps=1440", "name=arm")
    assert done.returncode == 0, done.stderr
    return folder


def test_training_leaves_its_record(trained: Path) -> None:
    run = the_run(trained, "arm")
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished" and record["headline"]["samples"] == 1440 * 64
    assert {a["kind"] for a in record["artifacts"]} >= {"checkpoint", "figure"}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["Train/return"] > rows[len(rows) // 4]["Train/return"] + 0.2, "it learns"


def test_the_policy_is_found_by_name_judged_and_filmed(trained: Path) -> None:
    done = launch(
        trained, "task=reach", "stage=evaluate", "policy=arm@last", "name=judged", "video=true", "stage.video_seconds=2"
    )
    assert done.returncode == 0, done.stderr
    run = the_run(trained, "judged")
    result, record = (json.loads((run / f"{name}.json").read_text()) for name in ("result", "run"))
    assert result["overall"]["distance"]["value"] < 0.2, "an untrained arm stays about 0.35 m away"
    assert [row["episodes"] for row in result["commands"]] == [64, 64, 64]
    assert record["parents"] == [the_run(trained, "arm").name]
    assert {a["kind"] for a in record["artifacts"]} == {"figure", "table", "video"}


def test_a_policy_of_another_task_is_refused_by_name(trained: Path) -> None:
    done = launch(trained, "task=go2_flat", "stage=evaluate", "policy=arm")
    assert done.returncode == 2
    text = done.stdout + done.stderr
    assert_names(text, "task=go2_flat", the_run(trained, "arm").name)
    assert "Traceback" not in text
