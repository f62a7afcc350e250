"""A group that extends another: the same numbers, noise included, and more; no cost to who does not read it."""

from __future__ import annotations

import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env
from regimen.system.errors import ConfigError


def test_the_detector_reads_what_the_policy_reads_and_the_torques() -> None:
    env = make_env("h1_failure", 4)
    obs = env.reset(seed=0)
    for _ in range(3):
        obs, *_ = env.step(0.3 * torch.randn(4, 19))
    width = env.io.size("policy")
    assert env.io.size("discriminator") == width + 19
    assert torch.equal(obs["discriminator"][:, :width], obs["policy"]), "the sensors are the same ones"
    assert torch.equal(obs["discriminator"][:, width:], env.state.joint_torque)
    assert list(env.io.observations["discriminator"]) == [*env.io.observations["policy"], "joint_effort"]


def test_a_policy_neither_sees_nor_pays_for_the_detectors_group() -> None:
    with_group = make_env("h1_failure", 4, events={"change_joint_torque": None})
    without = make_env("h1_flat", 4)
    assert "discriminator" not in without.io.observations
    assert with_group.io.differences(without.io) == []
    a, b = with_group.reset(seed=3), without.reset(seed=3)
    for _ in range(5):
        action = 0.3 * torch.randn(4, 19)
        assert torch.equal(a["policy"], b["policy"])
        (a, *_), (b, *_) = with_group.step(action), without.step(action)


def test_a_group_extends_an_earlier_one_with_terms_of_other_names() -> None:
    terms = {"torques": {"func": "joint_effort"}}
    with raises_naming(ConfigError, "env.observations.more", "polciy", "policy"):
        make_env("h1_flat", 2, observations={"more": {"extends": "polciy", "terms": terms}})
    with raises_naming(ConfigError, "env.observations.more.joint_pos", "policy"):
        terms = {"joint_pos": {"func": "joint_effort"}}
        make_env("h1_flat", 2, observations={"more": {"extends": "policy", "terms": terms}})


def test_staggered_envs_have_their_faults_at_the_time_they_say() -> None:
    """An env put past the onset of its fault stays healthy; else a fault would begin with the first step."""
    params = {"joints": ".*_knee", "probability": 1.0, "onset_s": [0.2, 10.0], "mode": "free"}
    env = make_env("h1_failure", 64, events={"change_joint_torque": {"params": params}})
    env.reset(seed=0)
    before = env.events.terms["change_joint_torque"].onset.clone()
    env.stagger()
    term = env.events.terms["change_joint_torque"]
    dropped = term.onset < 0
    assert torch.equal(dropped, before < env.episode_length) and 10 < int(dropped.sum()) < 60
    assert torch.equal(term.joint < 0, dropped)
    due = term.onset == env.episode_length
    labels = env.step(torch.zeros(64, 19))[-1]["labels"]
    assert torch.equal(labels["fault_joint"] >= 0, due)
