"""Intervals cover what they should, are repeatable, and are honest at zero failures."""

from __future__ import annotations

import numpy as np
import pytest

from regimen.display.intervals import Figure, bootstrap, magnitude, share


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
