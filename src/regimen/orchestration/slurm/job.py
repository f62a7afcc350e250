"""The function of a job: supervise one run and exit with its exit code, so that sacct and afterok see failures."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from regimen.orchestration.slurm import requeue
from regimen.runs import lock, outcome
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.supervisor import supervise
from regimen.runs.timeouts import LOCK_WAIT_S
from regimen.system import signals


class SlurmJob:
    """The callable that submitit pickles; it holds only a path, so that any version of the code can load it."""

    def __init__(self, folder: str) -> None:
        """Args: folder: the run directory, absolute."""
        self.folder = folder

    def __call__(self) -> int:
        """Supervise the run; return 0, or exit with its exit code."""
        code = self._work(Run.open(Path(self.folder)))
        if code:
            sys.exit(code)  # after an exception submitit writes its own record and Slurm counts the job as completed
        return 0

    def checkpoint(self) -> Any:
        """Have submitit start the same call again, if a signal arrives before the supervisor handles it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _work(self, run: Run) -> int:
        record = run.record
        if record.status == Status.KILLED and not record.supervisor:
            print(f"{run.id} was cancelled before it started")
            return 0
        if requeue.slurm_job() and int(os.environ.get("SLURM_NODEID", 0)) > 0:
            from regimen.runs import worker_group

            return worker_group.run_secondary_node(run)
        try:
            with signals.handled(signals.leave):
                wait_until_free(run)
                requeue.begin(run)
                code = supervise(run)
        except signals.Interrupted as error:
            end = outcome.signalled(error.number, f"{signals.signal_name(error.number)} before the work started")
            if run.status == Status.QUEUED:
                outcome.record_end(run, end)
            code = end.exit_code
        return requeue.requeue_if_preempted(run, code)


def wait_until_free(run: Run, patience_s: float = LOCK_WAIT_S) -> None:
    """Wait until no other process holds the lock of the run; the supervisor reports a lock that remains.

    Args:
        run: a run whose earlier attempt may just have been stopped on another host.
        patience_s: longest time to wait in s.
    """
    end = time.monotonic() + patience_s
    while not lock.is_free(run) and time.monotonic() < end:
        time.sleep(0.5)
