"""Whether a task has a mirror image is known before its simulator starts."""

from __future__ import annotations

import pytest

from helpers.messages import assert_names
from helpers.tasks import CONF
from regimen.config.compose import compose
from regimen.envs.symmetry_check import unmirrored


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["task=k1_walk"], ()),
        (["task=h1_failure"], ()),
        (["task=h1_failure", "env.estimate.mode=oracle"], ("faults",)),
        (["task=reach"], ("reach_arm", "mirror")),
        (["task=gym", "env.id=Pendulum-v1"], ("robot",)),
        (
            ["task=go2_flat", "+env.observations.policy.terms.feet={func: site_position}"],
            ("@mirrors", "policy.feet"),
        ),
    ],
)
def test_the_reason_is_told(overrides, names):
    composed = compose([*overrides, "agent=fast_sac", "agent.use_symmetry=true"], [CONF])
    found = unmirrored(composed.plain)
    assert (found is not None) == bool(names)
    kind, agent = composed.types["agent"], composed.plain["agent"]
    lines = [line for line in kind(**agent).problems(composed.plain) if "use_symmetry" in line]
    assert len(lines) == (1 if names else 0)
    for line in lines:
        assert_names(line, "use_symmetry=true", *names, "agent.use_symmetry=false")
    assert not [line for line in kind(**agent | {"use_symmetry": None}).problems(composed.plain) if "symm" in line]
