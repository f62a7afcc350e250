"""Start, watch and stop several runs at once, each with a supervisor process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from regimen.display.console import describe, say
from regimen.runs.outcome import not_started
from regimen.runs.record import Outcome, RecordError, RunRecord
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.timeouts import SUPERVISOR_STOP_S
from regimen.system import files, host, signals
from regimen.system.errors import RegimenError

POLL_S = 0.05
PROGRESS_S = 30.0


@dataclass
class FinishedSupervisor:
    """A supervisor process that has ended.

    Attributes:
        run: its run.
        exit_code: exit code of the supervisor; 128 + number if a signal ended it.
        record: record of the run, corrected if the supervisor died before it could write the end.
    """

    run: Run
    exit_code: int
    record: RunRecord


class SupervisorPool:
    """The runs that are running.

    Attributes:
        running: id -> run and its supervisor process.
        stopped: number of the first signal that requested a stop, None without one.
    """

    def __init__(self) -> None:
        self.running: dict[str, tuple[Run, subprocess.Popen[bytes]]] = {}
        self.stopped: int | None = None
        self._progress_due = time.monotonic() + PROGRESS_S

    def start(self, run: Run) -> None:
        """Start the supervisor of a run; its output goes to logs/supervisor.log."""
        with not_started(run), files.open_own(run.logs / "supervisor.log", "ab") as log:
            command = [sys.executable, "-m", "regimen.runs.supervisor", str(run.dir)]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.running[run.id] = (run, process)
        if self.stopped is not None:  # the signal arrived during the start
            signals.send(process, self.stopped)

    def ended(self) -> Iterator[FinishedSupervisor]:
        """Yield the supervisors that ended since the last call."""
        for name, (run, process) in list(self.running.items()):
            code = process.poll()
            if code is not None:
                del self.running[name]
                code = code if code >= 0 else 128 - code
                yield FinishedSupervisor(run, code, corrected_record(run.dir, code))

    def on_signal(self, number: int, frame: FrameType | None = None) -> None:
        """Forward a signal to all supervisors; a second Ctrl-C ends them at once, as for a single run."""
        self.stopped = self.stopped or number
        for _, process in self.running.values():
            signals.send(process, number)

    def end_all(self) -> Iterator[FinishedSupervisor]:
        """Stop all supervisors, because this process has failed, and yield them as they end."""
        for _, process in self.running.values():
            signals.send(process, signal.SIGTERM)
        for _, process in self.running.values():
            try:
                process.wait(SUPERVISOR_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        yield from self.ended()

    def show_progress(self) -> None:
        """Print the progress of each run at most every `PROGRESS_S`."""
        if time.monotonic() < self._progress_due:
            return
        self._progress_due = time.monotonic() + PROGRESS_S
        for name, (run, _) in self.running.items():
            say(f"running   {name}  {describe(files.read_json(run.dir / 'progress.json') or {})}")


class LocalJobs(ABC):
    """Jobs of a sweep or pipeline that this process starts and watches."""

    def __init__(self) -> None:
        self.supervisors = SupervisorPool()

    @property
    def stopped(self) -> int | None:
        """Number of the signal that stopped the jobs, None without one."""
        return self.supervisors.stopped

    def run(self) -> None:
        """Start the jobs and record their ends until all have ended or a signal stops them."""
        with signals.handled(self.supervisors.on_signal):
            try:
                while True:
                    self._start_ready()
                    self._record_ends(list(self.supervisors.ended()))
                    self._show_progress()
                    if not self._is_unfinished():
                        return
                    time.sleep(POLL_S)
            finally:
                self._record_ends(list(self.supervisors.end_all()))
                self._finish()

    @abstractmethod
    def _start_ready(self) -> None: ...

    @abstractmethod
    def _record_ends(self, ended: list[FinishedSupervisor]) -> None: ...

    @abstractmethod
    def _is_unfinished(self) -> bool: ...

    @abstractmethod
    def _finish(self) -> None:
        """Mark the jobs that did not start, and write the end."""

    def _show_progress(self) -> None:
        self.supervisors.show_progress()


def corrected_record(folder: Path, exit_code: int) -> RunRecord:
    """Return the record of a run; record its end if its supervisor died before it could.

    Args:
        folder: directory of the run.
        exit_code: exit code of its supervisor.
    """
    reason = f"its supervisor ended with exit code {exit_code}; see {os.path.relpath(folder / 'logs')}"
    end = Outcome(Status.KILLED, exit_code, reason)

    def alter(record: RunRecord) -> None:
        if not host.is_alive(record.supervisor):
            record.close_dead_supervisor(end)

    try:
        record = Run.open(folder).record
        if record.status.is_open and not host.is_alive(record.supervisor):
            record = Run(folder).change(alter)
    except (RegimenError, RecordError, OSError):  # its directory is missing or read-only
        record = RunRecord(id=folder.name)
        record.close_dead_supervisor(end)
    return record
