"""Several runs at work at once, each under a supervisor that is a process of its own: started, watched, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from regimen.display.console import describe, say
from regimen.runs.outcome import not_started
from regimen.runs.run import Run
from regimen.system import files, host, signals
from regimen.system.errors import RegimenError

POLL_S = 0.1
PROGRESS_S = 30.0
PATIENCE_S = 90.0
"""How long a run may take to save and end after the process that watches it has failed."""


@dataclass
class FinishedSupervisor:
    """A supervisor that ended.

    Attributes:
        run: its run.
        exit_code: of the supervisor; 128 + signal where one ended it.
        info: what run.json says, corrected if the supervisor ended before it could.
    """

    run: Run
    exit_code: int
    info: dict[str, Any]


class SupervisorPool:
    """The runs that work now.

    Attributes:
        running: id -> run and its supervisor.
        stopped: number of the first signal that asked to stop, None while there was none.
    """

    def __init__(self) -> None:
        self.running: dict[str, tuple[Run, subprocess.Popen[bytes]]] = {}
        self.stopped: int | None = None
        self._progress_due = time.monotonic() + PROGRESS_S

    def start(self, run: Run) -> None:
        """Start the supervisor of a run; its last words go to logs/supervisor.log."""
        with not_started(run), (run.logs / "supervisor.log").open("ab") as log:
            command = [sys.executable, "-m", "regimen.runs.supervisor", str(run.dir)]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.running[run.id] = (run, process)
        if self.stopped is not None:  # the signal came while it was being started
            signals.send(process, self.stopped)

    def ended(self) -> Iterator[FinishedSupervisor]:
        """Yield those that ended since the last call."""
        for name, (run, process) in list(self.running.items()):
            code = process.poll()
            if code is not None:
                del self.running[name]
                code = code if code >= 0 else 128 - code
                yield FinishedSupervisor(run, code, corrected_record(run.dir, code))

    def on_signal(self, number: int, frame: FrameType | None = None) -> None:
        """Stop all; a repeated Ctrl-C insists, as with a single run."""
        self.stopped = self.stopped or number
        for _, process in self.running.values():
            signals.send(process, number)

    def end_all(self) -> Iterator[FinishedSupervisor]:
        """Stop what still runs, because the process that watches it has failed, and yield how each ended."""
        for _, process in self.running.values():
            signals.send(process, signal.SIGTERM)
        for _, process in self.running.values():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        yield from self.ended()

    def show_progress(self) -> None:
        """Say from time to time how far each run is."""
        if time.monotonic() < self._progress_due:
            return
        self._progress_due = time.monotonic() + PROGRESS_S
        for name, (run, _) in self.running.items():
            say(f"running   {name}  {describe(files.read_json(run.dir / 'progress.json') or {})}")


def corrected_record(folder: Path, exit_code: int) -> dict[str, Any]:
    """Return run.json, corrected if the supervisor ended before it could write how the run ended.

    Args:
        folder: the run's directory.
        exit_code: of its supervisor.
    """
    reason = f"its supervisor ended with exit code {exit_code}; see {os.path.relpath(folder / 'logs')}"
    end = {"status": "killed", "exit_code": exit_code, "reason": reason, "ended": files.now()}
    try:
        run = Run.open(folder)
        if run.status in ("running", "queued") and not host.is_alive(run.info.get("supervisor")):
            run.update(**end)
        return run.info
    except (RegimenError, OSError):  # its directory is gone, or cannot be written
        return end
