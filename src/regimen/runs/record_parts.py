"""The parts of a run's record: what stands under the keys of run.json that hold objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from regimen.config.schedulers import SCHEDULERS
from regimen.system.git import GitState
from regimen.system.host import CodeState, ProcessIdentity
from regimen.system.json_data import CheckedJsonData, Json

LOCAL = "local"
"""Kind of queue of a run that a sweep or pipeline of this machine starts."""


@dataclass
class MemoryEstimate(CheckedJsonData):
    """What was estimated before the start: bytes of one worker by part.

    Attributes:
        main: part -> bytes of main memory.
        gpu: part -> bytes of GPU memory.
        workers: processes of the run on one machine, which take as much each.
    """

    main: dict[str, int] = field(default_factory=dict)
    gpu: dict[str, int] = field(default_factory=dict)
    workers: int = 1

    @property
    def main_bytes(self) -> int:
        """Main memory of all workers of a machine."""
        return sum(self.main.values()) * self.workers

    @property
    def gpu_bytes(self) -> int:
        """GPU memory of one worker."""
        return sum(self.gpu.values())


@dataclass
class Trial(CheckedJsonData):
    """A short training that was measured.

    Attributes:
        num_envs: environments.
        step_s: seconds of a step of all environments with its share of the update.
        iterations: how many were measured.
        main_bytes: its peak of main memory.
        gpu_bytes: that of GPU memory, 0 without a GPU.
    """

    num_envs: int
    step_s: float
    iterations: int
    main_bytes: int
    gpu_bytes: int = 0


@dataclass
class SizeChoice(CheckedJsonData):
    """How `env.num_envs=auto` chose the number of environments.

    Attributes:
        num_envs: the number.
        reason: why this one.
        samples_per_s: rate that is expected with it.
        trials: what was measured, the smaller number first.
    """

    num_envs: int
    reason: str
    samples_per_s: float
    trials: list[Trial] = field(default_factory=list)


@dataclass
class InputEntry(CheckedJsonData):
    """A file or folder that a run reads.

    Attributes:
        path: where it is.
        sha256: checksum when the record was made.
        run: id of the run that made it, None for other files.
        ref: the reference as typed.
    """

    path: str
    sha256: str | None = None
    run: str | None = None
    ref: str | None = None

    def __post_init__(self) -> None:
        """Refuse text that is no path."""
        _require_path(self.path)


@dataclass
class Artifact(CheckedJsonData):
    """A file of the run that is worth keeping.

    Attributes:
        path: relative to the run directory.
        kind: `checkpoint`, `dataset`, `figure`, `video`, `table` or `page`.
        bytes: its size.
        sha256: its checksum.
    """

    path: str
    kind: str = ""
    bytes: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        """Refuse text that is no path, and a path that leads out of the run."""
        _require_path(self.path)
        if self.path.startswith("/") or ".." in self.path.split("/"):
            raise ValueError(f"the path {self.path[:80]!r} of an artifact leads out of the run")


@dataclass
class Signature(CheckedJsonData):
    """Hashes of what decides the result of a run: of configuration with inputs, and of the code."""

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(("config", "code"))

    config: str | None = None
    code: str | None = None


@dataclass
class RunError(CheckedJsonData):
    """What ended a run that failed.

    Attributes:
        type: name of the exception or of the signal.
        message: its message.
        last_lines: last lines of the worker's output, None if there was no worker.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(("last_lines",))

    type: str | None = None
    message: str = ""
    last_lines: list[str] | None = None


@dataclass
class Attempt(CheckedJsonData):
    """A further attempt at a run.

    Attributes:
        at: when it began, ISO.
        previous_status: status of the run before.
        git: its commit, None outside of a repository.
        versions: packages of its worker by name; empty before that has started, and in records that do not hold them.
    """

    at: str
    previous_status: str | None = None
    git: GitState | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> Json:
        """Return the JSON object."""
        data = super().to_dict()
        if not self.versions:
            del data["versions"]
            if self.git is None:
                del data["git"]
        return data

    @property
    def code_state(self) -> CodeState | None:
        """Commit and packages, None if they are not recorded."""
        return CodeState(self.git, self.versions) if self.versions else None


@dataclass
class Note(CheckedJsonData):
    """A remark of a person, with its time in ISO format."""

    at: str
    text: str


@dataclass
class PipelineStep(CheckedJsonData):
    """The pipeline that a run belongs to, by id and name, and the step of it that the run is."""

    id: str | None = None
    name: str | None = None
    step: str | None = None


@dataclass
class Restart(CheckedJsonData):
    """One time that a scheduler stopped the job: when, `time limit` or `preempted`, at which environment step."""

    at: str
    cause: str
    step: int


@dataclass
class QueueEntry(CheckedJsonData):
    """The process or scheduler that starts a waiting run.

    Attributes:
        kind: `local` (a sweep or pipeline of this machine), `slurm` or `submitit_local`.
        process: the local process that starts the run; of `submitit_local` that of its job.
        job: number of the job at the scheduler, such as `12` or `12_3`.
        folder: folder of the job's scripts and logs.
        submitted: time of the submission, ISO.
        after: jobs that must have succeeded before.
        log: file of the job's output, where it is known.
        starter: process of `submitit_local` that starts its jobs.
        restarts: the times that the scheduler stopped the job.
        again: whether the job is requeued; None while that is not decided.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        ("process", "job", "folder", "submitted", "after", "log", "starter", "again")
    )

    kind: str = ""
    process: ProcessIdentity | None = None
    job: str | None = None
    folder: str | None = None
    submitted: str | None = None
    after: list[str] | None = None
    log: str | None = None
    starter: ProcessIdentity | None = None
    restarts: list[Restart] = field(default_factory=list)
    again: bool | None = None

    def to_dict(self) -> Json:
        """Return the JSON object, without what is not set."""
        data = super().to_dict()
        if not self.restarts:
            del data["restarts"]
        return data

    @property
    def is_scheduled(self) -> bool:
        """Whether a scheduler has the run."""
        return self.kind in SCHEDULERS

    @property
    def has_job(self) -> bool:
        """Whether the run was submitted, and it is not decided that its job ends for good.

        Between two attempts the status is `preempted`; `again` is written a moment later.
        """
        return self.is_scheduled and self.job is not None and self.again is not False


def _require_path(text: str) -> None:
    if "\0" in text or len(text.encode(errors="replace")) > 4095 or any(len(part) > 255 for part in text.split("/")):
        raise ValueError(f"{text[:80]!r} is no path")
