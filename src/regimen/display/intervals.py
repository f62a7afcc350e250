"""Intervals for figures measured on a sample of episodes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np


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
    values = np.asarray(values, dtype=np.float64)
    draw = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[draw].mean(axis=-1), [2.5, 97.5])
    return Figure(float(values.mean()), float(low), float(high))


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
    n, p, z = len(hits), float(np.mean(hits)), 1.959964
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Figure(p, max(0.0, centre - half), min(1.0, centre + half))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return the rank correlation of two samples (n,), equal values sharing their mean rank; 0 if one never changes."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
