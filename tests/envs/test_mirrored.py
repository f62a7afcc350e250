"""Whether a task has a mirror image is known before its simulator starts."""

from __future__ import annotations

import pytest

from regimen.compose import compose
from regimen.envs.mirrored import unmirrored
from tasks import CONF


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["task=k1_walk"], None),
        (["task=h1_failure"], None),
        (["task=h1_failure", "env.estimate.mode=oracle"], "what a policy is told of faults has no mirror image"),
        (["task=reach"], "the robot `reach_arm` declares no left and right"),
        (["task=gym", "env.id=Pendulum-v1"], "the task has no robot"),
        (
            ["task=go2_flat", "+env.observations.policy.terms.feet={func: site_position}"],
            "no mirror image is declared (@mirrors) for observations policy.feet",
        ),
    ],
)
def test_the_reason_is_told(overrides, why):
    composed = compose([*overrides, "agent=fast_sac", "agent.use_symmetry=true"], [CONF])
    found = unmirrored(composed.config)
    assert why in str(found) if why else found is None
    kind, agent = composed.types["agent"], composed.config["agent"]
    lines = [line for line in kind(**agent).problems(composed.config) if "use_symmetry" in line]
    assert lines == ([f"use_symmetry=true: {found}. Type agent.use_symmetry=false."] if why else [])
    assert not [line for line in kind(**agent | {"use_symmetry": None}).problems(composed.config) if "symm" in line]
