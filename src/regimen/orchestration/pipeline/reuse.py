"""Find a run with the same configuration, inputs and code as a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.orchestration.pipeline.jobs import PreparedJob
from regimen.runs import inputs, lock
from regimen.runs.index.summary import RunSummary
from regimen.runs.run import Run
from regimen.system import files

DONE, RUNNING, RESUMABLE, TO_DO = "done", "running", "resumable", "to do"
STOPPED = ("killed", "preempted", "lost", "failed")
"""Statuses of runs that can be resumed from their last checkpoint."""


@dataclass
class ExistingRun:
    """The run that already exists for a node, if there is one.

    Attributes:
        state: `done` (finished, with unchanged files), `running` (or queued, by any process), `resumable`, or `to do`.
        row: the run, None for `to do`.
        note: why a similar run is not used.
    """

    state: str
    row: RunSummary | None = None
    note: str = ""


def find_matching_run(prepared: PreparedJob, rows: Sequence[RunSummary]) -> ExistingRun:
    """Return the best run with the same signature: finished, else in progress, else resumable.

    Args:
        prepared: job with resolved inputs.
        rows: all runs, newest first.
    """
    wanted = prepared.signature
    same = [r for r in rows if r.signature_config == wanted["config"] and r.signature_code == wanted["code"]]
    notes = []
    for row in [r for r in same if r.status == "finished"]:
        reason = next(why_not_reusable(row.dir, prepared.composed.plain), None)
        if reason is None:
            return ExistingRun(DONE, row)
        notes.append(f"{row.id} is not used: {reason}")
    if not notes:
        other = next((r for r in rows if r.signature_config == wanted["config"] and r.status == "finished"), None)
        notes = [f"{other.id} is not used: the code has changed since"] if other and other not in same else []
    note = notes[0] if notes else ""
    for row in filter(in_progress, same):
        return ExistingRun(RUNNING, row)
    for row in [r for r in same if r.status in STOPPED]:
        if _is_resumable(row):
            return ExistingRun(RESUMABLE, row)
    return ExistingRun(TO_DO, None, note)


def in_progress(row: RunSummary) -> bool:
    """Return whether a run is running, queued, or will be requeued by Slurm after a preemption."""
    if row.status in ("running", "queued") or (row.status == "preempted" and (row.queue or {}).get("again")):
        return True
    return row.status in STOPPED and not lock.is_free(Run(row.dir))  # its worker still saves a checkpoint


def why_not_reusable(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """Yield why a finished run cannot be reused: files that are missing or changed, or a missing video.

    Args:
        folder: directory of the run.
        config: configuration of the step.
    """
    artifacts = (files.read_json(folder / "run.json") or {}).get("artifacts") or []
    for row in artifacts:
        path = folder / row["path"]
        if not path.is_file():
            yield f"{row['path']} is missing"
        elif path.stat().st_size != row["bytes"] or _hash(path) != row["sha256"]:
            yield f"{row['path']} has changed since"
    needs_video = config["video"] and config["choices"]["stage"] in STAGES_WITH_VIDEO
    if needs_video and not any(row["kind"] == "video" for row in artifacts):
        yield "it has no video"


STAGES_WITH_VIDEO = ("evaluate", "report")
"""Stages that write a video with `video=true`."""


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file, cached by path, size and modification time."""
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _hashes:
        _hashes[key] = files.sha256(path)
    return _hashes[key]


_hashes: dict[tuple[str, int, int], str] = {}


def _is_resumable(row: RunSummary) -> bool:
    """Return whether a stopped run has a checkpoint, or never started, and its inputs are unchanged."""
    info = files.read_json(row.dir / "run.json") or {}
    started = info.get("supervisor") is not None
    return ((row.dir / "checkpoints/last.pt").exists() or not started) and not inputs.changed(info)
