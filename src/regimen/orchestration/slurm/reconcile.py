"""Correct the records of runs whose job no longer exists."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from regimen.orchestration.slurm import job_states, requeue
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs import outcome
from regimen.runs.index.liveness import is_scheduled, judge
from regimen.runs.index.summary import RunSummary, read, seconds
from regimen.runs.lock import is_free
from regimen.runs.record import Outcome, RunRecord, read_record
from regimen.runs.record_parts import QueueEntry
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.timeouts import JOB_LISTED_S
from regimen.system.errors import RegimenError

WHEN = {Status.QUEUED: "before it started", Status.PREEMPTED: "while it waited to continue"}
"""Status of a run without an active job -> when it lost the job."""


def reconcile(
    runs: Iterable[Run], watched: Callable[[Status], bool] = lambda status: status.may_have_job
) -> dict[str, JobState]:
    """Record the end of runs whose job has ended or is lost; return run id -> state of the active jobs.

    Args:
        runs: any runs; runs without a job are skipped.
        watched: whether to check a run with this status.

    Raises:
        PreflightError: Slurm does not respond.
    """
    checked = {
        run.id: (run, record.queue)
        for run in runs
        if (record := read_record(run.dir)) and record.queue and record.queue.has_job and watched(record.status)
    }
    states = job_states.states_of(queue for _, queue in checked.values())
    live = {}
    for name, (run, queue) in checked.items():
        state = states.get(str(queue.job))
        if state and state.live:
            live[name] = state
        elif (state or not _is_new(queue)) and is_free(run):
            record_end_of_lost_job(run, outcome_of_lost_job(run.record, state))
    return live


def _is_new(queue: QueueEntry) -> bool:
    return time.time() - seconds(queue.submitted) < JOB_LISTED_S


def record_end_of_lost_job(run: Run, end: Outcome) -> None:
    """Record the end of a run whose job is lost, unless the run has recorded it itself.

    Args:
        run: the run.
        end: outcome to record.
    """
    closed = False

    def alter(record: RunRecord) -> None:
        nonlocal closed
        closed = record.close_lost_job(end)

    record = run.change(alter)
    if closed and record.supervisor is not None:
        outcome.record_artifacts(run)
    run.reserve.unlink(missing_ok=True)


def outcome_of_lost_job(record: RunRecord, state: JobState | None) -> Outcome:
    """Return the outcome of a run whose job has ended although its record says otherwise.

    Args:
        record: the record of the run, which has a job.
        state: state of the job, None if the scheduler no longer lists it.
    """
    queue = record.queue or QueueEntry()
    job = f"job {queue.job}"
    when = WHEN.get(record.status, "")
    if state is None:
        return outcome.signalled(signal.SIGKILL, f"{job} is gone {when}".strip())
    if state.state == "CANCELLED":
        why = f": {state.reason}" if state.code not in ("None", "") else ""
        return outcome.signalled(signal.SIGTERM, f"{job} was cancelled {when}".strip() + why)
    reason = f"{job} ended {when}".strip() + f" ({state.state}{_exit_code(state)})"
    lines = outcome.last_lines(job_log(queue), 1)
    if record.status == Status.QUEUED:  # the job ended before its supervisor started
        return Outcome(Status.FAILED, outcome.EXIT_FAILED, ": ".join([reason, *lines]))
    return outcome.signalled(signal.SIGKILL, reason)


def job_log(queue: QueueEntry) -> Path:
    """Return the log file of a job."""
    return Path(queue.log or Path(queue.folder or "") / f"{queue.job}_0_log.out")


def _exit_code(state: JobState) -> str:
    code = requeue.show_job(state.job).get("ExitCode", "")
    return f", exit code {code}" if code else ""


def ask_schedulers(rows: list[RunSummary]) -> None:
    """Update the rows of runs that Slurm (or its stand-in) has: the record cannot show that a job is gone.

    The rows stay as recorded if the scheduler does not answer.

    Args:
        rows: of the index; replaced in place.
    """
    scheduled = {row.id: at for at, row in enumerate(rows) if is_scheduled(row)}
    if not scheduled:
        return
    try:
        going = reconcile(Run(rows[at].dir) for at in scheduled.values())
    except RegimenError:
        return
    for run_id, at in scheduled.items():
        fresh = read(rows[at].path)
        if fresh is not None:
            rows[at] = fresh
            judge([fresh])
        if fresh is not None and fresh.status == Status.LOST and run_id in going:  # its node is gone: it was requeued
            fresh.status = Status.QUEUED
