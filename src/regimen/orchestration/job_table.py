"""Rows of the jobs of a sweep or pipeline, in its JSON file and in its closing table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regimen.display.console import say
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import RunRecord
from regimen.runs.record_parts import LOCAL, QueueEntry
from regimen.system import files, host

ROOT = Path("multirun")
"""Folder of sweeps and pipelines."""

WAITING = "waiting"
NOT_STARTED = "not started"
"""Statuses of jobs beside those of their runs."""


class JobRow:
    """Base of the dataclasses of a job and its result.

    Attributes:
        status: `waiting`, `not started`, status of its run, or another one of the subclass.
        exit_code: exit code of its supervisor.
        headline: headline metrics of its run.
        wall_s: working time of its run in s, over all attempts.
    """

    status: str
    exit_code: int | None
    headline: dict[str, float | None]
    wall_s: float | None

    def take(self, run: RunSummary | RunRecord) -> None:
        """Copy exit code, headline metrics and working time from a row of the index or from a record."""
        self.exit_code, self.headline, self.wall_s = run.exit_code, dict(run.headline), run.wall_s

    def status_text(self) -> str:
        """Return the status, with an exit code that is not 0."""
        return self.status if self.exit_code in (0, None) else f"{self.status} ({self.exit_code})"

    def headline_text(self) -> str:
        """Return name and value of the first headline metric, empty without one."""
        name, value = next(iter(self.headline.items()), ("", None))
        return f"{name} {value:.4g}" if value is not None else ""


def local_queue() -> QueueEntry:
    """Return the first queue of a run that this process starts or submits."""
    return QueueEntry(LOCAL, host.process(os.getpid()))


def write(path: Path, data: dict[str, Any], durable: bool = True) -> None:
    """Write the JSON file of a sweep or pipeline; a failure to write it is only a warning.

    Args:
        path: the file, in the folder whose name is the id.
        data: its fields beside format and id.
        durable: wait until the disk has it.
    """
    try:
        files.write_json(path, {"format": 1, "id": path.parent.name, **data}, durable=durable)
    except OSError as error:
        say(f"warning: {path.name} could not be written: {error}")
