"""Summary of one run for lists: read from its run.json, tolerant of a broken file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path

from regimen.runs.record import FILE, RecordError, RunRecord
from regimen.runs.record_parts import InputEntry, PipelineStep, QueueEntry
from regimen.runs.status import Status
from regimen.system.files import read_bytes
from regimen.system.host import ProcessIdentity
from regimen.system.json_data import JsonData

FORMAT = 2
"""Raise it when `summary` fills the same fields in another way: indices of the old format are then rebuilt."""


@dataclass
class RunSummary(JsonData):
    """One run in a list.

    Attributes:
        id: name of its directory.
        began: when it started, in seconds of the epoch; of an unreadable one when its run.json was written.
        wall_s: time worked on it, of all attempts that ended.
        attempt: when the present or last attempt began, ISO.
        headline: its few figures.
        inputs: name -> file that it read.
        pending: name -> reference of what it will read.
        supervisor, queue: its present or future process, as recorded; see `liveness`.
        code: the copy of the code it works from, if it has one.
        unreadable: why its run.json cannot be read, or None.
        path: its directory, as reached from the roots.
    """

    id: str
    name: str | None = None
    task: str | None = None
    agent: str | None = None
    stage: str | None = None
    status: Status = Status.UNREADABLE
    started: str = ""
    ended: str | None = None
    began: float = 0.0
    wall_s: float = 0.0
    attempt: str = ""
    headline: dict[str, float | None] = field(default_factory=dict)
    seed: int | None = None
    tags: list[str] = field(default_factory=list)
    notes: int = 0
    parents: list[str] = field(default_factory=list)
    inputs: dict[str, InputEntry] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    sweep: str | None = None
    pipeline: PipelineStep | None = None
    rerun_of: str | None = None
    sim: str | None = None
    hardware: str | None = None
    experiment: str | None = None
    overrides: list[str] = field(default_factory=list)
    host: str | None = None
    commit: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    peak_memory_gib: float = 0.0
    signature_config: str | None = None
    signature_code: str | None = None
    supervisor: ProcessIdentity | None = None
    queue: QueueEntry | None = None
    code: str | None = None
    unreadable: str | None = None
    path: str = ""

    @property
    def dir(self) -> Path:
        """Its directory."""
        return Path(self.path)

    @property
    def has_checkpoint(self) -> bool:
        """Whether a policy can be taken from it."""
        return holds(f"{self.path}/checkpoints", ".pt")

    @property
    def has_data(self) -> bool:
        """Whether it made a dataset: of episodes, or of learning histories."""
        return holds(f"{self.path}/data", ".h5") or holds(f"{self.path}/data/histories", ".json")


COLUMNS = tuple(f.name for f in fields(RunSummary))[:-1]
"""Columns of an index: all fields but the path, which depends on the root."""


def pack(row: RunSummary) -> str:
    """Return the text an index keeps of a row."""
    return json.dumps([getattr(row, name) for name in COLUMNS], default=JsonData.to_dict, separators=(",", ":"))


def unpack(texts: Sequence[str], paths: Sequence[str]) -> list[RunSummary]:
    """Return the rows that `pack` made texts of; all at once, because an index holds ten thousands.

    Args:
        texts: from an index.
        paths: where the runs are, in the same order.
    """
    names = (*COLUMNS, "path")
    rows = []
    for values, path in zip(json.loads(f"[{','.join(texts)}]"), paths, strict=True):
        row = RunSummary.__new__(RunSummary)
        fields_ = vars(row)
        fields_.update(zip(names, (*values, path), strict=True))
        fields_["status"] = STATUSES[fields_["status"]]
        supervisor = fields_["supervisor"]  # almost every run has one, and it was checked when it was read
        if supervisor and supervisor.keys() == IDENTITY:
            fields_["supervisor"] = supervisor = ProcessIdentity(**supervisor)
        if fields_["inputs"] or fields_["pipeline"] or fields_["queue"] or isinstance(supervisor, dict):
            row.with_nested()
        rows.append(row)
    return rows


IDENTITY = {field.name for field in fields(ProcessIdentity)}
STATUSES = {status.value: status for status in Status}


def holds(folder: str, suffix: str) -> bool:
    """Return whether a folder has a file that ends so; False where there is no folder."""
    try:
        return any(name.endswith(suffix) for name in os.listdir(folder))
    except OSError:
        return False


def read(folder: str) -> RunSummary | None:
    """Return the row of a run directory as its run.json says now; None where there is no run.json (any more)."""
    run_id = os.path.basename(os.path.abspath(folder))
    try:
        text, stamp = read_bytes(Path(folder, FILE)), os.stat(f"{folder}/{FILE}").st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _broken(run_id, folder, 0.0, str(error.strerror))
    try:
        data = json.loads(text)
        if isinstance(data, dict):
            data.pop("artifacts", None)  # a large part of the record, of which a row holds nothing
        return summary(run_id, folder, RunRecord.from_dict(data))
    except (RecordError, ValueError, RecursionError) as error:
        return _broken(run_id, folder, stamp, f"{error}" if text.strip() else "it is empty")


def summary(run_id: str, folder: str, record: RunRecord) -> RunSummary:
    """Return the row of a run.

    Args:
        run_id: name of its directory.
        folder: its directory.
        record: its record.
    """
    choices, started = record.choices, record.started or ""
    return RunSummary(
        id=run_id,
        name=record.name,
        task=choices.get("task"),
        agent=choices.get("agent"),
        stage=record.stage or choices.get("stage"),
        status=record.status,
        started=started,
        ended=record.ended,
        began=seconds(started),
        wall_s=record.wall_s,
        attempt=record.resumed[-1].at if record.resumed else started,
        headline=record.headline,
        seed=record.seed,
        tags=record.tags,
        notes=len(record.notes),
        parents=record.parents,
        inputs=record.inputs,
        pending=record.pending,
        sweep=record.sweep or _sweep(folder),
        pipeline=record.pipeline,
        rerun_of=record.rerun_of,
        sim=choices.get("sim"),
        hardware=choices.get("hardware"),
        experiment=choices.get("experiment"),
        overrides=record.overrides,
        host=record.host.name if record.host else None,
        commit=record.git.commit if record.git else None,
        exit_code=record.exit_code,
        reason=record.reason,
        peak_memory_gib=record.peak_memory_gib,
        signature_config=record.signature.config,
        signature_code=record.signature.code,
        supervisor=record.supervisor,
        queue=record.queue,
        code=record.code,
        path=folder,
    )


def seconds(iso: str | None) -> float:
    """Return a recorded time in seconds of the epoch, 0 where it is none."""
    try:
        return datetime.fromisoformat(iso or "").timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _broken(run_id: str, folder: str, stamp: float, why: str) -> RunSummary:
    started = datetime.fromtimestamp(stamp).astimezone().isoformat(timespec="seconds")
    return RunSummary(run_id, started=started, attempt=started, began=stamp, unreadable=why, path=folder)


def _sweep(folder: str) -> str | None:
    """Return the sweep whose folder a run stands in, for records that do not name it."""
    above = os.path.dirname(os.path.abspath(folder))
    return os.path.basename(above) if os.path.exists(f"{above}/sweep.json") else None
