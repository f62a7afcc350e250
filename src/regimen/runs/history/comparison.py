"""Comparison of groups of runs: which runs, their headline metrics with intervals, and what limits the comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.runs.history import filters as query
from regimen.runs.history.groups import same_seeds
from regimen.runs.history.run_view import RunView, open_view, open_view_dir
from regimen.runs.index.index import Index
from regimen.runs.status import Status
from regimen.system.errors import RunReferenceError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class GroupFigure:
    """One headline metric of one group.

    Attributes:
        metric: its name.
        group: label of the group.
        values: (n,) of its runs.
        middle: interquartile mean.
        interval: bootstrap 95 % interval of the mean; None for too few runs.
    """

    metric: str
    group: str
    values: np.ndarray
    middle: float
    interval: tuple[float, float] | None


def select(words: Sequence[str]) -> tuple[list[RunView], list[RunView]]:
    """Return the finished runs that match references and filters, and the matching runs that did not finish.

    Args:
        words: run references, and filters `key=value` that must all match.

    Raises:
        RunReferenceError: no finished run matches, or the runs have several tasks or stages.
    """
    filters = [word for word in words if "=" in word and not Path(word).exists()]
    found = [open_view(word) for word in words if word not in filters]
    if filters:
        rows = query.select(query.parse(filters), Index().rows())
        found += [open_view_dir(row.dir) for row in rows if row.unreadable is None]
    return comparable(found)


def comparable(found: Sequence[RunView]) -> tuple[list[RunView], list[RunView]]:
    """Return the finished runs, ordered by id, and those that did not finish.

    Args:
        found: runs; one that occurs twice counts once.

    Raises:
        RunReferenceError: none has finished, or they have several tasks or stages.
    """
    runs = list({run.dir: run for run in found}.values())
    finished = sorted((run for run in runs if run.status == Status.FINISHED), key=lambda run: run.id)
    if not finished:
        states = ", ".join(f"{run.id} {run.status}" for run in runs[:5]) or "no run matches"
        raise RunReferenceError(f"no finished run to compare: {states}.")
    for group in ("task", "stage"):
        options = {str(run.choices.get(group)): run.id for run in finished}
        if len(options) > 1:
            named = ", ".join(f"{option} ({run_id})" for option, run_id in options.items())
            raise RunReferenceError(
                f"Metrics of different {group}s cannot be compared: {named}. Name runs of one {group}, for example "
                f"with {group}={next(iter(options))}."
            )
    return finished, [run for run in runs if run.status != Status.FINISHED]


def group_figures(groups: Mapping[str, Sequence[RunView]], metrics: Sequence[str]) -> Iterator[GroupFigure]:
    """Yield interquartile mean and interval of each metric and group, in the order of `metrics`.

    Args:
        groups: label -> runs.
        metrics: names of headline metrics.
    """
    from regimen.display.intervals import iqm, iqm_interval

    values = {label: headlines(members) for label, members in groups.items()}
    for name in metrics:
        for label in groups:
            numbers = values[label].get(name)
            if numbers is not None:
                ends = iqm_interval(numbers)
                interval = (float(ends[0]), float(ends[1])) if ends is not None else None
                yield GroupFigure(name, label, numbers, float(iqm(numbers)), interval)


def split(runs: Sequence[RunView]) -> tuple[list[str], dict[str, float]]:
    """Return the headline metrics that differ between runs, and the values of those that are equal."""
    values = headlines(runs)
    same = {name: float(v[0]) for name, v in values.items() if len(v) == len(runs) > 1 and (v == v[0]).all()}
    return [name for name in values if name not in same], same


def cautions(groups: Mapping[str, list[RunView]], left_out: Sequence[RunView], few: int) -> Iterator[str]:
    """Yield what limits a comparison: few seeds, equal seeds, runs that did not finish.

    Args:
        groups: label -> runs.
        left_out: matching runs that did not finish.
        few: number of seeds below which an interval means little.
    """
    small = [label for label, members in groups.items() if len(members) < few]
    if small:
        yield f"fewer than {few} seeds, so that an interval means little: {'; '.join(small)}"
    for label, members in groups.items():
        if seeds := same_seeds(members):
            yield f"the same seed more than once, counted as if independent: {label}: {', '.join(map(str, seeds))}"
    if left_out:
        yield f"left out, not finished: {', '.join(f'{run.id} ({run.status})' for run in left_out)}"


def headlines(runs: Sequence[RunView]) -> dict[str, np.ndarray]:
    """Return headline metric -> (n,) values of the runs that have it."""
    import numpy as np

    names = dict.fromkeys(name for run in runs for name in run.headline)
    values = {name: [run.headline[name] for run in runs if run.headline.get(name) is not None] for name in names}
    return {name: np.array(numbers, dtype=float) for name, numbers in values.items() if numbers}
