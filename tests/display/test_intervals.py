"""Intervals cover what they should, are repeatable and are honest at zero failures; means against hand calculation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from regimen.display.intervals import (
    Figure,
    bootstrap,
    common_curve,
    holm,
    iqm,
    iqm_interval,
    magnitude,
    paired_difference,
    share,
)


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


def test_a_paired_difference_sees_what_two_samples_hide() -> None:
    rng = np.random.default_rng(5)
    first = rng.normal(0.0, 10.0, 60)
    second = first + rng.normal(0.5, 0.5, 60)
    found = paired_difference(first, second, 2000)
    assert found.pairs == 60 and found.p < 0.001 and found.mean.low > 0.3
    assert found.effect_name == "d_z" and found.effect == pytest.approx(
        (second - first).mean() / (second - first).std(ddof=1)
    )
    nothing = paired_difference(first, rng.permutation(first), 500)
    assert nothing.p > 0.2 and nothing.mean.low < 0 < nothing.mean.high
    same = paired_difference(first, first, 500)
    assert (same.p, same.effect) == (1.0, 0.0) and same.mean == Figure(0.0, 0.0, 0.0)


def test_pairs_without_both_values_are_left_out() -> None:
    nan = float("nan")
    found = paired_difference(np.array([1.0, nan, 2.0, 3.0]), np.array([2.0, 5.0, nan, 5.0]), 100)
    assert (found.pairs, found.mean.value) == (2, 1.5)
    none = paired_difference(np.array([nan, 1.0]), np.array([1.0, nan]), 100)
    assert (none.pairs, none.p) == (0, 1.0) and np.isnan(none.mean.value)


def test_few_pairs_have_the_exact_probability_of_their_signs() -> None:
    found = paired_difference(np.zeros(6), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), 100)
    assert found.p == pytest.approx(2 / 2**6), "all six signs agree in two of 64 cases"


def test_shares_have_mcnemars_exact_test_and_cohens_g() -> None:
    first, second = np.zeros(20), np.zeros(20)
    first[0], second[1:7] = 1.0, 1.0
    found = paired_difference(first, second, 500)
    assert found.mean.value == pytest.approx(5 / 20)
    assert found.p == pytest.approx(2 * (1 + 7) / 2**7), "one of seven that changed, by the binomial"
    assert (found.effect_name, found.effect) == ("g", pytest.approx(6 / 7 - 0.5))


def test_holms_correction_is_that_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []
