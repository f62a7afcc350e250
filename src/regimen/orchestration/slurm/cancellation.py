"""Cancel runs: jobs of a scheduler, and runs that work on this machine; a running one saves a checkpoint first."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from regimen.orchestration.slurm import job_states
from regimen.orchestration.slurm.job_runs import runs_with_jobs
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs import outcome
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.lock import is_free
from regimen.runs.record_parts import QueueEntry
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import host
from regimen.system.errors import RunReferenceError

BATCH = 500
"""Number of jobs in one call of scancel."""


def cancel_named(words: Sequence[str]) -> Iterator[str]:
    """Cancel the runs that words name, and yield one line for each.

    Args:
        words: runs, sweeps or pipelines with jobs of a scheduler, or `all` of these; or runs without a scheduler that
            work on this machine, by id, beginning of an id, or name.

    Raises:
        RunReferenceError: a word names nothing that could be cancelled, or several runs.
    """
    local = {word: row for word in words if word != "all" and (row := _working_here(word))}
    yield from map(_stop_here, local.values())
    others = [word for word in words if word not in local]
    if not others:
        return
    runs = [Run(row.dir) for row in runs_with_jobs(others)]
    jobs_by_run = job_states.reconcile(runs)
    yield from cancel([run for run in runs if run.id in jobs_by_run], jobs_by_run)
    yield from (f"already ended {run.id}: {run.status}" for run in runs if run.id not in jobs_by_run)
    if not runs and not local:
        yield "no queued or running jobs"


def _working_here(word: str) -> RunSummary | None:
    """Return the one running run without a scheduler that a word names, None for other words.

    Raises:
        RunReferenceError: several such runs have this name, or it works on another machine.
    """
    rows = [
        row for row in Index().rows() if row.status == Status.RUNNING and not (row.queue and row.queue.is_scheduled)
    ]
    found = [row for row in rows if word in (row.id, row.name)] or [row for row in rows if row.id.startswith(word)]
    if len(found) > 1:
        raise RunReferenceError(f"`{word}` matches {len(found)} runs: {', '.join(r.id for r in found)}. Give an id.")
    if not found:
        return None
    supervisor = found[0].supervisor
    if supervisor and host.is_alive(supervisor) is None:
        raise RunReferenceError(f"{found[0].id} works on {supervisor.host}. Stop it there: kill {supervisor.pid}")
    return found[0]


def _stop_here(row: RunSummary) -> str:
    if row.supervisor:
        with suppress(ProcessLookupError):
            os.kill(row.supervisor.pid, signal.SIGTERM)
    pid = row.supervisor.pid if row.supervisor else "?"
    return f"stopping      {row.id}: process {pid} saves a checkpoint first"


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
