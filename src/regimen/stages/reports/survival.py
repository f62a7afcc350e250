"""Survival of each kind of policy by joint and severity, over seeds, and comparison of the kinds.

For one seed, a share of episodes has a Wilson interval. For several seeds, it is the interquartile mean over seeds with
a bootstrap interval, see `regimen.display.intervals`. Intervals of
differences and ratios come from samples: for one seed, of the Jeffreys posterior of its share, Beta(k + 1/2,
n - k + 1/2); for several seeds, of the bootstrap of the interquartile mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.display.intervals import Figure, iqm, iqm_interval, share
from regimen.stages.evaluation.metrics import FaultEvaluationResult
from regimen.stages.reports.sources import HEALTHY, ORACLE, VARIANTS, Source, Sources, Variant, variant_of

if TYPE_CHECKING:
    from regimen.runs.run import Run

DRAWS = 5000


@dataclass(frozen=True)
class FaultCaseResult:
    """Episodes of one policy with one fault.

    Attributes:
        joint: faulty joint; empty without a fault.
        level: index of the severity among those of the joint, the mildest first.
        severity: severity in the unit of the fault's mode.
        episodes: number of episodes.
        survived: number of episodes without a fall.
        figures: name -> mean over the episodes with its interval, such as `lin_vel_error` in m/s.
        fall_s: median time in s from the onset to the fall; None without falls.
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
    """Evaluations of one kind of policy.

    Attributes:
        variant: kind of policy.
        sources: one run per seed.
        cases: results by fault, of each run.
    """

    variant: Variant
    sources: list[Source]
    cases: list[list[FaultCaseResult]]

    def survival(self, joint: str | None = None, level: int | None = None) -> Figure | None:
        """Return the share of episodes without a fall; None without episodes.

        Args:
            joint: faulty joint; None for all joints together, empty for the episodes without a fault.
            level: level of severity; None for all levels.
        """
        counts = self._counts(joint, level)
        if not counts:
            return None
        if len(counts) == 1:
            survived, episodes = counts[0]
            return share(np.arange(episodes) < survived)
        return over_seeds([survived / episodes for survived, episodes in counts])

    def mean(self, name: str, joint: str | None = None, level: int | None = None) -> Figure | None:
        """Return the mean of a metric over the selected joints and levels; None if it was not measured."""
        selected = [[c.figures[name] for c in self._of(run, joint, level) if name in c.figures] for run in self.cases]
        means = [figure for figures in selected if (figure := _mean(figures)) is not None]
        return means[0] if len(means) == 1 else over_seeds([f.value for f in means]) if means else None

    def fall_s(self, joint: str | None = None) -> float | None:
        """Return the median time in s from the onset to the fall, over the episodes that ended in a fall.

        Of several seeds it is the median of theirs; None without falls.

        Args:
            joint: faulty joint, at all levels of severity; None for all joints together, empty for no fault.
        """
        return _median(_fall_s(source.fault_evaluation, joint) for source in self.sources)

    def fall_s_at(self, joint: str, level: int) -> float | None:
        """Return the same for one level of severity of one joint."""
        return _median(c.fall_s for run in self.cases for c in self._of(run, joint, level))

    def draws(self, level: int | None = None, seed: int = 0) -> np.ndarray:
        """Return `DRAWS` samples of the distribution of the survival over all joints, (DRAWS,)."""
        counts, rng = self._counts(None, level), np.random.default_rng(seed)
        if len(counts) == 1:
            survived, episodes = counts[0]
            return rng.beta(survived + 0.5, episodes - survived + 0.5, DRAWS)
        shares = np.array([survived / episodes for survived, episodes in counts])
        return iqm(shares[rng.integers(len(shares), size=(DRAWS, len(shares)))], axis=1)

    def _counts(self, joint: str | None, level: int | None) -> list[tuple[int, int]]:
        """Return (survived, episodes) of each run with such episodes."""
        selected = [self._of(run, joint, level) for run in self.cases]
        return [(sum(c.survived for c in run), sum(c.episodes for c in run)) for run in selected if run]

    def _of(self, run: list[FaultCaseResult], joint: str | None, level: int | None) -> list[FaultCaseResult]:
        """Return the selected results; joint None selects all faulty joints."""
        selected = [c for c in run if (c.joint == joint if joint is not None else c.joint)]
        return [c for c in selected if level is None or c.level == level]


def _fall_s(result: FaultEvaluationResult, joint: str | None) -> float | None:
    """Return the median time to the fall that one evaluation measured, see `Arm.fall_s`."""
    part = result.overall if joint is None else result.joints.get(joint) if joint else result.healthy
    return None if part is None else part.time_to_fall_s


def _median(times: Iterable[float | None]) -> float | None:
    known = [seconds for seconds in times if seconds is not None]
    return float(np.median(known)) if known else None


