"""Shares of episodes with their intervals, over seeds, and what they are compared with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.fault_studies import evaluation
from regimen.display.intervals import share
from regimen.stages.reports.sources import HEALTHY, ORACLE, TOLERANT, Sources
from regimen.stages.reports.survival import Study, compare

pytestmark = pytest.mark.usefixtures("blank_figures")


def study_of(*paths: Path) -> Study:
    return Study.of(Sources.read(paths).fault_evaluations)


def test_cells_are_added_up(tmp_path: Path) -> None:
    study = study_of(evaluation(tmp_path, "a", None, 5))
    arm = study.arms[0]
    assert study.severities == {"left_knee": [95.0, 50.0], "right_knee": [95.0, 50.0]}
    assert (arm.variant, study.label(1)) == (HEALTHY, "severity 50")
    assert arm.survival() == share(np.arange(80) < 20)
    assert arm.survival("left_knee", 0) == share(np.arange(20) < 5)
    assert arm.survival("") == share(np.arange(20) < 19)
    assert arm.survival("left_ankle") is None


def test_the_time_to_the_fall_is_that_of_all_episodes_and_no_median_of_medians(tmp_path: Path) -> None:
    paths = []
    for seed, seconds in enumerate((1.0, 3.0)):
        paths.append(evaluation(tmp_path, f"s{seed}", None, 5, seed=seed))
        result = json.loads(paths[-1].read_text())
        for cell, of_cell in zip(result["cells"], (seconds, 9.0, seconds, None), strict=True):
            cell["time_to_fall_s"] = of_cell
        result["joints"]["left_knee"]["time_to_fall_s"] = seconds + 0.5
        result["overall"]["time_to_fall_s"] = seconds + 0.25
        paths[-1].write_text(json.dumps(result))
    [arm] = study_of(paths[0]).arms
    assert (arm.fall_s("left_knee"), arm.fall_s(), arm.fall_s("")) == (1.5, 1.25, 1.5)
    assert (arm.fall_s_at("left_knee", 1), arm.fall_s_at("right_knee", 1)) == (9.0, None)
    [arm] = study_of(*paths).arms
    assert (arm.fall_s("left_knee"), arm.fall_s()) == (2.5, 2.25), "the median of the seeds"


def test_the_mean_of_cells_is_surer_than_one(tmp_path: Path) -> None:
    arm = study_of(evaluation(tmp_path, "a", None, 5)).arms[0]
    mean = arm.mean("lin_vel_error")
    assert mean is not None and mean.value == pytest.approx(0.2)
    assert mean.high - mean.value == pytest.approx(0.1 / 2)  # four cells
    assert arm.mean("nothing") is None


def test_several_runs_of_one_kind_are_seeds(tmp_path: Path) -> None:
    paths = [evaluation(tmp_path, f"s{k}", "oracle", survived, seed=k) for k, survived in enumerate((8, 10, 12))]
    arm = study_of(*paths).arms[0]
    figure = arm.survival()
    assert len(arm.sources) == 3 and figure is not None
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.5, 0.4, 0.6))


def test_gain_and_share_of_the_oracle(tmp_path: Path) -> None:
    paths = [evaluation(tmp_path, f"{mode}", mode, n) for mode, n in ((None, 4), ("oracle", 14), ("classifier", 12))]
    oracle, tolerant = compare(study_of(*paths), HEALTHY, ORACLE)
    assert (tolerant.variant, tolerant.gain.value) == (TOLERANT, pytest.approx(40.0))
    assert tolerant.gain.low > 20 and tolerant.gain.high < 60
    assert tolerant.share is not None and tolerant.share.value == pytest.approx(0.8)
    assert tolerant.share.low < 0.8 < tolerant.share.high
    assert oracle.share is not None and oracle.share.value == pytest.approx(1.0) == oracle.share.low


def test_no_share_of_a_gain_that_may_be_none(tmp_path: Path) -> None:
    paths = [evaluation(tmp_path, f"{mode}", mode, n) for mode, n in ((None, 10), ("oracle", 10), ("classifier", 12))]
    assert [c.share for c in compare(study_of(*paths), HEALTHY, ORACLE)] == [None, None]


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    assert compare(study_of(evaluation(tmp_path, "a", "oracle", 5)), HEALTHY, ORACLE) == []


@pytest.mark.slow
def test_a_gain_of_nothing_covers_zero(tmp_path: Path) -> None:
    """Nominal coverage: of 200 pairs of equal policies about 5 % may seem different."""
    rng, wrong = np.random.default_rng(0), 0
    for k in range(200):
        a, b = rng.binomial(20, 0.5, 2)
        found = study_of(
            evaluation(tmp_path / str(k), "a", None, int(a)), evaluation(tmp_path / str(k), "b", "none", int(b))
        )
        cells = [found.arms[0].cases[0][1:2], found.arms[1].cases[0][1:2]]
        for arm, kept in zip(found.arms, cells, strict=True):
            arm.cases = [kept]
        gain = compare(found, HEALTHY, ORACLE)[0].gain
        wrong += not gain.low <= 0 <= gain.high
    assert wrong <= 20
