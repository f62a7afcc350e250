"""Interquartile means of several seeds, with bootstrap intervals.

These are the figures that Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021)
recommend, computed by SciPy: the IQM is `scipy.stats.trim_mean` with a quarter cut off at either end, which is what the
authors' `rliable` calls, too, and the interval is `scipy.stats.bootstrap` with the percentile method. Runs are drawn
within their group, which is the one stratum, as all runs compared here are of one task. `rliable` 1.2.0 is not used: it
comes with statsmodels, pandas, seaborn and `arch`, and that chain does not import together at its newest versions
(`arch` 7.2, the newest it allows, fails at import with pandas 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

RESAMPLES = 5000
CUT = 0.25
FEW = 3
"""Below this many seeds an interval means little."""


def iqm(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the mean of the middle half of `values` along `axis`; of fewer than four values their mean."""
    return np.asarray(stats.trim_mean(values, CUT, axis=axis))


def interval(values: np.ndarray, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lower and upper ends of the bootstrap 95 % interval of the IQM, (…) each; None with fewer than two runs.

    Args:
        values: (n, …) one row per run.
        resamples: how many samples of n runs to draw; the draws are the same at each call.
    """
    if len(values) < 2:
        return None
    found = stats.bootstrap(
        (values,), iqm, n_resamples=resamples, axis=0, method="percentile", rng=0, vectorized=True, batch=500
    )
    return found.confidence_interval.low, found.confidence_interval.high


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
