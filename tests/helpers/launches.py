"""Runs through launch.py, for the tests of whole studies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.subprocesses import popen

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Return the environment of processes that use this checkout and one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start launch.py in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    return popen([sys.executable, str(ROOT / "launch.py"), *arguments], cwd=folder, env=environment())


def launch(folder: Path, *arguments: str) -> str:
    """Start launch.py in `folder` and wait for its end; return what it printed, and its exit code."""
    process = start(folder, *arguments)
    return f"{process.communicate()[0]}\nexit {process.returncode}"


def record(folder: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Return the directory and the record of the run of this name that was made in `folder`."""
    records = {path.parent: json.loads(path.read_text()) for path in folder.glob("outputs/*/run.json")}
    ((directory, found),) = [(path, one) for path, one in records.items() if one["name"] == name]
    return directory, found
