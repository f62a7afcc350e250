"""Find the existing run of each step of a pipeline: done, running, resumable, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from regimen.orchestration.pipeline.jobs import ROOT, Job, prepare
from regimen.orchestration.pipeline.reuse import DONE, RESUMABLE, RUNNING, TO_DO, ExistingRun, find_matching_run
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.system.errors import RegimenError, raise_if_any
from regimen.system.files import locked


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
