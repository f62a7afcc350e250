"""`regimen cancel`: take jobs from their scheduler; one that works saves a checkpoint first."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from regimen.cli.queue import runs_with_jobs
from regimen.orchestration.slurm import job_states, reconcile
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs import outcome
from regimen.runs.lock import is_free
from regimen.runs.run import Run
from regimen.system import host

BATCH = 500
"""Jobs named in one call of scancel."""


def cancel_verb(argv: list[str]) -> int:
    """Cancel runs: `regimen cancel <run|sweep|pipeline|all> ...`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen cancel", description="Take runs from their scheduler.")
    parser.add_argument("what", nargs="+", help="runs, sweeps or pipelines; `all` for everything")
    runs = [Run(row.dir) for row in runs_with_jobs(parser.parse_args(argv).what)]
    going = reconcile.reconcile(runs)
    for line in cancel([run for run in runs if run.id in going], going):
        print(line)
    for run in runs:
        if run.id not in going:
            print(f"over already  {run.id}: {run.status}")
    if not runs:
        print("no run waits or works for a scheduler")
    return 0


def cancel(runs: list[Run], going: dict[str, JobState]) -> Iterable[str]:
    """Cancel jobs and yield what happens to each run, one line each.

    Args:
        runs: to cancel.
        going: run id -> state of its job.
    """
    queues = {run.id: run.info["queue"] for run in runs}
    slurm = [run for run in runs if queues[run.id]["kind"] == "slurm"]
    waiting = [queues[run.id]["job"] for run in slurm if going[run.id].waits]
    _scancel(waiting, "--state=PENDING")  # one that has started in this moment is asked to save instead
    now = job_states.states_of(queues[run.id] for run in slurm)
    left = {run.id for run in slurm if (state := now.get(queues[run.id]["job"])) and state.live}
    _scancel([queues[name]["job"] for name in left])
    for run in runs:
        if run in slurm:
            yield _told(run, run.id in left, now.get(queues[run.id]["job"]))
        else:
            yield _cancel_here(run, queues[run.id])


def _scancel(jobs: list[str], *flags: str) -> None:
    for first in range(0, len(jobs), BATCH):
        job_states.ask(["scancel", *flags, *jobs[first : first + BATCH]])


def _told(run: Run, works: bool, state: JobState | None) -> str:
    job = run.info["queue"]["job"]
    if works:
        where = f" on {state.node}" if state and state.node else ""
        return f"stopping      {run.id}: job {job}{where} saves a checkpoint first"
    _close(run, f"job {job} was cancelled")
    return f"cancelled     {run.id}: {run.info['reason']}"


def _close(run: Run, reason: str) -> None:
    """Record that a run was taken away while it waited, unless it began in this moment."""
    if is_free(run):
        when = "before it started" if run.status == "queued" else "while it waited to go on"
        reconcile.record_end_of_lost_job(run, outcome.signalled(signal.SIGTERM, f"{reason} {when}"))


def _cancel_here(run: Run, queue: dict[str, Any]) -> str:
    """Cancel a job of this machine: its queue passes over a run that is not waiting any more."""
    supervisor = run.info["supervisor"]
    if run.status == "running" and supervisor and host.is_alive(supervisor):
        with suppress(ProcessLookupError):
            os.kill(supervisor["pid"], signal.SIGTERM)
        return f"stopping      {run.id}: process {supervisor['pid']} saves a checkpoint first"
    _close(run, f"job {queue['job']} was cancelled")
    return f"cancelled     {run.id}: {run.info['reason']}"
