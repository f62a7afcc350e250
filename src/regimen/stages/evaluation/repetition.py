"""Agreement of an evaluation with its repetition: equal, equal within intervals, or different."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from regimen.display.formatting import figure
from regimen.display.intervals import Figure
from regimen.stages.evaluation.evaluated import Evaluated
from regimen.stages.evaluation.metrics import EpisodeResults


class Agreement(StrEnum):
    """How two evaluations agree."""

    EQUAL = "equal"
    WITHIN_INTERVALS = "equal within intervals"
    DIFFERENT = "different"


@dataclass
class Repetition:
    """The result of a comparison.

    Attributes:
        agreement: of both.
        summary: rest of a sentence: how many episodes differ, and in which columns.
        lines: the figures that differ beyond their intervals.
    """

    agreement: Agreement
    summary: str = ""
    lines: list[str] = field(default_factory=list)


def compare_repetition(first: Evaluated, second: Evaluated) -> Repetition:
    """Return how an evaluation and its repetition agree.

    They are equal if all episodes are, bit for bit; within intervals if each figure of one lies in the interval of the
    other.

    Args:
        first: the evaluation.
        second: its repetition, of the same configuration.
    """
    columns, rows = _unequal(first.episodes, second.episodes)
    if not columns:
        return Repetition(Agreement.EQUAL, f", {len(first.episodes.fell)} episodes bit for bit")
    old, new = first.all_figures(), second.all_figures()
    lines = [f"{name}: only one of both has it" for name in old.keys() ^ new.keys()]
    both = {name: (old[name], new[name]) for name in old if name in new}
    outside = {name: pair for name, pair in both.items() if not _within(*pair)}
    lines += [f"{name}: {_shown(a)} and {_shown(b)}" for name, (a, b) in outside.items()]
    summary = f", {rows} of {len(first.episodes.fell)} episodes differ in {', '.join(columns)}"
    return Repetition(Agreement.DIFFERENT if lines else Agreement.WITHIN_INTERVALS, summary, sorted(lines))


def _unequal(a: EpisodeResults, b: EpisodeResults) -> tuple[list[str], int]:
    """Return the columns that differ, and in how many episodes."""
    if len(a.fell) != len(b.fell):
        return ["their number"], abs(len(a.fell) - len(b.fell))
    old, new = (_columns(episodes) for episodes in (a, b))
    different = {name: _differ(old.get(name), new.get(name), len(a.fell)) for name in {**old, **new}}
    names = [name for name, rows in different.items() if rows.any()]
    return names, int(np.any(list(different.values()), axis=0).sum())


def _columns(episodes: EpisodeResults) -> dict[str, np.ndarray]:
    ends = {**episodes.ends, "fell": episodes.fell}
    ends |= {} if episodes.succeeded is None else {"succeeded": episodes.succeeded}
    return {"command": episodes.command_of_env, **episodes.columns, **ends}


def _differ(a: np.ndarray | None, b: np.ndarray | None, rows: int) -> np.ndarray:
    if a is None or b is None:
        return np.ones(rows, dtype=bool)
    return ~np.asarray((a == b) | ((a != a) & (b != b)))


def _within(a: Figure, b: Figure) -> bool:
    """Whether each of two figures lies in the interval of the other."""
    return a.low <= b.value <= a.high and b.low <= a.value <= b.high


def _shown(value: Figure) -> str:
    return f"{figure(value.value)} ({figure(value.low)} … {figure(value.high)})"
