"""The statuses of a run, and what may be done in each.

    queued ──▶ running ──▶ finished
      ▲  │        │  └───▶ failed, diverged          decided by the work itself
      │  │        └──────▶ killed, preempted         from outside; it can be resumed
      │  └───────────────▶ failed, killed            it never started
      └── failed, diverged, killed, preempted        requeued by a scheduler or by a person

The methods of `RunRecord` that are named in its docstring are the only code that changes a status.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a run is in its life; the values are those of run.json.

    `LOST` and `UNREADABLE` are judged by readers and never written.
    """

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"
    PREEMPTED = "preempted"
    DIVERGED = "diverged"
    LOST = "lost"
    UNREADABLE = "unreadable"

    @property
    def is_open(self) -> bool:
        """Whether the run works or waits for its turn: `queued` and `running`."""
        return self in _OPEN

    @property
    def may_have_job(self) -> bool:
        """Whether a scheduler may have a pending or running job: as `is_open`, or between attempts, or `lost`."""
        return self in _WITH_JOB

    @property
    def is_final(self) -> bool:
        """Whether the work itself decided the end: no attempt follows unless a person asks for one."""
        return self in _FINAL

    @property
    def is_resumable(self) -> bool:
        """Whether the last attempt ended early, so that the next one continues from the last checkpoint."""
        return self in _RESUMABLE

    @property
    def is_failure(self) -> bool:
        """Whether the run ended without a result."""
        return self in _FAILURES


_OPEN = frozenset((Status.QUEUED, Status.RUNNING))
_WITH_JOB = _OPEN | {Status.PREEMPTED, Status.LOST}
_FINAL = frozenset((Status.FINISHED, Status.FAILED, Status.DIVERGED))
_RESUMABLE = frozenset((Status.KILLED, Status.PREEMPTED, Status.LOST, Status.FAILED))
_FAILURES = _RESUMABLE | {Status.DIVERGED}
