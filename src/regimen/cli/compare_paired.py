"""`regimen compare --paired`: policies evaluated on the same episodes, with tests and effect sizes."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence

from regimen.display.formatting import figure, table
from regimen.runs.history import filters as query
from regimen.runs.history.run_view import RunView, open_view, open_view_dir
from regimen.runs.index.index import Index
from regimen.runs.status import Status
from regimen.stages.evaluation.evaluated import Evaluated
from regimen.stages.evaluation.paired import PairedFigure, compare
from regimen.system.errors import ConfigError, RunReferenceError


def report(words: Sequence[str]) -> Iterator[str]:
    """Yield the comparison of the first group of evaluations with each of the others.

    Args:
        words: groups; each is a run reference, or filters in one argument, such as `name=a seed=0,1`.

    Raises:
        ConfigError: there are not two groups.
        RunReferenceError: a group has no finished evaluation, or the evaluations are not paired.
    """
    if len(words) < 2:
        raise ConfigError(
            "--paired compares two groups or more. Name them: regimen compare --paired <baseline> <evaluation>, where "
            "a group of several runs is written as filters in quotes: 'name=walker stage=evaluate'."
        )
    if len(set(words)) < len(words):
        raise ConfigError("--paired: a group is named twice. Name different ones.")
    groups = {word: [Evaluated.open(run) for run in _runs(word)] for word in words}
    found = compare(groups)
    letters = dict(zip(words, string.ascii_uppercase, strict=False))
    most = max((row.difference.pairs for row in found), default=0)
    yield f"paired: {most} episodes of the same seeds"
    yield from (f"{letter} = {word}" for word, letter in letters.items())
    yield ""
    rows: list[Sequence[str]] = [
        ("figure", "A", "other", "", "other − A", "95 % interval", "p", "p (Holm)", "effect"),
        *((_named(row, most), figure(row.first), letters.get(row.group, row.group), *_cells(row)) for row in found),
    ]
    yield from table(rows)
    yield ""
    yield "interval: bootstrap over episodes, not over trainings; p: sign permutation, of shares McNemar's exact test"
    yield "effect: d_z, mean over standard deviation of the differences; of shares g, Cohen's g"


def _named(row: PairedFigure, most: int) -> str:
    """Return the name of a figure, with its number of pairs where some episodes have no value."""
    return row.figure if row.difference.pairs == most else f"{row.figure} ({row.difference.pairs})"


def _cells(row: PairedFigure) -> tuple[str, ...]:
    found = row.difference
    interval = f"{figure(found.mean.low)} … {figure(found.mean.high)}"
    effect = f"{found.effect_name} {found.effect:+.2f}"
    return (figure(row.second), figure(found.mean.value), interval, _p(found.p), _p(row.p_holm), effect)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _runs(word: str) -> list[RunView]:
    if "=" not in word:
        return [open_view(word)]
    rows = query.select(query.parse(word.split()), Index().rows())
    finished = [open_view_dir(row.dir) for row in rows if row.unreadable is None and row.status == Status.FINISHED]
    if not finished:
        raise RunReferenceError(f"`{word}`: no finished run matches.")
    return finished
