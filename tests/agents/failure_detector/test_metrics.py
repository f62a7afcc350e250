"""Metrics on hand-made traces: units, misses, false alarms, and joints that never fail."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regimen.agents.failure_detector.metrics import (
    Predictions,
    by_class,
    calibration,
    confusion,
    delay_quantile,
    events,
    joined,
    judge,
    macro_f1,
    rates,
    shares,
)

DT = 0.02
CLASSES = ("healthy", "hip", "knee")


def traces(target: list[list[int]], verdict: list[list[int]], fell: list[bool] | None = None, **changes) -> Predictions:
    """Episodes as lists of classes, of any length; probabilities are sure of the verdict, or of healthy."""
    length = max(map(len, target))
    pad = [[*row, *[0] * (length - len(row))] for row in target]
    said = np.array([[*row, *[-1] * (length - len(row))] for row in verdict], np.int16)
    mask = np.array([[True] * len(row) + [False] * (length - len(row)) for row in target])
    sure = np.eye(len(CLASSES), dtype=np.float32)[said.clip(0)]
    known = {
        "target": np.array(pad, np.int8), "probabilities": sure, "verdict": said, "mask": mask,
        "active": (np.array(pad) > 0) & mask, "unit": np.arange(len(target)),
        "fell": np.array(fell or [False] * len(target)),
    }  # fmt: skip
    return Predictions(**(known | changes))


def test_delay_is_counted_from_the_first_step_of_the_fault():
    # The first faulty observation is that after the fault's first step: a verdict on it comes 1 step after the onset.
    found = events(traces([[0, 0, 2, 2, 2, 2]] * 2, [[-1, -1, 2, 2, 2, 2], [-1, -1, -1, -1, 2, 2]]))
    assert found.joint.tolist() == [2, 2]
    assert found.delay.tolist() == [1, 3]


def test_a_wrong_joint_is_wrong_and_its_revision_is_the_detection():
    found = events(traces([[0, 1, 1, 1, 1]], [[-1, -1, 2, 2, 1]]))
    assert found.wrong.tolist() == [True]
    assert found.delay.tolist() == [4]
    assert found.alarms.tolist() == [0]


def test_alarms_count_verdicts_raised_while_healthy_once_each():
    found = events(traces([[0] * 6, [0, 0, 0, 1, 1, 1]], [[-1, 2, 2, 2, 1, 1], [-1, 1, 1, 1, 1, 1]]))
    assert found.alarms.tolist() == [2, 1], "the revision is another one"
    assert found.healthy.tolist() == [6, 3]


def test_a_verdict_that_stood_before_the_fault_is_no_detection():
    target = [[0, 0, 0, 1, 1, 1]] * 4
    early, other, revised, late = [-1, 1, 1, 1, 1, 1], [-1, 2, 2, 2, 2, 2], [-1, -1, 2, 2, 2, 1], [-1] * 4 + [1, 1]
    found = events(traces(target, [early, other, revised, late]))
    assert found.alarmed_before.tolist() == [True, False, False, False]
    assert found.delay.tolist() == [-1, -1, 3, 2]
    assert found.wrong.tolist() == [False, True, True, False]
    figures = rates(found, DT)
    assert [float(figures[k]) for k in ("detected", "alarmed_before", "wrong_joint")] == [0.5, 0.25, 0.5]
    assert delay_quantile(found, 0.3) == 2.0 and np.isinf(delay_quantile(found, 0.9)), "one is censored after 3 steps"
    fallen = events(traces(target[:2], [early, other], fell=[True, True]))
    assert fallen.fell.tolist() == [False, True], "a joint that is named already is not a fall without a verdict"


def test_false_alarms_are_per_hour_of_healthy_walking():
    steps = round(3600 / DT / 10)  # six minutes
    found = events(traces([[0] * steps], [[-1] * 9 + [1] * (steps - 9)]))
    assert float(rates(found, DT)["false_alarms_per_hour"]) == pytest.approx(10.0)


def test_a_fall_before_the_verdict_is_a_miss_for_good():
    found = events(traces([[0, 1, 1], [0, 1, 1, 1]], [[-1] * 3, [-1, -1, 1, 1]], fell=[True, True]))
    assert found.fell.tolist() == [True, False]
    assert np.isinf(found.at_risk).tolist() == [True, True]
    assert float(rates(found, DT)["fell_first"]) == 0.5
    assert delay_quantile(found, 0.5) == 2.0
    assert np.isinf(delay_quantile(found, 0.9))


def test_what_the_recording_left_too_early_is_censored():
    # Delays 2 and 6; one episode ended 3 steps after its onset: it says nothing of what comes after (Kaplan-Meier).
    cut, early, late = [0, 1, 1, 1], [0, *[1] * 9], [0, *[1] * 9]
    said = [[-1] * 4, [-1, -1, *[1] * 8], [-1] * 6 + [1] * 4]
    found = events(traces([cut, early, late], said))
    assert found.delay.tolist() == [-1, 2, 6]
    assert delay_quantile(found, 0.3) == 2.0
    assert delay_quantile(found, 0.5) == 6.0
    ended = events(traces([cut, early, late], said, fell=[True, False, False]))
    assert delay_quantile(ended, 0.9) == np.inf


def test_weights_stand_for_repeated_episodes():
    found = events(traces([[0, 1, 1, 1, 1]] * 2, [[-1, 1, 1, 1, 1], [-1, -1, -1, -1, 1]]))
    weights = np.array([[1.0, 1.0], [0.0, 3.0], [3.0, 0.0]])
    assert delay_quantile(found, 0.5, weights).tolist() == [1.0, 4.0, 1.0]
    assert rates(found, DT, weights)["detected"].tolist() == [1.0, 1.0, 1.0]


def test_without_faults_nothing_is_claimed():
    found = events(traces([[0, 0, 0]], [[-1, -1, -1]]))
    figures = rates(found, DT)
    assert np.isinf(figures["delay_steps"]) and np.isnan(figures["detected"])


def test_always_healthy_scores_no_more_than_it_deserves():
    target, guess = np.array([0] * 90 + [1] * 5 + [2] * 5), np.zeros(100, int)
    counts = confusion(target, guess, 4)
    figures = shares(counts)
    assert float(figures["accuracy"]) == float(figures["majority_accuracy"]) == 0.9
    assert float(figures["balanced_accuracy"]) == pytest.approx(1 / 3), "class 3 never failed: it is in no average"
    assert macro_f1(counts) == pytest.approx((2 * 90 / 190) / 3)


def test_joints_that_never_fail_have_no_score_and_false_guesses_of_them_cost_the_others():
    counts = confusion(np.array([0, 0, 1, 1]), np.array([0, 3, 1, 1]), 4)
    scores = by_class(counts)
    assert np.isnan(scores["recall"][[2, 3]]).all() and np.isnan(scores["f1"][[2, 3]]).all()
    assert scores["recall"][:2].tolist() == [0.5, 1.0]


def test_calibration_of_hand_made_probabilities():
    probabilities = np.array([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25]])
    assert calibration(probabilities, np.array([0, 0, 0, 1])).error == pytest.approx(0.0)
    assert calibration(probabilities, np.array([0, 1, 1, 1])).error == pytest.approx(0.5)


def test_a_perfect_detector_in_both_views():
    given = traces([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 0, 0]], [[-1, -1, 1, 1], [-1, -1, 2, 2], [-1] * 4])
    judged = judge(given, CLASSES, DT, 50, 0)
    figures = judged["all"].figures
    assert (figures["macro_f1"].value, figures["delay_steps"].value) == (1.0, 1.0)
    assert figures["false_alarms_per_hour"].value == 0.0
    assert set(judged["all"].joints) == {"hip", "knee"}
    json.dumps(judged["all"].to_dict(), allow_nan=False)


def test_latent_frames_count_in_the_view_of_all_only():
    target = [[0, 1, 1, 1, 1]] * 3
    latent = np.array([[False, False, False, True, True]] * 3)
    judged = judge(traces(target, [[-1, -1, -1, 1, 1]] * 3, active=latent), CLASSES, DT, 20, 0)
    assert judged["active"].figures["macro_f1"].value == 1.0
    assert judged["all"].figures["macro_f1"].value < 1.0
    assert judged["all"].counts.sum() == 15 and judged["active"].counts.sum() == 9


def test_intervals_resample_envs_as_a_whole():
    good, bad = ([0, 1, 1, 1], [-1, 1, 1, 1]), ([0, 1, 1, 1], [-1, -1, -1, -1])
    episodes = [good] * 20 + [bad] * 20
    apart = judge(traces(*map(list, zip(*episodes, strict=True))), CLASSES, DT, 400, 0)["all"].figures["detected"]
    together = traces(*map(list, zip(*episodes, strict=True)), unit=np.array([0] * 20 + [1] * 20))
    wide = judge(together, CLASSES, DT, 400, 0)["all"].figures["detected"]
    assert apart.value == wide.value == 0.5
    assert 0.3 < apart.low < 0.5 < apart.high < 0.7
    assert (wide.low, wide.high) == (0.0, 1.0), "two envs, of which one or both may be drawn twice"


def test_parts_of_different_length_are_joined():
    whole = joined([traces([[0, 1]], [[-1, 1]]), traces([[0, 0, 1, 1]], [[-1, -1, -1, 1]])])
    assert whole.mask.sum(1).tolist() == [2, 4]
    assert whole.length.tolist() == [2, 4] and whole.onset.tolist() == [1, 2]
    assert events(whole).delay.tolist() == [1, 2]
