"""Read and write `multirun/<id>/pipeline.json`: the steps of a pipeline, their runs and results."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from regimen.orchestration import job_table
from regimen.orchestration.job_table import WAITING, JobRow
from regimen.orchestration.pipeline.jobs import Job
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import RunRecord
from regimen.runs.record_parts import PipelineStep
from regimen.runs.status import Status
from regimen.system import files
from regimen.system.secrets import redacted

FILE = "pipeline.json"
REUSED = "reused"
BLOCKED = "blocked by "
"""Further statuses of steps."""


@dataclass
class Step(JobRow):
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

    @property
    def is_open(self) -> bool:
        """Whether it waits for its inputs, is queued or runs."""
        return self.status in (WAITING, Status.QUEUED, Status.RUNNING)

    @property
    def is_done(self) -> bool:
        """Whether its run has finished, now or earlier."""
        return self.status in (Status.FINISHED, REUSED)

    def take(self, run: RunSummary | RunRecord) -> None:
        """Copy the result and the reason from a row of the index or from a record."""
        super().take(run)
        self.reason = run.reason


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
        self.status = str(Status.RUNNING)
        self.signal: int | None = None
        self.started = files.iso_now()
        self.ended: str | None = None

    def step_entry(self, node: str) -> PipelineStep:
        """Return what the run of a node records of this pipeline."""
        return PipelineStep(self.folder.name, self.name, node)

    def end(self, signal: int | None, status: str = "ended") -> None:
        """Record the end of the pipeline.

        Args:
            signal: number of the signal that stopped it, None without one.
            status: status without a signal.
        """
        self.signal, self.ended = signal, files.iso_now()
        self.status = status if signal is None else "stopped"
        self.write()

    def write(self) -> None:
        """Write pipeline.json."""
        names = ("name", "status", "signal", "started", "ended")
        head = {"argv": [redacted(word) for word in sys.argv]} | {n: getattr(self, n) for n in names}
        job_table.write(self.folder / FILE, {**head, "steps": [asdict(step) for step in self.steps.values()]})
