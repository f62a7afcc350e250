"""The unfinished runs that a scheduler has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regimen.runs.index.index import ROOTS, Index
from regimen.runs.index.summary import RunSummary
from regimen.system.errors import RunReferenceError, did_you_mean


def runs_with_jobs(words: Sequence[str], roots: Sequence[Path] = ROOTS) -> list[RunSummary]:
    """Return the unfinished runs that have a job, ordered by job.

    Args:
        words: ids, beginnings of ids or names of runs; ids of sweeps and pipelines; or `all`.
        roots: folders of runs and of sweeps.

    Raises:
        RunReferenceError: a word matches no such run, or several.
    """
    everything = [row for row in Index(roots).rows() if row.queue and row.queue.is_scheduled]
    rows = [row for row in everything if row.status.may_have_job and row.queue and row.queue.has_job]
    chosen = {row.id for word in words for row in (rows if word == "all" else _named(word, rows, everything))}
    return sorted((row for row in rows if row.id in chosen), key=_by_job)


def _named(word: str, rows: Sequence[RunSummary], everything: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the run that a word matches, or all runs of a sweep or pipeline."""
    name = Path(word).name
    of_many = [row for row in rows if name in (row.sweep, row.pipeline.id if row.pipeline else None)]
    found = of_many or [row for row in rows if name in (row.id, row.name)] or [r for r in rows if r.id.startswith(name)]
    if len({row.id for row in found}) > 1 and not of_many:
        raise RunReferenceError(
            f"`{word}` matches {len(found)} runs: {', '.join(row.id for row in found)}. Give an id."
        )
    if found:
        return found
    ended = [row for row in everything if name in (row.id, row.name, row.sweep)]
    if ended:
        raise RunReferenceError(f"`{word}` has no job any more: {ended[0].id} is {ended[0].status}.")
    names = [n for row in rows for n in (row.id, row.name, row.sweep) if n]
    raise RunReferenceError(f"`{word}` matches no queued or running job. {did_you_mean(word, names)}")


def _by_job(row: RunSummary) -> tuple[int, ...]:
    return tuple(int(part) for part in str(row.queue and row.queue.job).split("_") if part.isdecimal())
