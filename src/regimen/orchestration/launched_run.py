"""A run started from Python: its record, and the supervisor that works on it meanwhile."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from regimen.orchestration.supervisor_pool import SupervisorPool
from regimen.runs.history.run_view import RunView, open_view_dir
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system.errors import RegimenError

POLL_S = 0.2


class LaunchedRun(Run):
    """A run that was started from Python.

    Its supervisor is a separate process: the run continues when the process that started it ends, and
    `regimen.open_run(run.id)` finds it again.
    """

    def __init__(self, folder: Path) -> None:
        """Args: folder: an existing run directory."""
        super().__init__(folder)
        self._supervisors = SupervisorPool()

    def start(self) -> None:
        """Start the supervisor and return; what it prints goes to logs/supervisor.log."""
        self._supervisors.start(self)

    @property
    def is_open(self) -> bool:
        """Whether the run works or waits for its turn, or its supervisor has not ended yet."""
        for _ in self._supervisors.ended():  # corrects the record of a supervisor that could not write it
            pass
        return self.id in self._supervisors.running or self.view().status.is_open

    def view(self) -> RunView:
        """Return the run as its files describe it now: status, progress, metrics, result."""
        return open_view_dir(self.dir)

    def wait(self, timeout_s: float | None = None) -> Status:
        """Wait until the run has ended; return its status, such as `finished` or `failed`.

        Ctrl-C ends the waiting, not the run.

        Args:
            timeout_s: longest wait in seconds; None waits without a limit.

        Raises:
            TimeoutError: the run is still open.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self.is_open:
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"run {self.id} is still {self.status} after {timeout_s:g} s")
            time.sleep(POLL_S)
        return self.view().status

    def stop(self) -> None:
        """Ask the work to save a checkpoint and to end, as Ctrl-C does: `wait` returns when it has.

        Raises:
            RegimenError: the run belongs to a scheduler, or to another process.
        """
        if not self.is_open:
            return
        if self.id not in self._supervisors.running:
            raise RegimenError(
                f"Run {self.id} is not worked on by this process. Stop it with: regimen cancel {self.id}"
            )
        self._supervisors.on_signal(signal.SIGINT)
