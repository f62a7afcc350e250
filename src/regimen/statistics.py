"""Intervals for figures measured on a sample of episodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]
"""(…, n) samples -> (…) figures."""


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


def mean(samples: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis."""
    return samples.mean(axis=-1)


def bootstrap(values: np.ndarray, resamples: int, seed: int, statistic: Statistic = mean) -> Figure:
    """Return a statistic of `values` with its bootstrap 95 % interval (percentile method).

    Args:
        values: (n,) one value per episode.
        resamples: how many samples of size n to draw with replacement.
        seed: seed of the draw; the same seed gives the same interval.
        statistic: (…, n) -> (…).
    """
    values = np.asarray(values, dtype=np.float64)
    draw = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(statistic(values[draw]), [2.5, 97.5])
    return Figure(float(statistic(values)), float(low), float(high))


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
