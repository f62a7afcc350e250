"""Find a run with the same configuration, inputs and code as a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.config.yaml_io import flatten
from regimen.orchestration.pipeline.jobs import ROOT, Job, PreparedJob, prepare
from regimen.runs import files_read, lock, resume_check
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import RunRecord, read_record
from regimen.runs.run import Run
from regimen.runs.signature import relevant_config
from regimen.runs.status import Status
from regimen.system import files
from regimen.system.errors import RegimenError, raise_if_any
from regimen.system.files import locked

DONE, RUNNING, RESUMABLE, TO_DO = "done", "running", "resumable", "to do"

SHOWN = 3
"""Number of changed values in the note beside a step that is to be run again."""

OTHER_INPUTS = "its inputs had another content"


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
    for row in filter(in_progress, same):
        return ExistingRun(RUNNING, row)
    for row in [r for r in same if r.status.is_resumable]:
        if not _is_resumable(row):
            continue
        elsewhere = other_scheduler(row, prepared.composed.config.hardware.scheduler)
        if not elsewhere or _has_started(row):
            return ExistingRun(RESUMABLE, row)
        notes.append(f"{row.id} is not used: it never started, and has {elsewhere}")
    return ExistingRun(TO_DO, None, notes[0] if notes else _why_not_used(prepared, rows))


def _why_not_used(prepared: PreparedJob, rows: Sequence[RunSummary]) -> str:
    """Return why the latest similar run is not used: other code, or other values; empty if there is none.

    Args:
        prepared: job with resolved inputs, for which no run has the same signature.
        rows: all runs, newest first.
    """
    config, begun = prepared.composed.plain, [r for r in rows if r.status == Status.FINISHED or r.status.is_resumable]
    signed = [r for r in begun if r.signature_config == prepared.signature.config]
    for row in signed:
        if row.signature_code != prepared.signature.code:
            return f"{row.id} is not used: {next(files_read.changed(row.dir), 'the code has changed since')}"
    for row in [] if signed else begun:
        if row.name == config["name"]:
            lines = _differences(_frozen(row.dir), config)
            if not lines and prepared.report.pending:
                return ""  # its inputs are still to be made
            more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
            return f"{row.id} is not used: {', '.join(lines[:SHOWN]) or OTHER_INPUTS}{more}"
    return ""


def in_progress(row: RunSummary) -> bool:
    """Return whether a run is running, queued, or will be requeued by Slurm after a preemption."""
    if row.status.is_open or (row.status == Status.PREEMPTED and row.queue and row.queue.again):
        return True
    return row.status.is_resumable and not lock.is_free(Run(row.dir))  # its worker still saves a checkpoint


def other_scheduler(row: RunSummary, wanted: str | None) -> str:
    """Return `hardware.scheduler=…` of a run that was made for another scheduler, or none; empty for the same one.

    Args:
        row: the run.
        wanted: `hardware.scheduler` of the command.
    """
    frozen = (_frozen(row.dir).get("hardware") or {}).get("scheduler")
    return "" if frozen == wanted else f"hardware.scheduler={frozen or 'null'}"


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
        elif path.stat().st_size != artifact.bytes or files.remembered_sha256(path) != artifact.sha256:
            yield f"{artifact.path} has changed since"
    needs_video = config["video"] and config["choices"]["stage"] in STAGES_WITH_VIDEO
    if needs_video and not any(artifact.kind == "video" for artifact in artifacts):
        yield "it has no video"


def why_made_again(run: RunSummary, rows: Sequence[RunSummary], config: dict[str, Any]) -> list[str]:
    """Return why a step was run although runs of the same step existed; empty if there is no such run.

    Args:
        run: the run that was made.
        rows: all runs.
        config: frozen configuration of the run.
    """
    finished = [row for row in rows if row.status == Status.FINISHED and row.began < run.began and row.id != run.id]
    same = [row for row in finished if row.signature_config and row.signature_config == run.signature_config]
    lines = []
    for row in same:
        reasons = list(why_not_reusable(row.dir, config))
        if row.signature_code != run.signature_code:
            reasons += list(files_read.changed(row.dir)) or ["the code has changed since"]
        lines += [f"{row.id}: {reason}" for reason in reasons or ["it was asked for again (force)"]]
    if same or run.pipeline is None:
        return lines
    step = run.pipeline
    others = [r for r in finished if r.pipeline and (r.pipeline.name, r.pipeline.step) == (step.name, step.step)]
    if not others:
        return []
    latest = max(others, key=lambda row: row.began)
    return [f"{latest.id}: {line}" for line in _differences(_frozen(latest.dir), config) or [OTHER_INPUTS]]


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return `<key> was <value>, now <value>` for each difference that can change the result."""
    old, new = (dict(flatten(relevant_config(config))) if config else {} for config in (before, now))
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return [f"{key} was {old.get(key)}, now {new.get(key)}" for key in keys]


