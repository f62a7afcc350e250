"""Correct the records of runs whose job no longer exists."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from regimen.orchestration.slurm import job_states, requeue
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs import outcome
from regimen.runs.index.liveness import is_scheduled, judge
from regimen.runs.index.summary import RunSummary, read
from regimen.runs.lock import is_free
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import RegimenError

OPEN = ("queued", "running", "preempted")
"""Statuses of runs that may have a pending or running job."""

GRACE_S = 10.0
"""Time in s after submission during which the scheduler may not list the job yet."""


def reconcile(runs: Iterable[Run], watched: Iterable[str] = OPEN) -> dict[str, JobState]:
    """Record the end of runs whose job has ended or is lost; return run id -> state of the live jobs.

    Args:
        runs: any runs; runs without a job are skipped.
        watched: statuses of the runs to check.

    Raises:
        PreflightError: Slurm does not respond.
    """
    records = {run.id: (run, run.info) for run in runs}
    checked = {name: pair for name, pair in records.items() if has_job(pair[1]) and pair[1]["status"] in watched}
    states = job_states.states_of(info["queue"] for _, info in checked.values())
    live = {}
    for name, (run, info) in checked.items():
        state = states.get(info["queue"]["job"])
        if state and state.live:
            live[name] = state
        elif (state or not _is_new(info["queue"])) and is_free(run):
            record_end_of_lost_job(run, outcome_of_lost_job(run.info, state))
    return live


def has_job(info: dict[str, Any]) -> bool:
    """Return whether a run was submitted and has not recorded that its job will not be requeued.

    Between two attempts the status is `preempted`; `queue.again` is written a moment later.
    """
    queue = info.get("queue") or {}
    return queue.get("kind") in ("slurm", "submitit_local") and queue.get("again") is not False and "job" in queue


def is_open(info: dict[str, Any]) -> bool:
    """Return whether the record says that the run has a pending or running job."""
    again = (info.get("queue") or {}).get("again")
    return has_job(info) and info["status"] in OPEN and (info["status"] != "preempted" or bool(again))


def _is_new(queue: dict[str, Any]) -> bool:
    return time.time() - datetime.fromisoformat(queue["submitted"]).timestamp() < GRACE_S


def record_end_of_lost_job(run: Run, end: outcome.Outcome) -> None:
    """Record the end of a run whose job is lost, unless the run has recorded it itself.

    Args:
        run: the run.
        end: outcome to record.
    """
    started = False

    def change(info: dict[str, Any]) -> dict[str, Any]:
        nonlocal started
        if not is_open(info):
            return {}
        started = info["supervisor"] is not None
        return {**end.fields(), "ended": files.now(), "queue": {**info["queue"], "again": False}}

    run.amend(change)
    if started:
        run.update(artifacts=run.artifacts())
    run.reserve.unlink(missing_ok=True)


def outcome_of_lost_job(info: dict[str, Any], state: JobState | None) -> outcome.Outcome:
    """Return the outcome of a run whose job has ended although its record says otherwise.

    Args:
        info: the record of the run.
        state: state of the job, None if the scheduler does not know it any more.
    """
    job = f"job {info['queue']['job']}"
    when = {"queued": "before it started", "preempted": "while it waited to continue"}.get(info["status"], "")
    if state is None:
        return outcome.signalled(signal.SIGKILL, f"{job} is gone {when}".strip())
    if state.state == "CANCELLED":
        why = f": {state.reason}" if state.code not in ("None", "") else ""
        return outcome.signalled(signal.SIGTERM, f"{job} was cancelled {when}".strip() + why)
    reason = f"{job} ended {when}".strip() + f" ({state.state}{_exit_code(state)})"
    lines = outcome.last_lines(job_log(info["queue"]), 1)
    if info["status"] == "queued":  # the job ended before its supervisor started
        return outcome.Outcome("failed", outcome.EXIT_FAILED, ": ".join([reason, *lines]))
    return outcome.signalled(signal.SIGKILL, reason)


def job_log(queue: dict[str, Any]) -> Path:
    """Return the log file of a job."""
    return Path(queue.get("log") or Path(queue["folder"]) / f"{queue['job']}_0_log.out")


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
        if fresh is not None and fresh.status == "lost" and run_id in going:  # its node is gone: it was requeued
            fresh.status = "queued"
