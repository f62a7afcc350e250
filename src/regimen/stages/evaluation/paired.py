"""Comparison of policies on the same episodes: evaluations with the same seeds of the environment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regimen.display.intervals import PairedDifference, holm, paired_difference
from regimen.stages.evaluation.evaluated import Evaluated
from regimen.system.errors import RunReferenceError

MOST_NAMED = 4


@dataclass(frozen=True)
class PairedFigure:
    """One figure of two groups of evaluations.

    Attributes:
        group: label of the second group; the first is the baseline of all.
        figure: name.
        first: its mean in the first group.
        second: its mean in the second group.
        difference: second minus first, over the episodes of both.
        p_holm: its probability, corrected for all figures and groups that are compared.
    """

    group: str
    figure: str
    first: float
    second: float
    difference: PairedDifference
    p_holm: float


def compare(groups: Mapping[str, Sequence[Evaluated]]) -> list[PairedFigure]:
    """Compare the first group with each of the others, figure by figure.

    Of a group with several evaluations of one seed, such as those of several trainings, the mean of each episode is
    taken. The intervals are over episodes, not over trainings.

    Args:
        groups: label -> evaluations.

    Raises:
        RunReferenceError: they are not paired: other conditions, or other seeds.
    """
    require_paired([evaluated for group in groups.values() for evaluated in group])
    (_, first), *others = ((label, _by_seed(group)) for label, group in groups.items())
    found: list[tuple[str, str, np.ndarray, np.ndarray, PairedDifference]] = []
    for label, second in others:
        if set(second) != set(first):
            raise RunReferenceError(
                f"These evaluations are not paired: they have the seeds {_seeds(first)} and {_seeds(second)}. "
                "Evaluate both with the same: seed=0, or -m seed=0,1,2."
            )
        for name in _common([*first.values(), *second.values()]):
            a, b = (np.concatenate([by_seed[seed][name] for seed in sorted(first)]) for by_seed in (first, second))
            measured = ~(np.isnan(a) | np.isnan(b))
            a, b = a[measured], b[measured]
            if len(a):
                found.append((label, name, a, b, paired_difference(a, b)))
    corrected = holm([difference.p for *_, difference in found])
    return [
        PairedFigure(label, name, float(a.mean()), float(b.mean()), difference, p)
        for (label, name, a, b, difference), p in zip(found, corrected, strict=True)
    ]


def require_paired(evaluations: Sequence[Evaluated]) -> None:
    """Raise unless all evaluations have the same conditions: task, simulator, commands, length and number of episodes.

    Raises:
        RunReferenceError: naming what differs, and the runs.
    """
    first, known = evaluations[0], evaluations[0].conditions()
    for other in evaluations[1:]:
        conditions = other.conditions()
        names = [name for name in {**known, **conditions} if known.get(name) != conditions.get(name)]
        if names:
            shown = [f"{name} is {known.get(name)} and {conditions.get(name)}" for name in names[:MOST_NAMED]]
            more = f"; and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            raise RunReferenceError(
                f"{first.run.id} and {other.run.id} are not paired: {'; '.join(shown)}{more}. Evaluate both policies "
                "with the same task, stage settings and seed."
            )


def _by_seed(group: Sequence[Evaluated]) -> dict[int, dict[str, np.ndarray]]:
    """Return seed -> figure -> (N,) mean of each episode over the evaluations of this seed."""
    by_seed: dict[int, list[Evaluated]] = defaultdict(list)
    for evaluated in group:
        by_seed[evaluated.run.record.seed or 0].append(evaluated)
    return {
        seed: {
            name: np.mean([one.columns[name] for one in same], axis=0) for name in _common([s.columns for s in same])
        }
        for seed, same in by_seed.items()
    }


def _common(tables: Sequence[Mapping[str, np.ndarray]]) -> list[str]:
    """Return the figures that all have, those of the task first."""
    names = [name for name in tables[0] if all(name in table for table in tables)]
    last = [name for name in ("episode_length_s", "survival", "return") if name in names]
    return [name for name in names if name not in last] + last


def _seeds(by_seed: Mapping[int, object]) -> str:
    return ", ".join(map(str, sorted(by_seed)))
