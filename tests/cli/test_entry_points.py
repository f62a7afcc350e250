"""The ways to start a command: `regimen`, `python -m regimen.cli` and launch.py see the same folder and code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.user_folder import make_lab

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("regimen")


@pytest.mark.slow
@pytest.mark.skipif(not COMMAND.exists(), reason="needs the installed command")
def test_the_command_finds_the_modules_of_the_current_folder(tmp_path: Path) -> None:
    make_lab(tmp_path)
    (tmp_path / "conf").rename(tmp_path / "options")
    arguments = ["--config-dir", "options", "task=lean", "env.rewards.leaning.params.limit=1.0", "dry_run=true"]
    one = subprocess.run([COMMAND, "launch", *arguments], cwd=tmp_path, capture_output=True, text=True)
    other = subprocess.run(
        [sys.executable, ROOT / "launch.py", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert one.returncode == other.returncode == 0, one.stderr
    shown, expected = (
        [row for row in said.stdout.splitlines() if not re.search("GiB|GB free|^python ", row)][1:]
        for said in (one, other)
    )
    assert shown == expected and shown


def test_the_module_lists_what_the_command_lists(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "regimen.cli", "list", "tasks"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert any(line.startswith("reach ") for line in said.stdout.splitlines())
    wrong = subprocess.run([*command[:3], "lits"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2 and "list" in wrong.stderr and "Traceback" not in wrong.stderr
