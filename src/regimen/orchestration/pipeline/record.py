"""Read and write `multirun/<id>/pipeline.json`: the steps of a pipeline, their runs and results."""

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
    """One node of the graph and its result.

    Attributes:
        name: name of the node.
        stage: option of `stage`.
        after: names of the nodes it depends on.
        status: `waiting`, `queued`, `running`, `reused`, final status of its run, `blocked by <node>`, `not started`.
        run: id of its run.
        dir: directory of its run.
        exit_code: exit code of the supervisor.
        reason: why it did not finish.
        headline: headline metrics of the run.
        wall_s: working time of the run in s.
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
        """Copy result fields from a row of the index or from a run.json."""
        get = row.get if isinstance(row, dict) else lambda name: getattr(row, name)
        self.headline, self.wall_s, self.reason = dict(get("headline") or {}), get("wall_s"), get("reason")
        self.exit_code = get("exit_code")


def blocked_by(step: Step) -> str:
    """Return the status of a step that depends on `step`, which failed or is blocked itself."""
    return step.status if step.status.startswith(BLOCKED) else BLOCKED + step.name


class PipelineRecord:
    """The record of one pipeline, written at every change.

    Args:
        folder: directory of the pipeline.
        name: name of the pipeline.
        jobs: its jobs.
    """

    def __init__(self, folder: Path, name: str, jobs: list[Job]) -> None:
        self.folder, self.name = folder, name
        self.steps = {job.name: Step(job.name, job.composed.choices["stage"], job.node.after) for job in jobs}
        self.status = RUNNING
        self.signal: int | None = None
        self.started = files.now()
        self.ended: str | None = None

    def record_fields(self, node: str, code: str | None) -> dict[str, Any]:
        """Return the first fields of the run.json of a node: status, queue, pipeline and code.

        Args:
            node: name of the node.
            code: snapshot of the code that the run will use.
        """
        pipeline = {"id": self.folder.name, "name": self.name, "step": node}
        queue = {"kind": "local", "process": host.process(os.getpid())}
        return {"status": "queued", "queue": queue, "pipeline": pipeline, "code": code}

    def end(self, signal: int | None, status: str = "ended") -> None:
        """Record the end of the pipeline.

        Args:
            signal: number of the signal that stopped it, None without one.
            status: status without a signal.
        """
        self.signal, self.ended = signal, files.now()
        self.status = status if signal is None else "stopped"
        self.write()

    def write(self) -> None:
        """Write pipeline.json; a failure to write it is only a warning."""
        names = ("name", "status", "signal", "started", "ended")
        head = {"format": 1, "id": self.folder.name, "argv": sys.argv} | {n: getattr(self, n) for n in names}
        try:
            files.write_json(self.folder / FILE, {**head, "steps": [asdict(step) for step in self.steps.values()]})
        except OSError as error:
            say(f"warning: {FILE} could not be written: {error}")
