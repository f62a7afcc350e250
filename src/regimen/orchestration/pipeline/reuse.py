"""What is there already: a run with the same configuration, inputs and code as a step wants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.orchestration.pipeline.jobs import Ready
from regimen.runs import inputs, lock
from regimen.runs.index.summary import RunSummary
from regimen.runs.run import Run
from regimen.system import files

DONE, RUNNING, RESUMABLE, TO_DO = "done", "running", "resumable", "to do"
STOPPED = ("killed", "preempted", "lost", "failed")
"""How a run ended that can be continued from its last checkpoint."""


@dataclass
class Known:
    """What is known of a run that a node wants.

    Attributes:
        state: `done` (finished, and its files are whole), `running` (or queued, by anyone), `resumable`, or `to do`.
        row: that run, None for `to do`.
        note: why a run that looks the same is not used.
    """

    state: str
    row: RunSummary | None = None
    note: str = ""


def look_up(ready: Ready, rows: Sequence[RunSummary]) -> Known:
    """Return the best run that has the same signature: finished, else at work, else to be continued.

    Args:
        ready: what is wanted.
        rows: all runs, newest first.
    """
    mine = ready.signature
    same = [r for r in rows if r.signature_config == mine["config"] and r.signature_code == mine["code"]]
    notes = []
    for row in [r for r in same if r.status == "finished"]:
        lacks = next(missing(row.dir, ready.composed.config), None)
        if lacks is None:
            return Known(DONE, row)
        notes.append(f"{row.id} is not used: {lacks}")
    if not notes:
        other = next((r for r in rows if r.signature_config == mine["config"] and r.status == "finished"), None)
        notes = [f"{other.id} is not used: the code has changed since"] if other and other not in same else []
    note = notes[0] if notes else ""
    for row in filter(at_work, same):
        return Known(RUNNING, row)
    for row in [r for r in same if r.status in STOPPED]:
        if _can_go_on(row):
            return Known(RESUMABLE, row)
    return Known(TO_DO, None, note)


def at_work(row: RunSummary) -> bool:
    """Return whether someone works on a run, or will without being asked, as Slurm does after a preemption."""
    if row.status in ("running", "queued") or (row.status == "preempted" and (row.queue or {}).get("again")):
        return True
    return row.status in STOPPED and not lock.is_free(Run(row.dir))  # its worker still saves


def missing(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """Yield what a finished run lacks to be used again: files that are gone or changed, a video that is wanted.

    Args:
        folder: the run's directory.
        config: what is wanted.
    """
    artifacts = (files.read_json(folder / "run.json") or {}).get("artifacts") or []
    for row in artifacts:
        path = folder / row["path"]
        if not path.is_file():
            yield f"{row['path']} is gone"
        elif path.stat().st_size != row["bytes"] or _hash(path) != row["sha256"]:
            yield f"{row['path']} has changed since"
    if config["video"] and not any(row["kind"] == "video" for row in artifacts) and config["choices"]["stage"] in FILMS:
        yield "it has no video"


FILMS = ("evaluate", "report")
"""Stages that make a video when they are asked to."""


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file, read once for each change of it."""
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _hashes:
        _hashes[key] = files.sha256(path)
    return _hashes[key]


_hashes: dict[tuple[str, int, int], str] = {}


def _can_go_on(row: RunSummary) -> bool:
    """Return whether a run that stopped has something to continue from, or was never begun, on the same inputs."""
    info = files.read_json(row.dir / "run.json") or {}
    begun = info.get("supervisor") is not None
    return ((row.dir / "checkpoints/last.pt").exists() or not begun) and not inputs.changed(info)
