"""Find a run with the same configuration, inputs and code as a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.orchestration.pipeline.jobs import PreparedJob
from regimen.runs import files_read, lock, resume_check
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import RunRecord, read_record
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files

DONE, RUNNING, RESUMABLE, TO_DO = "done", "running", "resumable", "to do"


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
    notes, same = [], []
    signed = [r for r in rows if r.signature_config == wanted.config and r.signature_code == wanted.code]
    for row in signed:
        if difference := next(files_read.changed(row.dir), None):
            notes.append(f"{row.id} is not used: {difference}")
        else:
            same.append(row)
    for row in [r for r in same if r.status == Status.FINISHED]:
        reason = next(why_not_reusable(row.dir, prepared.composed.plain), None)
        if reason is None:
            return ExistingRun(DONE, row)
        notes.append(f"{row.id} is not used: {reason}")
    if not notes:
        other = next((r for r in rows if r.signature_config == wanted.config and r.status == Status.FINISHED), None)
        if other and other not in signed:
            notes = [f"{other.id} is not used: {next(files_read.changed(other.dir), 'the code has changed since')}"]
    note = notes[0] if notes else ""
    for row in filter(in_progress, same):
        return ExistingRun(RUNNING, row)
    for row in [r for r in same if r.status.is_resumable]:
        if _is_resumable(row):
            return ExistingRun(RESUMABLE, row)
    return ExistingRun(TO_DO, None, note)


def in_progress(row: RunSummary) -> bool:
    """Return whether a run is running, queued, or will be requeued by Slurm after a preemption."""
    if row.status.is_open or (row.status == Status.PREEMPTED and row.queue and row.queue.again):
        return True
    return row.status.is_resumable and not lock.is_free(Run(row.dir))  # its worker still saves a checkpoint


def why_not_reusable(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """Yield why a finished run cannot be reused: files that are missing or changed, or a missing video.

    Args:
        folder: directory of the run.
        config: configuration of the step.
    """
    record = read_record(folder)
    artifacts = record.artifacts if record else []
    for artifact in artifacts:
        path = folder / artifact.path
        if not path.is_file():
            yield f"{artifact.path} is missing"
        elif path.stat().st_size != artifact.bytes or _hash(path) != artifact.sha256:
            yield f"{artifact.path} has changed since"
    needs_video = config["video"] and config["choices"]["stage"] in STAGES_WITH_VIDEO
    if needs_video and not any(artifact.kind == "video" for artifact in artifacts):
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
    """Return whether a stopped run has a checkpoint, or never started, and a resume of it is not refused."""
    run, record = Run(row.dir), read_record(row.dir) or RunRecord()
    started = record.supervisor is not None
    return ((run.checkpoints / "last.pt").exists() or not started) and not any(resume_check.refusals(run))
