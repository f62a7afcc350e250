"""Intervals cover what they should, are repeatable and are honest at zero failures; means against hand calculation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from regimen.display.intervals import Figure, bootstrap, common_curve, iqm, iqm_interval, magnitude, share


def test_bootstrap_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    got = bootstrap(values, 4000, seed=0)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert got.value == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - half, abs=0.02)
    assert got.high == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_covers_the_truth_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(2)
    intervals = [bootstrap(rng.exponential(1.0, 64), 500, seed=k) for k in range(200)]
    covered = np.mean([i.low <= 1.0 <= i.high for i in intervals])
    assert 0.88 <= covered <= 0.99


def test_bootstrap_repeats_with_its_seed() -> None:
    values = np.arange(20.0)
    assert bootstrap(values, 100, seed=3) == bootstrap(values, 100, seed=3)
    assert bootstrap(values, 100, seed=3) != bootstrap(values, 100, seed=4)


def test_one_value_has_an_interval_without_width_and_a_nan_stays_one() -> None:
    assert bootstrap(np.array([3.0]), 100, seed=0) == Figure(3.0, 3.0, 3.0)
    assert np.isnan(list(bootstrap(np.array([3.0, np.nan]), 100, seed=0).to_dict().values())).all()


@pytest.mark.parametrize(
    ("signed", "folded"),
    [
        (Figure(0.2, 0.1, 0.3), Figure(0.2, 0.1, 0.3)),
        (Figure(-0.2, -0.3, -0.1), Figure(0.2, 0.1, 0.3)),
        (Figure(0.05, -0.1, 0.2), Figure(0.05, 0.0, 0.2)),
        (Figure(-0.05, -0.2, 0.1), Figure(0.05, 0.0, 0.2)),
    ],
)
def test_a_magnitude_folds_its_interval_at_zero(signed: Figure, folded: Figure) -> None:
    assert magnitude(signed) == folded


def test_share_is_the_wilson_interval_and_never_claims_certainty() -> None:
    whole = share(np.ones(64, dtype=bool))
    assert (whole.value, whole.high) == (1.0, 1.0)
    assert whole.low == pytest.approx(64 / (64 + 1.959964**2))
    half = share(np.arange(100) < 50)
    assert (half.low, half.high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))


def test_the_middle_half_is_averaged() -> None:
    assert iqm(np.array([100.0, 1, 2, 3, 4, -50, 5, 6])) == pytest.approx(3.5)
    assert iqm(np.array([1.0, 2, 6])) == pytest.approx(3.0), "of three values nothing is cut off"
    np.testing.assert_allclose(iqm(np.array([[0.0, 10], [1, 20], [2, 30], [9, 0]])), [1.5, 15])


def test_the_interval_is_that_of_all_resamples() -> None:
    values = np.array([1.0, 2.0, 4.0, 7.0])
    every = [iqm(np.array(sample)) for sample in product(values, repeat=4)]
    ends = iqm_interval(values, 20_000)
    assert ends is not None
    np.testing.assert_allclose(ends, np.percentile(every, [2.5, 97.5]), atol=0.26)
    assert iqm_interval(values) == iqm_interval(values), "the draws are the same at each call"


def test_one_run_has_no_interval_and_equal_runs_an_empty_one() -> None:
    assert iqm_interval(np.array([1.0])) is None
    assert iqm_interval(np.array([2.0, 2.0, 2.0])) == (2.0, 2.0)


def test_a_curve_has_an_interval_at_each_step() -> None:
    low, high = iqm_interval(np.random.default_rng(0).normal(size=(5, 30)), 500)  # type: ignore[misc]
    assert low.shape == high.shape == (30,) and (low < high).all()


def test_curves_meet_on_common_steps() -> None:
    one, other = np.array([[0.0, 0], [10, 10], [20, 20]]), np.array([[5.0, 50], [25, 250]])
    steps, values = common_curve([one, one])
    assert steps.tolist() == [0, 10, 20] and values.shape == (2, 3)
    steps, values = common_curve([one, other], points=4)
    assert steps.tolist() == [5, 10, 15, 20]
    np.testing.assert_allclose(values, [steps, 10 * steps])
