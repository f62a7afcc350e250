"""The record of a pipeline, `multirun/<id>/pipeline.json`: each step with its run and how that ended."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regimen.display.console import say
from regimen.orchestration.pipeline.jobs import Job
from regimen.runs.index.summary import RunSummary
from regimen.system import files, host

FILE = "pipeline.json"
WAITING, QUEUED, RUNNING = "waiting", "queued", "running"
OPEN = (WAITING, QUEUED, RUNNING)
FINISHED, REUSED, FAILED = "finished", "reused", "failed"
DONE = (FINISHED, REUSED)
BLOCKED = "blocked by "
NOT_STARTED = "not started"


@dataclass
class Step:
    """One node of the graph.

    Attributes:
        name: of the node.
        stage: option of `stage`.
        after: nodes whose runs it reads.
        status: `waiting`, `queued`, `running`, `reused`, how its run ended, `blocked by <node>`, or `not started`.
        run: id of its run.
        dir: directory of its run.
        exit_code: of the run's supervisor.
        reason: why it did not finish.
        headline: headline metrics of the run.
        wall_s: time worked on the run.
    """

    name: str
    stage: str
    after: list[str]
    status: str = WAITING
    run: str | None = None
    dir: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    headline: dict[str, float | None] = field(default_factory=dict)
    wall_s: float | None = None

    def take(self, row: RunSummary | dict[str, Any]) -> None:
        """Fill in what a run says of itself: a row of the index, or its run.json."""
        get = row.get if isinstance(row, dict) else lambda name: getattr(row, name)
        self.headline, self.wall_s, self.reason = dict(get("headline") or {}), get("wall_s"), get("reason")
        self.exit_code = get("exit_code")


class Book:
    """All steps, written at every change.

    Args:
        folder: claimed for this pipeline.
        name: of the pipeline.
        jobs: its runs.
    """

    def __init__(self, folder: Path, name: str, jobs: list[Job]) -> None:
        self.folder, self.name = folder, name
        self.steps = {job.name: Step(job.name, job.composed.choices["stage"], job.node.after) for job in jobs}
        self.status = RUNNING
        self.signal: int | None = None
        self.started = files.now()
        self.ended: str | None = None

    def origin(self, node: str, code: str | None) -> dict[str, Any]:
        """Return what the record of a node's run says of where it comes from, before it is started.

        Args:
            node: the node.
            code: copy of the code that the run works from.
        """
        mine = {"id": self.folder.name, "name": self.name, "step": node}
        queue = {"kind": "local", "process": host.process(os.getpid())}
        return {"status": "queued", "queue": queue, "pipeline": mine, "code": code}

    def end(self, signal: int | None, status: str = "ended") -> None:
        """Write that nothing follows."""
        self.signal, self.ended = signal, files.now()
        self.status = status if signal is None else "stopped"
        self.write()

    def write(self) -> None:
        """Replace the file; a pipeline goes on where that is not possible."""
        names = ("name", "status", "signal", "started", "ended")
        head = {"format": 1, "id": self.folder.name, "argv": sys.argv} | {n: getattr(self, n) for n in names}
        try:
            files.write_json(self.folder / FILE, {**head, "steps": [asdict(step) for step in self.steps.values()]})
        except OSError as error:
            say(f"warning: {FILE} could not be written: {error}")
