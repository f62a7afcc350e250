"""95 % intervals of figures, by SciPy: over the episodes of one policy, and over several trainings.

Over episodes: `bootstrap` of a mean, Wilson's interval of a share. Over trainings: the interquartile mean (IQM) and its
bootstrap, as Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021) recommend;
the IQM is `scipy.stats.trim_mean` with a quarter cut off at either end, as in the authors' `rliable`. Runs are drawn
within their group, the only stratum, as all runs compared here are of one task. `rliable` 1.2.0 is not used: it depends
on statsmodels, pandas, seaborn and `arch`, which fail to import together at their newest versions (`arch` 7.2, the
newest allowed, with pandas 3).

SciPy is imported where it is used: `Figure` is a type that the launcher reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

RESAMPLES = 5000
"""Samples that `iqm_interval` draws."""

FEW_RUNS = 3
"""An interval over fewer runs means little."""


@dataclass
class Figure:
    """One measured figure with its 95 % interval.

    Attributes:
        value: the figure itself.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return plain data for result.json."""
        return asdict(self)

    def two_lines(self) -> str:
        """Return the figure, and its interval below, for a narrow column."""
        return f"{self.value:.2f}\n{self.low:.2f}…{self.high:.2f}"


def bootstrap(values: np.ndarray, resamples: int, seed: int) -> Figure:
    """Return the mean of `values` with its bootstrap 95 % interval (percentile method).

    Args:
        values: (n,) one value per episode.
        resamples: how many samples of size n to draw with replacement.
        seed: seed of the draw; the same seed gives the same interval.
    """
    from scipy import stats  # type: ignore[import-untyped]

    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2 or np.isnan(mean):  # refused by SciPy
        return Figure(mean, mean, mean)
    rng = np.random.default_rng(seed)
    result = stats.bootstrap((values,), np.mean, n_resamples=resamples, method="percentile", rng=rng, vectorized=True)
    return Figure(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def magnitude(signed: Figure) -> Figure:
    """Return the absolute value of a figure, its interval folded at zero.

    A bootstrap of |mean| itself is biased away from zero: it would leave out its own value near there.
    """
    ends = sorted((abs(signed.low), abs(signed.high)))
    straddles = signed.low <= 0.0 <= signed.high
    return Figure(abs(signed.value), 0.0 if straddles else ends[0], ends[1])


def share(hits: np.ndarray) -> Figure:
    """Return the share of true values with its Wilson 95 % interval.

    A bootstrap of 64 successes out of 64 would claim certainty; this interval does not.

    Args:
        hits: (n,) bool, one per episode.
    """
    from scipy import stats

    interval = stats.binomtest(int(np.sum(hits)), len(hits)).proportion_ci(method="wilson")
    return Figure(float(np.mean(hits)), float(interval.low), float(interval.high))


PERMUTATIONS = 9999
"""Sign changes that the test of a paired difference draws, where there are more."""


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two samples whose values belong together by pairs.

    Attributes:
        pairs: number of pairs.
        mean: of the second minus the first, with its bootstrap 95 % interval.
        p: two-sided probability of a difference as large without an effect: of two shares by McNemar's exact test, else
            by a permutation test that changes the signs of the differences.
        effect: size of the effect, with the sign of the difference: of two shares Cohen's g, the share of the second
            among the pairs that differ minus a half; else d_z, the mean over the standard deviation of the differences.
        effect_name: `g` or `d_z`.
    """

    pairs: int
    mean: Figure
    p: float
    effect: float
    effect_name: str


def paired_difference(first: np.ndarray, second: np.ndarray, resamples: int = RESAMPLES) -> PairedDifference:
    """Return the difference of two samples, the second minus the first.

    Args:
        first: (n,) one value per episode, NaN where nothing is measured; values of 0 and 1 alone are a share.
        second: (n,) of the same episodes; the difference is over those with both values.
        resamples: of the bootstrap; the draws are the same at each call.
    """
    from scipy import stats

    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    measured = ~(np.isnan(first) | np.isnan(second))
    first, second = first[measured], second[measured]
    if not len(first):
        return PairedDifference(0, Figure(math.nan, math.nan, math.nan), 1.0, 0.0, "d_z")
    differences = second - first
    mean = bootstrap(differences, resamples, seed=0)
    if np.isin(np.concatenate([first, second]), (0.0, 1.0)).all():
        gained, changed = int((differences > 0).sum()), int((differences != 0).sum())
        p = float(stats.binomtest(gained, changed, 0.5).pvalue) if changed else 1.0
        return PairedDifference(len(differences), mean, p, gained / changed - 0.5 if changed else 0.0, "g")
    p, spread = 1.0, float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if differences.any() and len(differences) > 1:
        test = stats.permutation_test(
            (differences,), _mean, permutation_type="samples", n_resamples=PERMUTATIONS, vectorized=True, batch=500,
            rng=0,
        )  # fmt: skip
        p = float(test.pvalue)
    effect = mean.value / spread if spread > 0 else float(np.sign(mean.value)) * float("inf") if mean.value else 0.0
    return PairedDifference(len(differences), mean, p, effect, "d_z")


def _mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    return np.asarray(np.mean(values, axis=axis))


def holm(p: Sequence[float]) -> list[float]:
    """Return probabilities of several tests corrected by Holm's method, in the same order."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def iqm(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of the middle half of `values` along `axis`; of fewer than four values their mean."""
    from scipy import stats

    return np.asarray(stats.trim_mean(values, 0.25, axis=axis))


def iqm_interval(values: np.ndarray, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lower and upper ends of the bootstrap 95 % interval of the IQM, (…) each; None with fewer than two runs.

    Args:
        values: (n, …) one row per run.
        resamples: how many samples of n runs to draw; the draws are the same at each call.
    """
    from scipy import stats

    if len(values) < 2:
        return None
    result = stats.bootstrap(
        (values,), iqm, n_resamples=resamples, axis=0, method="percentile", rng=0, vectorized=True, batch=500
    )
    return result.confidence_interval.low, result.confidence_interval.high


def common_curve(curves: Sequence[np.ndarray], points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (T,) that all curves cover, and the values of each there, (n, T).

    Curves with the same steps are taken as they are; others are interpolated linearly.

    Args:
        curves: (k, 2) each, step and value, steps ascending.
        points: number of steps, where the curves have different ones.
    """
    first = curves[0][:, 0]
    if all(np.array_equal(curve[:, 0], first) for curve in curves):
        return first, np.stack([curve[:, 1] for curve in curves])
    start, end = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    grid = np.linspace(start, end, points)
    return grid, np.stack([np.interp(grid, *curve.T) for curve in curves])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return the rank correlation of two samples (n,), equal values sharing their mean rank; 0 if one never changes."""
    from scipy import stats

    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(stats.spearmanr(x, y).statistic)