def _frozen(folder: Path) -> dict[str, Any]:
    try:
        return Run(folder).config
    except RegimenError:
        return {}


STAGES_WITH_VIDEO = ("evaluate", "report")
"""Stages that write a video with `video=true`."""


def _is_resumable(row: RunSummary) -> bool:
    """Return whether a stopped run has a checkpoint, or never started, and a resume of it is not refused."""
    run = Run(row.dir)
    has_state = (run.checkpoints / "last.pt").exists() or not _has_started(row)
    return has_state and not any(resume_check.refusals(run))


def _has_started(row: RunSummary) -> bool:
    return (read_record(row.dir) or RunRecord()).supervisor is not None


def plan(jobs: list[Job], rows: Sequence[RunSummary] | None = None) -> dict[str, ExistingRun]:
    """Return job name -> existing run, in the order of `jobs`.

    Args:
        jobs: all jobs of a pipeline, sorted topologically.
        rows: all runs, newest first; by default read from the index.

    Raises:
        ConfigError: an existing run lacks a result that another step needs.
    """
    rows = Index().rows() if rows is None else rows
    existing: dict[str, ExistingRun] = {}
    wrong = []
    for job in jobs:
        try:
            existing[job.name] = _existing_run(job, jobs, existing, rows)
        except RegimenError as error:
            wrong.append(f"{job.at}: step `{job.node.step.name}`: {error}")
            existing[job.name] = ExistingRun(TO_DO)
    raise_if_any(wrong)
    return existing


def references(job: Job, existing: Mapping[str, ExistingRun]) -> dict[str, str] | None:
    """Return input name -> reference to a run; None if one of the runs does not exist yet.

    Args:
        job: the job.
        existing: job name -> existing run, at least of the jobs it depends on.
    """
    inputs = {}
    for name, link in job.node.inputs.items():
        row = None if link.given else existing[link.node].row
        if row is None and not link.given:
            return None
        inputs[name] = link.reference(row.dir.resolve() if row else "")
    return inputs


def find(job: Job, jobs: list[Job], inputs: dict[str, str], rows: Sequence[RunSummary]) -> ExistingRun:
    """Return the existing run of a job whose parents have finished.

    A run that was submitted before its parents finished may be queued with pending inputs.

    Args:
        job: the job.
        jobs: all jobs of the pipeline.
        inputs: input name -> reference to a finished run.
        rows: all runs, newest first.
    """
    resolved = find_matching_run(prepare(job, jobs, inputs), rows)
    if not inputs or resolved.state in (DONE, RUNNING):
        return resolved
    pending = find_matching_run(prepare(job, jobs, inputs, pending=True), rows)
    prefer_pending = pending.state == RUNNING or (pending.state == RESUMABLE and resolved.state == TO_DO)
    return pending if prefer_pending else resolved


def _existing_run(
    job: Job, jobs: list[Job], existing: Mapping[str, ExistingRun], rows: Sequence[RunSummary]
) -> ExistingRun:
    inputs = references(job, existing)
    if job.asks("force") or inputs is None:
        return ExistingRun(TO_DO)
    if all(existing[name].state == DONE for name in job.node.after):
        return find(job, jobs, inputs, rows)
    return find_matching_run(prepare(job, jobs, inputs, pending=True), rows)


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold a lock, so that two pipelines do not look for a run and start the same one at once."""
    ROOT.mkdir(exist_ok=True)
    with locked(ROOT / ".pipelines"):
        yield
