"""What a pipeline would do now: which steps are done, which can be continued, which are still to do."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from regimen.config.compose import refuse
from regimen.orchestration.pipeline.jobs import ROOT, Job, prepare
from regimen.orchestration.pipeline.reuse import DONE, RESUMABLE, RUNNING, TO_DO, Known, look_up
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.system.errors import RegimenError


def plan(jobs: list[Job], rows: Sequence[RunSummary] | None = None) -> dict[str, Known]:
    """Return what is known of each job, in the order of `jobs`, which is one in which they can be done.

    Args:
        jobs: all of a pipeline.
        rows: all runs, newest first; by default looked up.

    Raises:
        ConfigError: a run that is there already does not have what another step needs of it.
    """
    rows = Index().rows() if rows is None else rows
    known: dict[str, Known] = {}
    wrong = []
    for job in jobs:
        try:
            known[job.name] = _known(job, jobs, known, rows)
        except RegimenError as error:
            wrong.append(f"{job.at}: step `{job.node.step.name}`: {error}")
            known[job.name] = Known(TO_DO)
    refuse(wrong)
    return known


def references(job: Job, known: Mapping[str, Known]) -> dict[str, str] | None:
    """Return input name -> reference to a run; None while one of the runs is still to be made.

    Args:
        job: whose inputs are wanted.
        known: of the jobs before it.
    """
    found = {}
    for name, link in job.node.inputs.items():
        row = None if link.given else known[link.node].row
        if row is None and not link.given:
            return None
        found[name] = link.reference(row.dir.resolve() if row else "")
    return found


def find(job: Job, jobs: list[Job], inputs: dict[str, str], rows: Sequence[RunSummary]) -> Known:
    """Return what is there of a job whose parents have finished.

    A run that was given to a scheduler earlier may still wait for them, its inputs not looked up yet.

    Args:
        job: the job.
        jobs: all of the pipeline.
        inputs: input name -> reference to a finished run.
        rows: all runs, newest first.
    """
    known = look_up(prepare(job, jobs, inputs), rows)
    if inputs and known.state in (TO_DO, RESUMABLE):
        held = look_up(prepare(job, jobs, inputs, pending=True), rows)
        known = held if held.state == RUNNING or (held.state == RESUMABLE and known.state == TO_DO) else known
    return known


def _known(job: Job, jobs: list[Job], known: Mapping[str, Known], rows: Sequence[RunSummary]) -> Known:
    inputs = references(job, known)
    if job.asks("force") or inputs is None:
        return Known(TO_DO)
    if all(known[name].state == DONE for name in job.node.after):
        return find(job, jobs, inputs, rows)
    return look_up(prepare(job, jobs, inputs, pending=True), rows)


@contextmanager
def alone() -> Iterator[None]:
    """Let one pipeline at a time look for a run and make one, so that two do not start the same."""
    ROOT.mkdir(exist_ok=True)
    with (ROOT / ".pipelines").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
