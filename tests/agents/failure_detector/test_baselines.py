"""The baselines, and the comparison by the same metrics on the same episodes."""

from __future__ import annotations

import pytest
import torch

from agents.failure_detector.broken_joints import LIMIT, QuietRun, layout, open_sets, write_swing
from regimen.agents.failure_detector.baselines import Baselines, TorqueThreshold, judge_all, majority, peak
from regimen.agents.failure_detector.decision_rule import DecisionCfg
from regimen.agents.failure_detector.trainer import TrainingCfg
from regimen.system.errors import StopRequested

CFG = TrainingCfg(epochs=2, patience=2, batch_size=16, chunk=20, learning_rate=1e-2)


def test_the_majority_is_always_the_same():
    given = majority(torch.tensor([3.0, 9.0, 1.0]), torch.zeros(2, 5, 7))
    assert given.argmax(-1).unique().tolist() == [1] and given.sum() == 10


def test_the_peak_waits_for_a_full_window():
    inputs = torch.zeros(1, 5, 7)
    inputs[0, :, 3] = torch.tensor([1.0, -4.0, 2.0, 1.0, 0.5])
    assert peak(layout(), inputs, 3)[0, :, 0].tolist() == [torch.inf, torch.inf, 4.0, 4.0, 2.0]


def test_the_rule_names_the_joint_furthest_below_its_threshold():
    rule = TorqueThreshold(layout(), 1, torch.tensor([4.0, 2.0]))
    peaks = torch.tensor([[5.0, 3.0], [3.0, 9.0], [3.0, 0.2], [9.0, 1.9]])
    assert rule.classes(peaks).tolist() == [0, 1, 2, 2]


def test_the_rule_never_names_a_joint_that_did_not_fail_in_training():
    rule = TorqueThreshold(layout(), 1, torch.tensor([0.0, 2.0]))
    assert rule.classes(torch.tensor([[0.0, 3.0], [0.0, 1.0], [5.0, 0.0]])).tolist() == [0, 2, 2]


def test_the_rule_is_tuned_to_the_limit(tmp_path):
    sets = open_sets(write_swing(tmp_path / "e.h5"))
    rule = TorqueThreshold.tuned(sets.train, 16, every=1)
    assert rule.window == 10
    assert all(LIMIT < t < 10.0 for t in rule.thresholds.tolist()), "above every broken peak, below every healthy one"


@pytest.mark.slow
def test_baselines_are_trained_kept_and_go_on_after_a_stop(tmp_path):
    sets = open_sets(write_swing(tmp_path / "e.h5"))
    whole = Baselines.fit(sets, CFG, QuietRun(), tmp_path / "whole.pt", 0)
    with pytest.raises(StopRequested):
        Baselines.fit(sets, CFG, QuietRun(stop_after=3), tmp_path / "parts.pt", 0)
    parts = Baselines.fit(sets, CFG, QuietRun(), tmp_path / "parts.pt", 0)
    loaded = Baselines.load(tmp_path / "whole.pt", layout())
    inputs = next(iter(sets.test.epoch(4))).inputs
    for name, guess in whole.guesses().items():
        assert torch.equal(guess(inputs), parts.guesses()[name](inputs)), name
        assert torch.equal(guess(inputs), loaded.guesses()[name](inputs)), name


def test_all_are_judged_on_the_same_frames(tmp_path):
    sets = open_sets(write_swing(tmp_path / "e.h5"))
    found = Baselines.fit(sets, CFG, QuietRun(), tmp_path / "b.pt", 0)
    judged = judge_all(found.guesses(), sets.test.epoch(8), layout(), DecisionCfg(0.8, 3), 50, 0)
    assert list(judged) == ["majority", "one_frame", "torque_threshold"]
    counts = {name: views["all"].counts.sum(1).tolist() for name, views in judged.items()}
    assert len({tuple(c) for c in counts.values()}) == 1
    figures = {name: views["all"].figures for name, views in judged.items()}
    assert figures["majority"]["accuracy"].value == figures["majority"]["majority_accuracy"].value
    assert figures["majority"]["macro_f1"].value < 0.4 < figures["torque_threshold"]["macro_f1"].value
