"""Processes that tests start: whatever becomes of a test, none of them outlives it, nor does a pipe to one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

PATIENCE_S = 120.0
"""How long a test waits for what will happen. It ends a hang and measures nothing, so it may be far too long."""

_started: list[subprocess.Popen[Any]] = []


def popen(command: Sequence[str], **kwargs: Any) -> subprocess.Popen[str]:
    """Start a command with both its streams in one pipe, unless told otherwise."""
    process = subprocess.Popen(
        command, **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **kwargs}
    )
    look_after(process)
    return process


def look_after(process: subprocess.Popen[Any]) -> None:
    """See to the end of a process that was started elsewhere."""
    _started.append(process)


def said(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a process; return what it printed."""
    return process.communicate(timeout=PATIENCE_S)[0]


def end_all(grace_s: float = 30.0) -> None:
    """End what still runs: asked first, so that a launch can end its runs, and killed after a while."""
    while _started:
        with _started.pop() as process:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=grace_s)
                process.kill()
