"""Interquartile means and their intervals, against what can be calculated by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from regimen.display.interquartile import common_curve, interval, iqm


def test_the_middle_half_is_averaged() -> None:
    assert iqm(np.array([100.0, 1, 2, 3, 4, -50, 5, 6])) == pytest.approx(3.5)
    assert iqm(np.array([1.0, 2, 6])) == pytest.approx(3.0), "of three values nothing is cut off"
    np.testing.assert_allclose(iqm(np.array([[0.0, 10], [1, 20], [2, 30], [9, 0]])), [1.5, 15])


def test_the_interval_is_that_of_all_resamples() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    every = [iqm(np.array(sample)) for sample in product(values, repeat=4)]
    ends = interval(values, 20_000)
    assert ends is not None
    np.testing.assert_allclose(ends, np.percentile(every, [2.5, 97.5]), atol=0.26)
    assert interval(values) == interval(values), "the draws are the same at each call"


def test_one_run_has_no_interval_and_equal_runs_an_empty_one() -> None:
    assert interval(np.array([1.0])) is None
    assert interval(np.array([2.0, 2.0, 2.0])) == (2.0, 2.0)


def test_a_curve_has_an_interval_at_each_step() -> None:
    low, high = interval(np.random.default_rng(0).normal(size=(5, 30)), 500)  # type: ignore[misc]
    assert low.shape == high.shape == (30,) and (low < high).all()


def test_curves_meet_on_common_steps() -> None:
    one, other = np.array([[0.0, 0], [10, 10], [20, 20]]), np.array([[5.0, 50], [25, 250]])
    steps, values = common_curve([one, one])
    assert steps.tolist() == [0, 10, 20] and values.shape == (2, 3)
    steps, values = common_curve([one, other], points=4)
    assert steps.tolist() == [5, 10, 15, 20]
    np.testing.assert_allclose(values, [steps, 10 * steps])
