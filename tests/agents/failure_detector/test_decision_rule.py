"""The decision rule on hand-made traces: k in a row, latched, revised, forgotten at a reset."""

from __future__ import annotations

import torch

from helpers.messages import assert_names
from regimen.agents.failure_detector.decision_rule import DecisionCfg, DecisionRule, decide

K = 3


def sure(*classes: int, of: int = 4) -> torch.Tensor:
    """(1, L, C) probabilities of 0.9 for the given class in each step; -1: nothing reaches the threshold."""
    rows = [[0.25] * of if c < 0 else [0.9 if i == c else 0.1 / (of - 1) for i in range(of)] for c in classes]
    return torch.tensor([rows])


def verdicts(*classes: int, latch: bool = True) -> list[int]:
    given = sure(*classes)
    mask = torch.ones(given.shape[:2], dtype=torch.bool)
    return decide(DecisionCfg(0.8, K, latch), given, mask)[0].tolist()


def test_a_joint_must_win_k_steps_in_a_row():
    assert verdicts(0, 0, 0, 2, 2, 0, 2, 2, 2, 2) == [-1] * 8 + [2, 2]


def test_a_step_below_the_threshold_breaks_the_row():
    assert verdicts(0, 0, 0, 2, 2, -1, 2, 2, 2) == [-1] * 8 + [2]


def test_no_verdict_in_the_first_k_steps():
    assert verdicts(1, 1, 1, 1, 1) == [-1, -1, -1, 1, 1]


def test_healthy_is_no_verdict_and_does_not_take_one_back():
    assert verdicts(*[0] * 8) == [-1] * 8
    assert verdicts(0, 0, 0, 1, 1, 1, *[0] * 20)[5:] == [1] * 21


def test_without_a_latch_healthy_takes_it_back_after_2k_steps():
    assert verdicts(0, 0, 0, 1, 1, 1, *[0] * 7, latch=False) == [-1] * 5 + [1] * 6 + [-1, -1]


def test_another_joint_revises_after_2k_steps_only():
    assert verdicts(0, 0, 0, 1, 1, 1, *[2] * 5, 1, *[2] * 6) == [-1] * 5 + [1] * 12 + [2]


def test_envs_are_apart_and_forget_at_a_reset():
    rule = DecisionRule(DecisionCfg(0.8, K), 2)
    begun = torch.zeros(2, dtype=torch.bool)
    for _ in range(6):
        rule.update(torch.cat((sure(2)[:, 0], sure(0)[:, 0])), begun)
    assert rule.verdict.tolist() == [2, -1]
    assert rule.age.tolist() == [3, 0]
    rule.update(sure(2, 2)[0], torch.tensor([True, False]))
    assert rule.verdict.tolist() == [-1, -1], "env 0 began anew, env 1 has seen joint 2 once"
    assert rule.steps.tolist() == [1, 7]


def test_state_is_restored():
    one, other = (DecisionRule(DecisionCfg(0.8, K), 1) for _ in range(2))
    given, never = sure(0, 0, 1, 1, 1, 2), torch.zeros(1, dtype=torch.bool)
    for t in range(4):
        one.update(given[:, t], never)
    other.load_state_dict(one.state_dict())
    one.update(given[:, 4], never)
    assert (one.verdict.tolist(), other.verdict.tolist()) == ([1], [-1]), "a copy, not the same memory"
    other.update(given[:, 4], never)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_padding_has_no_verdict():
    given = sure(0, 0, 0, 1, 1, 1, 1, 1)
    mask = torch.tensor([[True] * 6 + [False] * 2])
    assert decide(DecisionCfg(0.8, K), given, mask)[0].tolist() == [-1] * 5 + [1, -1, -1]


def test_problems_are_named():
    assert DecisionCfg().problems() == []
    assert_names(DecisionCfg(threshold=1.5).problems()[0], "decision.threshold=1.5")
    assert_names(DecisionCfg(consecutive=0).problems()[0], "decision.consecutive=0")
