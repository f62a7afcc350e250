"""`regimen cancel`: cancel jobs; a running job saves a checkpoint first."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterable
from contextlib import suppress

from regimen.cli.queue import runs_with_jobs
from regimen.display.formatting import visible
from regimen.orchestration.slurm import job_states
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs import outcome
from regimen.runs.lock import is_free
from regimen.runs.record_parts import QueueEntry
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import host

BATCH = 500
"""Number of jobs in one call of scancel."""


def cancel_verb(argv: list[str]) -> int:
    """Cancel runs: `regimen cancel <run|sweep|pipeline|all> ...`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen cancel", description="Cancel the jobs of runs.")
    parser.add_argument("what", nargs="+", help="runs, sweeps or pipelines; `all` for everything")
    runs = [Run(row.dir) for row in runs_with_jobs(parser.parse_args(argv).what)]
    jobs_by_run = job_states.reconcile(runs)
    for line in cancel([run for run in runs if run.id in jobs_by_run], jobs_by_run):
        print(visible(line))
    for run in runs:
        if run.id not in jobs_by_run:
            print(f"already ended {run.id}: {run.status}")
    if not runs:
        print("no queued or running jobs")
    return 0


def cancel(runs: list[Run], jobs_by_run: dict[str, JobState]) -> Iterable[str]:
    """Cancel jobs and yield one line for each run.

    Args:
        runs: runs to cancel.
        jobs_by_run: run id -> state of its job.
    """
    queues = {run.id: queue for run in runs if (queue := run.record.queue)}
    slurm = [run for run in runs if queues[run.id].kind == "slurm"]
    waiting = [str(queues[run.id].job) for run in slurm if jobs_by_run[run.id].waits]
    _scancel(waiting, "--state=PENDING")  # a job that has just started gets the signal below
    now = job_states.states_of(queues[run.id] for run in slurm)
    running = {run.id for run in slurm if (state := now.get(str(queues[run.id].job))) and state.live}
    _scancel([str(queues[name].job) for name in running])
    for run in runs:
        if run in slurm:
            yield _line(run, queues[run.id], run.id in running, now.get(str(queues[run.id].job)))
        else:
            yield _cancel_here(run, queues[run.id])


def _scancel(jobs: list[str], *flags: str) -> None:
    for first in range(0, len(jobs), BATCH):
        job_states.ask(["scancel", *flags, *jobs[first : first + BATCH]])


def _line(run: Run, queue: QueueEntry, is_running: bool, state: JobState | None) -> str:
    if is_running:
        where = f" on {state.node}" if state and state.node else ""
        return f"stopping      {run.id}: job {queue.job}{where} saves a checkpoint first"
    _record_cancellation(run, f"job {queue.job} was cancelled")
    return f"cancelled     {run.id}: {run.record.reason}"


def _record_cancellation(run: Run, reason: str) -> None:
    """Record the end of a run that was cancelled while it waited, unless it has just started."""
    if is_free(run):
        when = "before it started" if run.status == Status.QUEUED else "while it waited to continue"
        job_states.record_end_of_lost_job(run, outcome.signalled(signal.SIGTERM, f"{reason} {when}"))


def _cancel_here(run: Run, queue: QueueEntry) -> str:
    """Cancel a job of `submitit_local`; its queue skips runs that are not waiting any more."""
    record = run.record
    if record.status == Status.RUNNING and record.supervisor and host.is_alive(record.supervisor):
        with suppress(ProcessLookupError):
            os.kill(record.supervisor.pid, signal.SIGTERM)
        return f"stopping      {run.id}: process {record.supervisor.pid} saves a checkpoint first"
    _record_cancellation(run, f"job {queue.job} was cancelled")
    return f"cancelled     {run.id}: {run.record.reason}"
