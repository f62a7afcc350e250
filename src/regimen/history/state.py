"""Whether somebody still works on a run that says `running` or `queued`: judged when it is looked at, never stored."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from regimen import facts
from regimen.history.row import RunRow

OPEN = ("running", "queued")
"""Statuses of runs that are not at their end."""

SILENT_S = 180.0
"""A supervisor touches its run's `.supervisor` every 20 s; on another host, one silent for so long is gone."""


def judge(rows: Sequence[RunRow]) -> None:
    """Set the status of runs that nobody works on any more to `lost`.

    Args:
        rows: as recorded.
    """
    for row in rows:
        if row.status in OPEN and not _is_attended(row):
            row.status = "lost"


def _is_attended(row: RunRow) -> bool:
    if row.status == "running" and row.supervisor:
        return is_worked_on(row)
    if row.queue and row.queue.get("kind") != "local":
        return True
    process = (row.queue or {}).get("process")
    if process is None:  # just made, and about to be taken over by the process that made it
        return time.time() - row.began < SILENT_S
    return _alive(process) is not False


def is_worked_on(row: RunRow) -> bool:
    """Return whether the supervisor of a running run lives: its process here, its sign of life elsewhere."""
    alive = _alive(row.supervisor)
    return silence_s(row.path) < SILENT_S if alive is None else alive


def silence_s(folder: str) -> float:
    """Return for how many seconds the supervisor of a run has given no sign of life."""
    try:
        return time.time() - os.stat(f"{folder}/.supervisor").st_mtime
    except OSError:
        return float("inf")


def _alive(process: dict[str, object] | None) -> bool | None:
    try:
        return facts.is_alive(process)
    except (KeyError, TypeError):  # a record that names no process
        return False
