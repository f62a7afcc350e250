"""What a job does: it supervises one run, and ends as the run did, so that Slurm, sacct and afterok see failures."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from regimen.orchestration.slurm import requeue
from regimen.runs import lock, outcome
from regimen.runs.run import Run
from regimen.runs.supervisor import supervise
from regimen.system import signals

LOCK_PATIENCE_S = 90.0
"""How long the worker of an earlier attempt may still be saving, perhaps on another machine."""


class SlurmJob:
    """The callable that submitit keeps; it holds a path and nothing else, so that it fits any version of the code."""

    def __init__(self, folder: str) -> None:
        """Args: folder: the run directory, absolute."""
        self.folder = folder

    def __call__(self) -> int:
        """Work on the run; return 0, or leave with its exit code."""
        code = self._work(Run.open(Path(self.folder)))
        if code:
            sys.exit(code)  # an exception would leave a record of submitit's own, and a word of success with Slurm
        return 0

    def checkpoint(self) -> Any:
        """Let submitit start the same call again: for a signal that comes before the supervisor can take it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _work(self, run: Run) -> int:
        info = run.info
        if info["status"] == "killed" and not info["supervisor"]:
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
            end = outcome.signalled(error.number, f"{signals.signal_name(error.number)} came before the work began")
            if run.status == "queued":
                outcome.record_end(run, end)
            code = end.exit_code
        return requeue.after(run, code)


def wait_until_free(run: Run, patience_s: float = LOCK_PATIENCE_S) -> None:
    """Wait until no other process works on the run; the supervisor says so if one still does after that.

    Args:
        run: which may have been taken from another machine a moment ago.
        patience_s: longest wait.
    """
    end = time.monotonic() + patience_s
    while not lock.is_free(run) and time.monotonic() < end:
        time.sleep(0.5)
