"""The record of a run: what run.json holds, typed, and the transitions that change its status."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

from regimen.runs.record_parts import (
    Artifact,
    Attempt,
    InputEntry,
    MemoryEstimate,
    Note,
    PipelineStep,
    QueueEntry,
    Restart,
    RunError,
    Signature,
    SizeChoice,
)
from regimen.runs.status import Status
from regimen.system import files
from regimen.system.git import GitState
from regimen.system.host import CodeState, HostInfo, ProcessIdentity
from regimen.system.json_data import CheckedJsonData, Json

FILE = "run.json"


class RecordError(ValueError):
    """A run.json that cannot be read; the message says why."""


@dataclass
class Outcome:
    """The end of an attempt.

    Attributes:
        status: `finished`, `failed`, `killed`, `preempted` or `diverged`.
        exit_code: of the supervisor.
        reason: one line for the screen, empty when all went well.
        signal: number of the signal, if one ended the run.
        error: what failed.
    """

    status: Status
    exit_code: int
    reason: str = ""
    signal: int | None = None
    error: RunError | None = None


@dataclass
class RunRecord(CheckedJsonData):
    """The content of run.json.

    `start`, `resume`, `end`, `preempt`, `queue_again`, `close_lost_job` and `close_dead_supervisor` change the status;
    nothing else does. Each raises ValueError for a status from which it is not allowed: what is finished stays so.

    Attributes:
        status: where the run is in its life.
        format: version of the file's format.
        id: name of the run directory.
        name: as given with `name=`.
        stage: option of `stage`.
        exit_code: of the supervisor, None while the run is open.
        reason: why it ended, or waits.
        argv: the command line.
        overrides: its `key=value` part.
        environment: environment variables of its worker, set by `hydra.job.env_set`; None without any.
        choices: group -> option, such as task -> reach.
        rerun_of: id of the run that this one repeats.
        sweep: id of its sweep.
        pipeline: its pipeline and step.
        queue: process or scheduler that starts it, None for a run that was started at once.
        parents: ids of the runs whose files it reads.
        pending: input name -> reference that can be resolved once a parent has finished.
        inputs: input name -> file that it reads.
        seed: seed of the run.
        git: commit of the first attempt, None outside of a repository.
        code: the code snapshot that it works from.
        signature: hashes of configuration and code.
        determinism: class that the simulator declares for the device, see `regimen.config.determinism`.
        versions: packages of the first worker by name, which may run in another interpreter than the launcher; empty
            before it has started.
        host: its machine.
        created, started, ended: times, ISO.
        wall_s, cpu_s: working time and CPU time of all attempts in s.
        peak_memory_gib: largest memory of the worker and its descendants in GiB.
        peak_gpu_gib: largest GPU memory that torch reserved in the first worker, in GiB; None without a GPU.
        estimated_memory: what was estimated before the start, None for a task whose use is not known in advance.
        size_choice: how `env.num_envs=auto` chose the number of environments.
        headline: the few figures shown in lists of runs.
        artifacts: files worth keeping.
        error: what failed.
        signal: number of the signal that ended it.
        supervisor: process of the present or last supervisor, None before the first.
        resumed: the attempts after the first.
        warnings: one line each.
        notes: remarks of people.
        tags: words that people gave it.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {"determinism", "environment", "peak_gpu_gib", "estimated_memory", "size_choice"}
    )

    # in the order of the keys in run.json
    format: int = 1
    id: str = ""
    name: str | None = None
    stage: str | None = None
    status: Status = Status.RUNNING
    exit_code: int | None = None
    reason: str | None = None
    argv: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    environment: dict[str, str] | None = None
    choices: dict[str, str] = field(default_factory=dict)
    rerun_of: str | None = None
    sweep: str | None = None
    pipeline: PipelineStep | None = None
    queue: QueueEntry | None = None
    parents: list[str] = field(default_factory=list)
    pending: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, InputEntry] = field(default_factory=dict)
    seed: int | None = None
    git: GitState | None = None
    code: str | None = None
    signature: Signature = field(default_factory=Signature)
    determinism: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    host: HostInfo | None = None
    created: str | None = None
    started: str | None = None
    ended: str | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_gib: float = 0.0
    peak_gpu_gib: float | None = None
    estimated_memory: MemoryEstimate | None = None
    size_choice: SizeChoice | None = None
    headline: dict[str, float | None] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    error: RunError | None = None
    signal: int | None = None
    supervisor: ProcessIdentity | None = None
    resumed: list[Attempt] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Return the record that the content of a run.json describes; null stands for a field's default.

        Raises:
            RecordError: it has no status, or a field is of another kind; the message names the field.
        """
        if not isinstance(data, dict):
            raise RecordError(f"it holds {type(data).__name__} instead of an object")
        if not data.get("status"):
            raise RecordError("it has no status")
        fields = cls.__dataclass_fields__
        known = {name: value for name, value in data.items() if value is not None or name not in fields}
        try:
            return super().from_dict(known)
        except (TypeError, ValueError) as error:
            raise RecordError(str(error)) from error

    @property
    def attempts(self) -> list[CodeState]:
        """Commit and packages of each attempt that recorded them, oldest first."""
        first = [CodeState(self.git, self.versions)] if self.versions else []
        return first + [state for row in self.resumed if (state := row.code_state)]

    @property
    def has_job(self) -> bool:
        """Whether the record says that a scheduler has a job of the run; see `QueueEntry.has_job`."""
        return self.queue is not None and self.queue.has_job

    @property
    def has_live_job(self) -> bool:
        """Whether the record says that the job of the run is pending or running."""
        if self.queue is None or not self.queue.has_job or not self.status.may_have_job:
            return False
        return self.status != Status.PREEMPTED or bool(self.queue.again)

    def start(self, supervisor: ProcessIdentity, host: HostInfo) -> None:
        """Record the start of the first attempt.

        Args:
            supervisor: process that supervises it.
            host: its machine, for a run that was queued on another one.
        """
        if self.status == Status.QUEUED:
            self.started, self.host = files.iso_now(), host
        self._begin("start", supervisor)

    def resume(self, supervisor: ProcessIdentity, git: GitState | None, signature: Signature) -> None:
        """Record the start of a further attempt.

        Args:
            supervisor: process that supervises it.
            git: commit that it works with, None outside of a repository.
            signature: hashes of what decides the result of all attempts together.
        """
        attempt = Attempt(files.iso_now(), self.status, git)
        self._begin("resume", supervisor)
        self.resumed.append(attempt)
        self.signature = signature

    def work(self, python: str, versions: dict[str, str]) -> None:
        """Record what the worker of the present attempt runs in.

        Args:
            python: path of its interpreter.
            versions: its packages by name.
        """
        if self.resumed:
            self.resumed[-1].versions = versions
        if not self.versions:
            self.versions = versions
            self.host = replace(self.host or HostInfo(), python=python)

    def end(self, outcome: Outcome, headline: dict[str, float | None] | None = None) -> None:
        """Record how an attempt ended, or that it did not begin.

        A worker may outlive its supervisor: its own account replaces the one of `close_dead_supervisor`.

        Args:
            outcome: how it ended.
            headline: figures of its result; None keeps those recorded.
        """
        self._require("end", self.status != Status.FINISHED and not outcome.status.is_open)
        self.status, self.exit_code, self.reason = outcome.status, outcome.exit_code, outcome.reason or None
        self.signal, self.error, self.ended = outcome.signal, outcome.error, files.iso_now()
        if headline is not None:
            self.headline = headline

    def preempt(self, cause: str, step: int, exit_code: int, refusal: str = "") -> None:
        """Record that a scheduler stopped the attempt, and whether it starts the job again.

        Args:
            cause: `time limit` or `preempted`.
            step: environment step at which the attempt stopped.
            exit_code: of the job.
            refusal: why the job is not requeued, empty if it is.
        """
        self._require("preempt", self.status != Status.FINISHED)
        queue = self.queue or QueueEntry()
        if not refusal:
            queue.restarts.append(Restart(files.iso_now(), cause, step))
        queue.again = not refusal
        self.ended = self.ended or files.iso_now()
        reason = (self.reason or "").partition(" — ")[0]
        self.status, self.exit_code, self.queue = Status.PREEMPTED, exit_code, queue
        self.reason = f"{cause}: {reason} — {refusal or 'the job waits to continue'}"

    def queue_again(self, queue: QueueEntry | None) -> None:
        """Record that the run waits for a further attempt, or again for its first one.

        Args:
            queue: process or scheduler that starts it; None until its scheduler has accepted a job.
        """
        self._require("queue_again", self.status != Status.FINISHED)
        self.status, self.queue = Status.QUEUED, queue
        self._forget_end()

    def close_lost_job(self, outcome: Outcome) -> bool:
        """Record the end of a run whose job is gone or cancelled; return whether anything was recorded.

        Nothing is recorded if the run has recorded its end, or got another job, meanwhile.

        Args:
            outcome: how it ended.
        """
        if self.queue is None or not self.has_live_job:
            return False
        self.end(outcome)
        self.queue.again = False
        return True

    def close_dead_supervisor(self, outcome: Outcome) -> bool:
        """Record the end of a run whose supervisor died before it could; return whether anything was recorded.

        Args:
            outcome: how it ended.
        """
        if not self.status.is_open:
            return False
        self.end(outcome)
        return True

    def _begin(self, transition: str, supervisor: ProcessIdentity) -> None:
        self._require(transition, self.status != Status.FINISHED)
        self.status, self.supervisor = Status.RUNNING, supervisor
        self._forget_end()

    def _forget_end(self) -> None:
        self.ended = self.exit_code = self.reason = self.signal = self.error = None

    def _require(self, transition: str, allowed: bool) -> None:
        if not allowed:
            raise ValueError(f"run {self.id}: no transition `{transition}` from the status `{self.status}`")


def read_record(folder: Path) -> RunRecord | None:
    """Return the record of a run directory, None where there is none that can be read.

    Args:
        folder: the run directory.
    """
    data = files.read_json(folder / FILE)
    try:
        return None if data is None else RunRecord.from_dict(data)
    except RecordError:
        return None
