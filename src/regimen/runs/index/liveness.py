"""Liveness of runs recorded as `running` or `queued`: judged at every read, never stored."""

from __future__ import annotations

import time
from collections.abc import Sequence

from regimen.runs import lock
from regimen.runs.index.summary import RunSummary
from regimen.runs.record_parts import LOCAL
from regimen.runs.status import Status
from regimen.runs.timeouts import HEARTBEAT_LOST_S
from regimen.system import host


def judge(rows: Sequence[RunSummary]) -> None:
    """Set the status of open runs without a process to `lost`.

    Args:
        rows: as recorded.
    """
    for row in rows:
        if row.status.is_open and not _is_attended(row):
            row.status = Status.LOST


def is_scheduled(row: RunSummary) -> bool:
    """Return whether a scheduler may have the run, so that its status does not follow from its record alone."""
    if row.queue is None or not row.queue.is_scheduled:
        return False
    return waits_to_go_on(row) if row.status == Status.PREEMPTED else row.status.may_have_job


def waits_to_go_on(row: RunSummary) -> bool:
    """Return whether a preempted run is still its scheduler's, which will start it again."""
    queue = row.queue
    return row.status == Status.PREEMPTED and queue is not None and queue.is_scheduled and queue.again is not False


def _is_attended(row: RunSummary) -> bool:
    if row.status == Status.RUNNING and row.supervisor:
        return is_worked_on(row)
    if row.queue and row.queue.kind != LOCAL:
        return True
    if row.queue is None or row.queue.process is None:  # just made, and about to be taken over by the process that did
        return time.time() - row.began < HEARTBEAT_LOST_S
    return host.is_alive(row.queue.process) is not False


def is_worked_on(row: RunSummary) -> bool:
    """Return whether the supervisor of a running run is alive: by its process on this host, else by its heartbeat."""
    alive = host.is_alive(row.supervisor)
    return lock.seconds_since_heartbeat(row.dir) < HEARTBEAT_LOST_S if alive is None else alive


def is_dead(row: RunSummary) -> bool:
    """Return whether the supervisor of a run is known to be gone, because it was a process of this machine."""
    return row.supervisor is not None and host.is_alive(row.supervisor) is False
