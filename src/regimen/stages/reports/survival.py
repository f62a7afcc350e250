"""How often each kind of policy survives a fault: by joint and severity, over seeds, and compared with each other.

Of one seed a share of episodes carries its Wilson interval. Of several seeds it is the interquartile mean over the
seeds with its bootstrap interval, see `regimen.display.interquartile`; episodes of one policy are no seeds. Differences
and ratios are drawn: of one seed from the Jeffreys posterior of its share, Beta(k + 1/2, n - k + 1/2), of several from
the bootstrap of their interquartile mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regimen.display.interquartile import interval, iqm
from regimen.display.intervals import Figure, share
from regimen.stages.reports.sources import Source
from regimen.stages.reports.variants import VARIANTS, Variant, variant_of

DRAWS = 5000


@dataclass(frozen=True)
class FaultCaseResult:
    """Episodes of one policy with one joint broken in one way.

    Attributes:
        joint: the joint; empty where none was broken.
        level: number of the severity among those of the joint, the mildest first.
        severity: what is left of the joint, in the unit of the fault's mode.
        episodes: how many.
        survived: how many lasted to the end.
        figures: name -> mean over the episodes with its interval, such as `lin_vel_error` in m/s.
        fall_s: median time from the onset to the fall; None if none fell.
    """

    joint: str
    level: int
    severity: float
    episodes: int
    survived: int
    figures: dict[str, Figure] = field(default_factory=dict)
    fall_s: float | None = None


@dataclass
class Arm:
    """One kind of policy with all its runs.

    Attributes:
        variant: the kind.
        sources: one run for each seed.
        cells: of each run.
    """

    variant: Variant
    sources: list[Source]
    cells: list[list[FaultCaseResult]]

    def survival(self, joint: str | None = None, level: int | None = None) -> Figure | None:
        """Return the share of episodes that lasted to the end; None where there were none.

        Args:
            joint: of this joint; None for all that broke together, empty for the episodes in which none did.
            level: of this severity; None for all together.
        """
        counts = self._counts(joint, level)
        if not counts:
            return None
        if len(counts) == 1:
            survived, episodes = counts[0]
            return share(np.arange(episodes) < survived)
        return over_seeds([survived / episodes for survived, episodes in counts])

    def mean(self, name: str, joint: str | None = None, level: int | None = None) -> Figure | None:
        """Return the mean of a figure over the joints and severities chosen; None where it was not measured."""
        chosen = [[c.figures[name] for c in self._of(run, joint, level) if name in c.figures] for run in self.cells]
        found = [figure for figures in chosen if (figure := _mean(figures)) is not None]
        return found[0] if len(found) == 1 else over_seeds([f.value for f in found]) if found else None

    def fall_s(self, joint: str | None = None, level: int | None = None) -> float | None:
        """Return the median, over seeds and severities, of the time from the onset to the fall; None without falls."""
        found = [c.fall_s for run in self.cells for c in self._of(run, joint, level) if c.fall_s is not None]
        return float(np.median(found)) if found else None

    def draws(self, level: int | None = None, seed: int = 0) -> np.ndarray:
        """Return `DRAWS` draws of the share of all joints that may as well be the true one."""
        counts, rng = self._counts(None, level), np.random.default_rng(seed)
        if len(counts) == 1:
            survived, episodes = counts[0]
            return rng.beta(survived + 0.5, episodes - survived + 0.5, DRAWS)
        shares = np.array([survived / episodes for survived, episodes in counts])
        return iqm(shares[rng.integers(len(shares), size=(DRAWS, len(shares)))], axis=1)

    def _counts(self, joint: str | None, level: int | None) -> list[tuple[int, int]]:
        """Return (survived, episodes) of each run that has such episodes."""
        chosen = [self._of(run, joint, level) for run in self.cells]
        return [(sum(c.survived for c in run), sum(c.episodes for c in run)) for run in chosen if run]

    def _of(self, run: list[FaultCaseResult], joint: str | None, level: int | None) -> list[FaultCaseResult]:
        """Return the cells chosen; a joint of None is any that broke."""
        known = [c for c in run if (c.joint == joint if joint is not None else c.joint)]
        return [c for c in known if level is None or c.level == level]


def over_seeds(values: Sequence[float]) -> Figure:
    """Return the interquartile mean of one value for each of several seeds, with its bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    ends = interval(array)
    middle = float(iqm(array))
    return Figure(middle, *(float(end) for end in ends)) if ends else Figure(middle, middle, middle)


