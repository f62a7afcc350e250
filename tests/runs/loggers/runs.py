"""What a worker does to a run with loggers, and how to ask a tracker what it got."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import yaml

from helpers.subprocesses import look_after
from regimen.runs.loggers.forwarder import LoggerProcess, open_loggers
from regimen.runs.run import Run


def attempt(run: Run) -> Run:
    """The run as the worker of a new attempt opens it."""
    run = Run.open(run.dir)
    run.loggers = open_loggers(yaml.safe_load(run.config_path.read_text())["logger"], run)
    if run.loggers:
        look_after(forwarding(run))
    return run


def forwarding(run: Run) -> subprocess.Popen[bytes]:
    """The process that forwards the metrics."""
    (logger,) = run.loggers
    assert isinstance(logger, LoggerProcess)
    assert logger._process is not None
    return logger._process


def log(run: Run, *steps: int) -> None:
    """Log two metrics, of which the second appears late."""
    for step in steps:
        run.log(step, {"Train/loss": 1.0 / step} | ({"Train/return": float(step)} if step > 20 else {}))


def finish(run: Run) -> None:
    """End as a worker does."""
    run.finish({"return": 30.0}, {})
    run.close_loggers("finished")


def kill(run: Run) -> None:
    """kill -9 the forwarding, as it dies with a killed worker."""
    process = forwarding(run)
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def ask(script: str, *arguments: object) -> Any:
    """What a script prints as JSON, in a process of its own: trackers start threads and give warnings."""
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
