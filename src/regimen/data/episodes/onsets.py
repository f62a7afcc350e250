"""Test whether fault onsets are uniform over their range, corrected for episodes that ended before their fault."""

from __future__ import annotations

import numpy as np


def deviation(onset: np.ndarray, length: np.ndarray, first: int, last: int) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance of the onsets from uniform over first … last, and their effective number.

    Episodes that fell, or were cut, before their fault hide late onsets more than early ones. Each onset is weighed by
    the inverse of the share of episodes that lasted until then (inverse probability of censoring weighting, Robins and
    Finkelstein 2000; the share is that of Kaplan and Meier 1958).

    Args:
        onset: (E,) steps after the episode's begin, -1 where no fault began.
        length: (E,) steps of the episode.
        first: earliest step of the range.
        last: latest step.
    """
    seen = np.sort(onset[onset >= 0])
    if not len(seen):
        return 0.0, 0.0
    weights = 1.0 / _lasting(onset, length)[np.clip(seen, 0, None)]
    steps = np.arange(min(first, int(seen[0])), max(last, int(seen[-1])) + 1)
    below = np.cumsum(np.bincount(seen - steps[0], weights, len(steps))) / weights.sum()
    uniform = np.clip((steps - first + 1) / (last - first + 1), 0.0, 1.0)
    return float(np.abs(below - uniform).max()), float(weights.sum() ** 2 / (weights**2).sum())


def _lasting(onset: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return, for each step, the share of episodes that would have lasted until then without a fault."""
    end = np.where(onset >= 0, onset, length)  # an onset removes an episode from the risk set, but does not end it
    size = int(end.max()) + 2
    leaving = np.bincount(end, minlength=size)
    at_risk = leaving[::-1].cumsum()[::-1]
    ended = np.bincount(end[onset < 0], minlength=size)
    kept = np.cumprod(1.0 - ended / np.maximum(at_risk, 1))
    return np.asarray(np.append(1.0, kept[:-1]).clip(1e-3))