def over_seeds(values: Sequence[float]) -> Figure:
    """Return the interquartile mean of `values`, one per seed, with its bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    ends = iqm_interval(array)
    middle = float(iqm(array))
    return Figure(middle, *(float(end) for end in ends)) if ends else Figure(middle, middle, middle)


def _mean(figures: list[Figure]) -> Figure | None:
    """Return the mean of independent figures; widths of intervals add in quadrature."""
    if not figures:
        return None
    value = float(np.mean([f.value for f in figures]))
    low = float(np.sqrt(np.sum([(f.value - f.low) ** 2 for f in figures]))) / len(figures)
    high = float(np.sqrt(np.sum([(f.high - f.value) ** 2 for f in figures]))) / len(figures)
    return Figure(value, value - low, value + high)


@dataclass
class Study:
    """All evaluated kinds of policies.

    Attributes:
        arms: in the order of `VARIANTS`.
        severities: joint -> severity of each level, the mildest first; joints in the robot's order.
    """

    arms: list[Arm]
    severities: dict[str, list[float]]

    @classmethod
    def of(cls, sources: Sequence[Source]) -> Study:
        """Group fault evaluations by kind of policy."""
        groups: dict[str, list[Source]] = {}
        for source in sources:
            groups.setdefault(variant_of(source).key, []).append(source)
        arms = [
            Arm(v, groups[v.key], [list(fault_case_results(s.fault_evaluation)) for s in groups[v.key]])
            for v in VARIANTS
            if v.key in groups
        ]
        severities: dict[str, dict[int, float]] = {}
        for case in (c for arm in arms for run in arm.cases for c in run if c.joint):
            severities.setdefault(case.joint, {})[case.level] = case.severity
        return cls(arms, {joint: [levels[i] for i in sorted(levels)] for joint, levels in severities.items()})

    @property
    def joints(self) -> list[str]:
        """Joints with faults."""
        return list(self.severities)

    @property
    def levels(self) -> range:
        """Levels of severity."""
        return range(max((len(values) for values in self.severities.values()), default=0))

    def label(self, level: int) -> str:
        """Return the label of a level: its severity if it is the same for all joints, else its number."""
        values = {row[level] for row in self.severities.values() if level < len(row)}
        return f"severity {values.pop():g}" if len(values) == 1 else f"level {level + 1}"

    def arm(self, variant: Variant) -> Arm | None:
        """Return the arm of a kind of policy; None if it was not evaluated."""
        return next((arm for arm in self.arms if arm.variant is variant), None)

    @property
    def missing(self) -> list[Variant]:
        """Kinds of policies without an evaluation."""
        return [v for v in VARIANTS if self.arm(v) is None]


def fault_case_results(result: FaultEvaluationResult) -> Iterator[FaultCaseResult]:
    """Yield the cases in the result of a fault evaluation, the one without a fault first."""
    levels: dict[str, int] = {}
    for cell in (result.healthy, *result.cells):
        joint, severity = (cell.case.joint or "", cell.case.severity) if cell.case else ("", 0.0)
        level = levels[joint] = levels.get(joint, -1) + 1
        metrics = cell.metrics
        survived = metrics.episodes - metrics.falls
        fall = cell.time_to_fall_s
        yield FaultCaseResult(joint, level, severity, metrics.episodes, survived, metrics.figures, fall)


@dataclass
class Comparison:
    """Comparison of one kind of policy with the healthy one and the oracle.

    Attributes:
        variant: kind of policy.
        gain: survival minus that of the healthy policy, in percentage points.
        share: share of the oracle's gain; None without an oracle, or if its gain is not significantly above 0.
    """

    variant: Variant
    gain: Figure
    share: Figure | None


def compare(study: Study, healthy: Variant, oracle: Variant, level: int | None = None) -> list[Comparison]:
    """Return the comparison of every kind of policy with `healthy` and `oracle`.

    Args:
        study: all evaluations.
        healthy: reference of the gain.
        oracle: reference of the share.
        level: level of severity; None for all levels.
    """
    base, best = study.arm(healthy), study.arm(oracle)
    if base is None:
        return []
    reference = base.draws(level, seed=1)
    oracle_gain = best.draws(level, seed=2) - reference if best else None
    comparisons = []
    for number, arm in enumerate(a for a in study.arms if a is not base):
        gained = (best.draws(level, seed=2) if arm is best else arm.draws(level, seed=3 + number)) - reference
        value = _value(arm, level) - _value(base, level)
        part = None
        if best is not None and oracle_gain is not None and np.percentile(oracle_gain, 2.5) > 0:
            part = _drawn(value / (_value(best, level) - _value(base, level)), gained / oracle_gain)
        comparisons.append(Comparison(arm.variant, _drawn(100 * value, 100 * gained), part))
    return comparisons


def _value(arm: Arm, level: int | None) -> float:
    figure = arm.survival(level=level)
    return figure.value if figure else float("nan")


def _drawn(value: float, draws: np.ndarray) -> Figure:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Figure(float(value), float(low), float(high))


@dataclass
class FaultStudy:
    """Runs of a fault study and their comparison.

    Attributes:
        run: the run of the report.
        sources: the runs that the report reads.
        study: the evaluated policies among them.
        comparisons: each kind of policy compared with the healthy one.
        videos: video files of two policies side by side; empty without `video=true`.
    """

    run: Run
    sources: Sources
    study: Study
    comparisons: list[Comparison]
    videos: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run, sources: Sources) -> FaultStudy:
        """Sort the policies of `sources` by kind and compare each kind with the healthy policy."""
        study = Study.of(sources.fault_evaluations)
        return cls(run, sources, study, compare(study, HEALTHY, ORACLE))
