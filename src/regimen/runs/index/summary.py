"""What a list of runs knows of one run: a summary of its run.json, made in one place and tolerant of a broken file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

UNREADABLE = "unreadable"
STATUSES = (
    "queued", "running", "finished", "failed", "killed", "preempted", "diverged", "lost", UNREADABLE,
)  # fmt: skip
"""All that `RunSummary.status` can be. The last two are seen by the reader, never written."""

FORMAT = 1
"""Raise it when `summary` fills the same fields in another way: indices of the old kind are then built anew."""


@dataclass(slots=True)
class RunSummary:
    """One run in a list.

    Attributes:
        id: name of its directory.
        began: when it started, in seconds of the epoch; of an unreadable one when its run.json was written.
        wall_s: time worked on it, of all attempts that ended.
        attempt: when the present or last attempt began, ISO.
        headline: its few figures.
        inputs: name -> path, sha256, run, ref of each file it read.
        pending: name -> reference of what it will read.
        supervisor, queue: who works on it or will, as recorded; see `state`.
        code: the copy of the code it works from, if it has one.
        unreadable: why its run.json tells nothing, or None.
        path: its directory, as reached from the roots.
    """

    id: str
    name: str | None = None
    task: str | None = None
    agent: str | None = None
    stage: str | None = None
    status: str = UNREADABLE
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
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    sweep: str | None = None
    pipeline: dict[str, Any] | None = None
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
    supervisor: dict[str, Any] | None = None
    queue: dict[str, Any] | None = None
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

    def plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {name: getattr(self, name) for name in (*COLUMNS, "path")}


COLUMNS = tuple(f.name for f in fields(RunSummary))[:-1]
"""What an index keeps: everything but where the run lies, which the reader knows."""


def pack(row: RunSummary) -> str:
    """Return the text an index keeps of a row."""
    return json.dumps([getattr(row, name) for name in COLUMNS], separators=(",", ":"))


def unpack(text: str, path: str) -> RunSummary:
    """Return the row that `pack` made a text of.

    Args:
        text: from an index.
        path: where the run lies.
    """
    values = [*json.loads(text), path]
    return RunSummary(*values)


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
        with open(f"{folder}/run.json", "rb") as file:
            stamp = os.fstat(file.fileno()).st_mtime
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _broken(run_id, folder, 0.0, str(error.strerror))
    try:
        info = json.loads(text)
        if not isinstance(info, dict):
            raise ValueError(f"it holds {type(info).__name__} instead of an object")
        if not info.get("status"):
            raise ValueError("it has no status")
        return summary(run_id, folder, info)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return _broken(run_id, folder, stamp, f"{error}" if text.strip() else "it is empty")


def summary(run_id: str, folder: str, info: dict[str, Any]) -> RunSummary:
    """Return the row of a run.

    Args:
        run_id: name of its directory.
        folder: its directory.
        info: the content of run.json.

    Raises:
        ValueError, TypeError, AttributeError: fields are not of the kind that a run.json has.
    """
    choices, git, sign = (dict(info.get(name) or {}) for name in ("choices", "git", "signature"))
    started = str(info.get("started") or "")
    attempts = [str(row.get("at")) for row in info.get("resumed") or []]
    return RunSummary(
        id=run_id,
        name=_text(info.get("name")),
        **{group: _text(choices.get(group)) for group in ("task", "agent", "sim", "hardware", "experiment")},
        stage=_text(info.get("stage") or choices.get("stage")),
        status=str(info.get("status")),
        started=started,
        ended=_text(info.get("ended")),
        began=seconds(started),
        wall_s=float(info.get("wall_s") or 0.0),
        attempt=attempts[-1] if attempts else started,
        headline=dict(info.get("headline") or {}),
        seed=info.get("seed"),
        tags=[str(tag) for tag in info.get("tags") or []],
        notes=len(info.get("notes") or []),
        parents=[str(parent) for parent in info.get("parents") or []],
        inputs={str(name): dict(row) for name, row in (info.get("inputs") or {}).items()},
        pending={str(name): str(ref) for name, ref in (info.get("pending") or {}).items()},
        sweep=_text(info.get("sweep")) or _sweep(folder),
        pipeline=dict(info["pipeline"]) if info.get("pipeline") else None,
        rerun_of=_text(info.get("rerun_of")),
        overrides=[str(override) for override in info.get("overrides") or []],
        host=_text((info.get("host") or {}).get("name")),
        commit=_text(git.get("commit")),
        exit_code=info.get("exit_code"),
        reason=_text(info.get("reason")),
        peak_memory_gib=float(info.get("peak_memory_gib") or 0.0),
        signature_config=_text(sign.get("config")),
        signature_code=_text(sign.get("code")),
        supervisor=dict(info["supervisor"]) if info.get("supervisor") else None,
        queue=dict(info["queue"]) if info.get("queue") else None,
        code=_text(info.get("code")),
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


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
