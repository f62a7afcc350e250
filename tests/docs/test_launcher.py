"""The example of docs/launcher.md, followed to the letter."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.transcripts import Replay

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"`my_lab/([^`]+)`\n\n```\w+\n(.*?)```", re.S)


@pytest.fixture
def my_lab(tmp_path: Path) -> Path:
    """The folder that the page describes."""
    found = BLOCK.findall((ROOT / "docs/launcher.md").read_text())
    assert [name for name, _ in found] == [
        "conf/task/gentle_reach.yaml",
        "my_terms.py",
        "conf/experiment/gentle.yaml",
    ]
    for name, text in found:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "launch.py"), "--config-dir", "conf", "experiment=gentle", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_the_plan_of_the_example(my_lab: Path) -> None:
    done = call(my_lab, "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "conf/experiment/gentle.yaml:6" in done.stdout
    wrong = call(my_lab, "env.rewards.gentle.params.limt=1")
    assert wrong.returncode == 2
    assert_names(wrong.stderr, "my_terms:joint_speed", "limt", "limit")


@pytest.mark.slow
def test_the_example_trains(my_lab: Path) -> None:
    done = call(my_lab, "agent.trainer.timesteps=24", "hardware.threads=1")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = my_lab.glob("outputs/*/run.json")
    assert json.loads(file.read_text())["status"] == "finished"


@pytest.mark.slow
def test_the_transcripts_of_sweeps(tmp_path: Path) -> None:
    Replay(tmp_path).page(ROOT / "docs/launcher.md", start="## Sweeps", end="## Loggers")
