"""What became of runs whose job is gone: the record is corrected where the job could not do so itself."""

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
from regimen.runs.index.summary import RunRow, read
from regimen.runs.lock import is_free
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import RegimenError

OPEN = ("queued", "running", "preempted")
"""Statuses of runs that a scheduler may still have."""

GRACE_S = 10.0
"""A job just submitted may be unknown for a moment."""


def reconcile(runs: Iterable[Run], watched: Iterable[str] = OPEN) -> dict[str, JobState]:
    """Record how runs ended whose job is gone or over; return run id -> state of the jobs that go on.

    Args:
        runs: of any kind; those that no scheduler has are left alone.
        watched: statuses of runs whose jobs are asked for.

    Raises:
        PreflightError: Slurm does not answer.
    """
    known = {run.id: (run, run.info) for run in runs}
    asked = {name: pair for name, pair in known.items() if has_job(pair[1]) and pair[1]["status"] in watched}
    found = job_states.of(info["queue"] for _, info in asked.values())
    going = {}
    for name, (run, info) in asked.items():
        state = found.get(info["queue"]["job"])
        if state and state.live:
            going[name] = state
        elif (state or not _is_new(info["queue"])) and is_free(run):
            close(run, ending(run.info, state))
    return going


def has_job(info: dict[str, Any]) -> bool:
    """Return whether a run was given to a scheduler, and has not decided itself that it ends.

    Between two attempts a run says `preempted`; whether it goes on is in its queue record a moment later.
    """
    queue = info.get("queue") or {}
    return queue.get("kind") in ("slurm", "submitit_local") and queue.get("again") is not False and "job" in queue


def is_open(info: dict[str, Any]) -> bool:
    """Return whether a scheduler should still have the run: with its job gone, its record is wrong."""
    again = (info.get("queue") or {}).get("again")
    return has_job(info) and info["status"] in OPEN and (info["status"] != "preempted" or bool(again))


def _is_new(queue: dict[str, Any]) -> bool:
    return time.time() - datetime.fromisoformat(queue["submitted"]).timestamp() < GRACE_S


def close(run: Run, end: outcome.Outcome) -> None:
    """Write how the run ended, unless it has done so itself by now.

    Args:
        run: whose job is gone.
        end: what became of it.
    """
    worked = False

    def change(info: dict[str, Any]) -> dict[str, Any]:
        nonlocal worked
        if not is_open(info):
            return {}
        worked = info["supervisor"] is not None
        return {**end.fields(), "ended": files.now(), "queue": {**info["queue"], "again": False}}

    run.amend(change)
    if worked:
        run.update(artifacts=run.artifacts())
    run.reserve.unlink(missing_ok=True)


def ending(info: dict[str, Any], state: JobState | None) -> outcome.Outcome:
    """Return how a run ended whose job is over although the run says otherwise.

    Args:
        info: its record.
        state: of the job, None if the scheduler has forgotten it.
    """
    job = f"job {info['queue']['job']}"
    when = {"queued": "before it started", "preempted": "while it waited to go on"}.get(info["status"], "")
    if state is None:
        return outcome.signalled(signal.SIGKILL, f"{job} is gone {when or 'without a word'}")
    if state.state == "CANCELLED":
        why = f": {state.reason}" if state.code not in ("None", "") else ""
        return outcome.signalled(signal.SIGTERM, f"{job} was cancelled {when}".strip() + why)
    said = f"{job} ended {when}".strip() + f" ({state.state}{_exit_code(state)})"
    lines = outcome.last_lines(log(info["queue"]), 1)
    if info["status"] == "queued":  # the job never got as far as the supervisor
        return outcome.Outcome("failed", outcome.EXIT_FAILED, ": ".join([said, *lines]))
    return outcome.signalled(signal.SIGKILL, said)


def log(queue: dict[str, Any]) -> Path:
    """Return the file that holds the output of a job."""
    return Path(queue.get("log") or Path(queue["folder"]) / f"{queue['job']}_0_log.out")


def _exit_code(state: JobState) -> str:
    code = requeue.show(state.job).get("ExitCode", "")
    return f", exit code {code}" if code else ""


def ask_schedulers(rows: list[RunRow]) -> None:
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
