"""Whether somebody still works on a run that says `running` or `queued`: judged when it is looked at, never stored."""

from __future__ import annotations

import time
from collections.abc import Sequence

from regimen.runs import lock
from regimen.runs.index.summary import RunSummary
from regimen.system import host

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


def is_scheduled(row: RunSummary) -> bool:
    """Return whether a scheduler may have the run, so that its record alone does not tell the status."""
    if row.status == "preempted":
        return waits_to_go_on(row)
    return row.status in (*OPEN, "lost") and (row.queue or {}).get("kind") in SCHEDULERS


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
