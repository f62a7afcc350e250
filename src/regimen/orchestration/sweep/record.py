"""Read and write `sweep.json`: the jobs of a sweep, their arguments and their results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.orchestration import job_table
from regimen.orchestration.job_table import NOT_STARTED, WAITING, JobRow
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import RunRecord, read_record
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files, host
from regimen.system.errors import PreflightError, RunReferenceError
from regimen.system.secrets import redacted


@dataclass
class Job(JobRow):
    """One run of a sweep.

    Attributes:
        run: id of the run, which is also the name of its directory.
        overrides: its arguments.
        status: `waiting`, `running`, final status of the run, or `not started`.
        exit_code: exit code of its supervisor.
        headline: its headline metrics.
        wall_s: working time in s, over all attempts.
        inputs: `policy` and `data` -> resolved files.
        among: number of jobs that share the machine, which its threads depend on; None in records of earlier versions.
    """

    run: str
    overrides: list[str]
    status: str = WAITING
    exit_code: int | None = None
    headline: dict[str, float | None] = field(default_factory=dict)
    wall_s: float | None = 0.0
    inputs: dict[str, Any] = field(default_factory=dict)
    among: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is queued or running on a scheduler."""
        return self.status in (Status.QUEUED, Status.RUNNING)

    def take(self, record: RunSummary | RunRecord) -> None:
        """Copy the result and the status from the record of its run."""
        super().take(record)
        self.status = str(record.status)


class SweepRecord:
    """The record of one sweep and its directory.

    Attributes:
        folder: directory of the sweep; its name is the id.
        jobs: ordered by number.
        config_dirs: folder of config.yaml, then the user's own.
        argv: command line that started the sweep.
        status: `running`, `submitted`, `ended` or `stopped`.
    """

    def __init__(self, folder: Path, config_dirs: list[Path]) -> None:
        """Args: folder: directory of the sweep, with or without sweep.json."""
        data = files.read_json(folder / "sweep.json") or {}
        self.folder = folder
        self.jobs = [Job(**row) for row in data.get("jobs", [])]
        self.config_dirs = [Path(d) for d in data.get("config_dirs", [])] or [d.resolve() for d in config_dirs]
        self.argv = data.get("argv") or [redacted(word) for word in sys.argv]
        self.status = str(data.get("status", "running"))

    @classmethod
    def open(cls, folder: Path) -> SweepRecord:
        """Open the record of an existing sweep.

        Raises:
            RunReferenceError: sweep.json is missing or unreadable.
        """
        if files.read_json(folder / "sweep.json") is None:
            raise RunReferenceError(
                f"{folder} is not a sweep: it has no readable sweep.json. Expected multirun/<sweep>."
            )
        return cls(folder, [])

    def add(self, number: int, composed: ComposedConfig, among: int) -> Job:
        """Add a job and return it.

        Args:
            number: number in the sweep, part of the id of the run.
            composed: configuration with resolved inputs.
            among: number of jobs that share the machine.
        """
        inputs = {key: composed.plain[key] for key in ("policy", "data") if composed.plain[key]}
        run = f"{self.folder.name}.{number:03d}"
        self.jobs.append(Job(run, list(composed.overrides), inputs=inputs, among=among))
        return self.jobs[-1]

    def run(self, job: Job) -> Run:
        """Return the run of a job; its directory may not exist."""
        return Run(self.folder / job.run)

    def refresh(self, jobs: Iterable[Job] | None = None) -> None:
        """Update jobs from their run directories; a job without a directory keeps its fields.

        Args:
            jobs: by default all.
        """
        for job in self.jobs if jobs is None else jobs:
            record = read_record(self.run(job).dir)
            if record and not (record.status == Status.QUEUED and job.status in (NOT_STARTED, WAITING, Status.FAILED)):
                job.take(record)

    def write(self, status: str, stopped: int | None = None) -> None:
        """Write sweep.json.

        Args:
            status: `running`, `submitted`, `ended` or `stopped`.
            stopped: number of the signal that stopped the sweep.
        """
        self.status = status
        data = {"argv": self.argv, "status": status, "signal": stopped}
        data["config_dirs"] = [str(folder) for folder in self.config_dirs]
        data |= {"process": host.process(os.getpid()).to_dict(), "jobs": [asdict(job) for job in self.jobs]}
        job_table.write(self.folder / "sweep.json", data, durable=False)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the lock of the sweep, so that only one process starts its jobs.

        Raises:
            PreflightError: another process holds it.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self.folder / ".sweeping", wait=False))
            except BlockingIOError:
                owner = (files.read_json(self.folder / "sweep.json") or {}).get("process") or {}
                raise PreflightError(
                    f"already running: process {owner.get('pid')} starts the jobs of sweep {self.folder.name} on "
                    f"{owner.get('host')}. Wait for it, or stop it first (kill {owner.get('pid')})."
                ) from None
            yield


def swept_keys(jobs: list[Job]) -> list[str]:
    """Return the keys whose values differ between jobs, ordered as in the arguments."""
    rows = [settings(job) for job in jobs]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({row.get(key) for row in rows}) > 1]


def settings(job: Job) -> dict[str, str]:
    """Return the arguments of a job as key -> text of the value."""
    parts = (override.partition("=") for override in job.overrides)
    return {key.lstrip("+"): value.replace("\\", "").strip("'\"") for key, _, value in parts}
