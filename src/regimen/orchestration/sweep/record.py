"""The record of a sweep, `sweep.json`: its jobs, their arguments, and how each ended."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regimen.config.compose import Composed
from regimen.display.console import say
from regimen.runs.run import Run
from regimen.system import files, host
from regimen.system.errors import PreflightError, ReferenceError_

NOT_STARTED = "not started"
OPEN = ("queued", "running")
"""Statuses of jobs that a scheduler has."""


@dataclass
class Job:
    """One run of a sweep.

    Attributes:
        run: id of the run, which is also the name of its directory.
        overrides: its arguments.
        status: `waiting`, `running`, how the run ended, or `not started`.
        exit_code: of its supervisor.
        headline: its headline metrics.
        wall_s: seconds worked on it.
        inputs: `policy` and `data` -> the files its references led to.
    """

    run: str
    overrides: list[str]
    status: str = "waiting"
    exit_code: int | None = None
    headline: dict[str, float | None] = field(default_factory=dict)
    wall_s: float = 0.0
    inputs: dict[str, Any] = field(default_factory=dict)

    def take(self, info: dict[str, Any]) -> None:
        """Note what a run.json says of the job."""
        self.status = str(info.get("status"))
        self.exit_code = info.get("exit_code")
        self.headline = dict(info.get("headline") or {})
        self.wall_s = float(info.get("wall_s") or 0.0)


class Book:
    """A sweep's directory and the record in it.

    Attributes:
        folder: the directory; its name is the sweep's id.
        jobs: in the order of their numbers.
        config_dirs: folder of config.yaml, then the user's own.
        argv: the command line that began the sweep.
        status: `running`, `submitted`, `ended` or `stopped`.
    """

    def __init__(self, folder: Path, config_dirs: list[Path]) -> None:
        """Args: folder: the sweep's directory, with or without a record."""
        data = files.read_json(folder / "sweep.json") or {}
        self.folder = folder
        self.jobs = [Job(**row) for row in data.get("jobs", [])]
        self.config_dirs = [Path(d) for d in data.get("config_dirs", [])] or [d.resolve() for d in config_dirs]
        self.argv = data.get("argv") or list(sys.argv)
        self.status = str(data.get("status", "running"))

    @classmethod
    def open(cls, folder: Path) -> Book:
        """Open the record of a sweep that was begun.

        Raises:
            ReferenceError_: there is no whole record.
        """
        if files.read_json(folder / "sweep.json") is None:
            raise ReferenceError_(f"{folder} is not a sweep: it has no readable sweep.json. Expected multirun/<sweep>.")
        return cls(folder, [])

    def add(self, number: int, composed: Composed) -> Job:
        """Add a job and return it.

        Args:
            number: its number in the sweep, part of the run's id.
            composed: its configuration, inputs resolved.
        """
        inputs = {key: composed.config[key] for key in ("policy", "data") if composed.config.get(key)}
        self.jobs.append(Job(f"{self.folder.name}.{number:03d}", list(composed.overrides), inputs=inputs))
        return self.jobs[-1]

    def run(self, job: Job) -> Run:
        """Return the run of a job, which may not exist."""
        return Run(self.folder / job.run)

    def refresh(self, jobs: Iterable[Job] | None = None) -> None:
        """Note what the run directories say now; a job without one keeps what is known of it.

        Args:
            jobs: by default all.
        """
        for job in self.jobs if jobs is None else jobs:
            info = self.run(job).info
            if info and not (info["status"] == "queued" and job.status in (NOT_STARTED, "waiting", "failed")):
                job.take(info)

    def write(self, status: str, stopped: int | None = None) -> None:
        """Write the record.

        Args:
            status: `running`, `submitted`, `ended` or `stopped`.
            stopped: number of the signal that stopped the sweep.
        """
        self.status = status
        data = {"format": 1, "id": self.folder.name, "argv": self.argv, "status": status, "signal": stopped}
        places = [str(folder) for folder in self.config_dirs]
        more = {
            "config_dirs": places,
            "process": host.process(os.getpid()),
            "jobs": [asdict(job) for job in self.jobs],
        }
        try:
            files.write_json(self.folder / "sweep.json", data | more, durable=False)
        except OSError as error:
            say(f"warning: sweep.json could not be written: {error}")

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keep the sweep to this process while it starts jobs.

        Raises:
            PreflightError: another process does so.
        """
        with (self.folder / ".sweeping").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = (files.read_json(self.folder / "sweep.json") or {}).get("process") or {}
                raise PreflightError(
                    f"running already: sweep {self.folder.name} is worked on by process {owner.get('pid')} on "
                    f"{owner.get('host')}. Wait for it, or stop it first (kill {owner.get('pid')})."
                ) from None
            yield


def swept_keys(jobs: list[Job]) -> list[str]:
    """Return the keys whose values differ between jobs, in the order of the arguments."""
    rows = [settings(job) for job in jobs]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({row.get(key) for row in rows}) > 1]


def settings(job: Job) -> dict[str, str]:
    """Return key -> value of a job's arguments, as text."""
    parts = (override.partition("=") for override in job.overrides)
    return {key.lstrip("+"): value.replace("\\", "").strip("'\"") for key, _, value in parts}