def _mean(figures: list[Figure]) -> Figure | None:
    """Return the mean of independent figures, the widths of their intervals added as errors are."""
    if not figures:
        return None
    value = float(np.mean([f.value for f in figures]))
    low = float(np.sqrt(np.sum([(f.value - f.low) ** 2 for f in figures]))) / len(figures)
    high = float(np.sqrt(np.sum([(f.high - f.value) ** 2 for f in figures]))) / len(figures)
    return Figure(value, value - low, value + high)


@dataclass
class Study:
    """All kinds of policies that were evaluated.

    Attributes:
        arms: in the order of `VARIANTS`.
        severities: joint -> what is left of it at each level, the mildest first; joints in the robot's order.
    """

    arms: list[Arm]
    severities: dict[str, list[float]]

    @classmethod
    def of(cls, sources: Sequence[Source]) -> Study:
        """Read the evaluations."""
        groups: dict[str, list[Source]] = {}
        for source in sources:
            groups.setdefault(variant_of(source).key, []).append(source)
        arms = [
            Arm(v, groups[v.key], [list(fault_case_results(s.result)) for s in groups[v.key]])
            for v in VARIANTS
            if v.key in groups
        ]
        severities: dict[str, dict[int, float]] = {}
        for cell in (c for arm in arms for run in arm.cells for c in run if c.joint):
            severities.setdefault(cell.joint, {})[cell.level] = cell.severity
        return cls(arms, {joint: [known[i] for i in sorted(known)] for joint, known in severities.items()})

    @property
    def joints(self) -> list[str]:
        """Those that were broken."""
        return list(self.severities)

    @property
    def levels(self) -> range:
        """Numbers of the severities."""
        return range(max((len(known) for known in self.severities.values()), default=0))

    def label(self, level: int) -> str:
        """Return what a level is called: its severity if that is the same for all joints, else its number."""
        values = {known[level] for known in self.severities.values() if level < len(known)}
        return f"severity {values.pop():g}" if len(values) == 1 else f"level {level + 1}"

    def arm(self, variant: Variant) -> Arm | None:
        """Return the arm of a kind of policy, None where it was not evaluated."""
        return next((arm for arm in self.arms if arm.variant is variant), None)

    @property
    def missing(self) -> list[Variant]:
        """The kinds that were not evaluated."""
        return [v for v in VARIANTS if self.arm(v) is None]


def fault_case_results(result: dict[str, Any]) -> Iterator[FaultCaseResult]:
    """Yield the cells of the result of an evaluation over faults, the one without a fault first."""
    levels: dict[str, int] = {}
    for row in (result["healthy"], *result["cells"]):
        joint = row.get("joint") or ""
        level = levels[joint] = levels.get(joint, -1) + 1
        figures = {name: Figure(**value) for name, value in row.items() if _is_figure(value)}
        survived = row["episodes"] - row["falls"]
        severity = float(row.get("severity") or 0.0)
        yield FaultCaseResult(joint, level, severity, row["episodes"], survived, figures, row.get("time_to_fall_s"))


def _is_figure(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"value", "low", "high"} and value["value"] is not None


@dataclass
class Comparison:
    """One kind of policy against the healthy one and the oracle.

    Attributes:
        variant: the kind.
        gain: survival minus the healthy policy's, in points.
        share: of the oracle's gain; None where there is no oracle, or where its gain may as well be none.
    """

    variant: Variant
    gain: Figure
    share: Figure | None


def compare(study: Study, healthy: Variant, oracle: Variant, level: int | None = None) -> list[Comparison]:
    """Return every kind of policy compared with `healthy`, and its share of what `oracle` gains.

    Args:
        study: all evaluations.
        healthy: what is compared with.
        oracle: what could be gained.
        level: of this severity; None for all together.
    """
    base, best = study.arm(healthy), study.arm(oracle)
    if base is None:
        return []
    ground = base.draws(level, seed=1)
    most = best.draws(level, seed=2) - ground if best else None
    found = []
    for number, arm in enumerate(a for a in study.arms if a is not base):
        gained = (best.draws(level, seed=2) if arm is best else arm.draws(level, seed=3 + number)) - ground
        value = _value(arm, level) - _value(base, level)
        part = None
        if best is not None and most is not None and np.percentile(most, 2.5) > 0:
            part = _drawn(value / (_value(best, level) - _value(base, level)), gained / most)
        found.append(Comparison(arm.variant, _drawn(100 * value, 100 * gained), part))
    return found


def _value(arm: Arm, level: int | None) -> float:
    figure = arm.survival(level=level)
    return figure.value if figure else float("nan")


def _drawn(value: float, draws: np.ndarray) -> Figure:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Figure(float(value), float(low), float(high))
