"""Whether somebody still works on a run that says `running` or `queued`: judged when it is looked at, never stored."""

from __future__ import annotations

import time
from collections.abc import Sequence

from regimen.runs import lock
from regimen.runs.index.summary import RunSummary, read
from regimen.system import host
from regimen.system.errors import RegimenError

OPEN = ("running", "queued")
"""Statuses of runs that are not at their end."""

SCHEDULERS = ("slurm", "submitit_local")
"""Kinds of queue that are asked where a job is."""

SILENT_S = 180.0
"""A supervisor touches its run's `.supervisor` every 20 s; on another host, one silent for so long is gone."""


def judge(rows: Sequence[RunSummary]) -> None:
    """Set the status of runs that nobody works on any more to `lost`.

    Args:
        rows: as recorded.
    """
    for row in rows:
        if row.status in OPEN and not _is_attended(row):
            row.status = "lost"


def ask_schedulers(rows: list[RunSummary]) -> None:
    """Bring the rows of runs that Slurm (or its stand-in) has up to date: only it knows of a job that is gone.

    Where it does not answer, the rows stay as recorded.

    Args:
        rows: of the index; replaced in place.
    """
    scheduled = {row.id: at for at, row in enumerate(rows) if _is_scheduled(row)}
    if not scheduled:
        return
    from regimen.orchestration.slurm import reconcile
    from regimen.runs.run import Run

    try:
        going = reconcile.reconcile(Run(rows[at].dir) for at in scheduled.values())
    except RegimenError:
        return
    for run_id, at in scheduled.items():
        fresh = read(rows[at].path)
        if fresh is not None:
            rows[at] = fresh
            judge([fresh])
        if fresh is not None and fresh.status == "lost" and run_id in going:  # its node is gone: it was requeued
            fresh.status = "queued"


def _is_scheduled(row: RunSummary) -> bool:
    return (row.status in (*OPEN, "lost") and (row.queue or {}).get("kind") in SCHEDULERS) or waits_to_go_on(row)


def waits_to_go_on(row: RunSummary) -> bool:
    """Return whether a preempted run is still its scheduler's, which will start it again."""
    queue = row.queue or {}
    return row.status == "preempted" and queue.get("kind") in SCHEDULERS and queue.get("again") is not False


def _is_attended(row: RunSummary) -> bool:
    if row.status == "running" and row.supervisor:
        return is_worked_on(row)
    if row.queue and row.queue.get("kind") != "local":
        return True
    process = (row.queue or {}).get("process")
    if process is None:  # just made, and about to be taken over by the process that made it
        return time.time() - row.began < SILENT_S
    return _alive(process) is not False


def is_worked_on(row: RunSummary) -> bool:
    """Return whether the supervisor of a running run lives: its process here, its sign of life elsewhere."""
    alive = _alive(row.supervisor)
    return lock.silence_s(row.dir) < SILENT_S if alive is None else alive


def is_dead(row: RunSummary) -> bool:
    """Return whether the supervisor of a run is known to be gone, because it was a process of this machine."""
    return bool(row.supervisor) and _alive(row.supervisor) is False


def _alive(process: dict[str, object] | None) -> bool | None:
    try:
        return host.is_alive(process)
    except (KeyError, TypeError):  # a record that names no process
        return False
