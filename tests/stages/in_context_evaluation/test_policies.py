"""What a checkpoint that is given to compare with is called."""

from __future__ import annotations

from typing import Any

import pytest

from regimen.stages.in_context_evaluation.policies import classify_checkpoint


def bundle(*modes: str, mask_rewards: bool = False, last_frac: float = 1.0) -> dict[str, Any]:
    agent = {"model": {"mask_rewards": mask_rewards}, "sampling": {"last_frac": last_frac}}
    return {"agent": agent, "policy": {"tasks": {str(i): {"mode": mode} for i, mode in enumerate(modes)}}}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (bundle("expert"), "expert_distillation"),
        (bundle("noise", last_frac=0.1), "expert_distillation"),
        (bundle("checkpoints", mask_rewards=True), "reward_masked"),
        (bundle("expert", "checkpoints"), "other"),
        ({"agent": {"models": {}, "trainer": {}}, "policy": {}}, "demonstrator"),
    ],
)
def test_a_policy_is_known_by_how_it_was_trained(given: dict[str, Any], name: str) -> None:
    assert classify_checkpoint(given)[0] == name
