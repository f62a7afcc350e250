"""Runs of the test stage under a real supervisor, for the tests of supervisor and worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.recorded_runs import recorded
from helpers.subprocesses import PATIENCE_S, popen, said
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run

TESTS = Path(__file__).parents[1]
PATHS = [str(TESTS.parent / "src"), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}


def make_run(root: Path, act: str, seed: int = 0, **hardware: Any) -> Run:
    """A run of `helpers.stages_for_tests.Act`, not started."""
    nothing = {"_target_": "helpers.stages_for_tests.Nothing"}
    config = {
        "env": nothing,
        "sim": nothing,
        "agent": nothing,
        "hardware": {"device": "cpu", "threads": None, "max_jobs": 1, "interpreters": {}, **hardware},
        "stage": {"_target_": "helpers.stages_for_tests.Act", "act": act},
        "name": None,
        "seed": seed,
        "policy": None,
        "resume": None,
        "video": False,
        "dry_run": False,
        "choices": {"task": "none", "sim": "none", "agent": "act", "stage": "act"},
    }
    return Run(create_run_dir(root, config, ["launch.py"], [f"stage.act={act}"], repository=root))


def start(run: Run, **kwargs: Any) -> subprocess.Popen[str]:
    """`python -m regimen.runs.supervisor <run>` with its screen piped."""
    return popen([sys.executable, "-m", "regimen.runs.supervisor", str(run.dir)], env=ENV, cwd=run.dir.parent, **kwargs)


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """The first true value of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {seconds} s")


def worker_pid(run: Run) -> int:
    """Number of the worker's process, once it is in its loop."""
    from regimen.system.files import read_json

    note = wait_for(lambda: (read_json(run.dir / "progress.json") or {}).get("note"))
    return int(note.removeprefix("pid "))


def started_and_stopped(run: Run, number: int = signal.SIGTERM) -> tuple[dict[str, Any], str]:
    """Start a run, signal its supervisor once the worker is in its loop, and return what `ended` returns."""
    process = start(run)
    worker_pid(run)
    process.send_signal(number)
    return ended(process, run)


def ended(process: subprocess.Popen[str], run: Run) -> tuple[dict[str, Any], str]:
    """run.json and the screen, after checking that status, exit code and last line agree."""
    screen = said(process)
    info = recorded(run)
    last = screen.strip().splitlines()[-1]
    assert last.startswith(f"{info['status']} (exit code {process.returncode}): {run.id} after "), screen
    assert info["exit_code"] == process.returncode
    assert info["reason"] is None or info["reason"] in last
    assert info["ended"] and info["wall_s"] > 0
    return info, screen
