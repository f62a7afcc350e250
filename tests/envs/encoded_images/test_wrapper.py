"""Features in place of images: which ones, at ends of episodes too, and for which encoder and task."""

from __future__ import annotations

import copy

import pytest
import torch

from helpers.demonstrated_env import SIZE, DemonstratedEnv
from helpers.encoded_env import Means, encoded
from helpers.messages import raises_naming
from regimen.agents.policy_file import load_policy
from regimen.envs.conformance.check import require_env
from regimen.envs.encoded_images.description import reads_features
from regimen.envs.encoded_images.wrapper import EncodedEnv
from regimen.envs.vec_env import IOSpec
from regimen.envs.watched_env import WatchedEnv
from regimen.system.errors import IOMismatchError


def test_features_replace_images_at_the_end_of_the_policy_group():
    env, plain = encoded(), DemonstratedEnv(3)
    obs, pictures = env.reset(seed=3), plain.reset(seed=3)
    assert set(obs) == {"policy"} and env.io.images == {} and plain.io.images
    assert list(env.io.observations["policy"]) == [*plain.io.observations["policy"], "camera"]
    assert env.io.size() == plain.io.size() + 2 == obs["policy"].shape[1]
    assert torch.equal(obs["policy"], torch.cat((pictures["policy"], Means().encode(pictures)), 1))
    assert reads_features(env.io.to_dict()) and not reads_features(plain.io.to_dict())


def test_final_observations_show_the_picture_before_the_reset_and_each_picture_is_encoded_once():
    env, plain = encoded(), DemonstratedEnv(3)
    env.reset(seed=3), plain.reset(seed=3)
    expert, ended = env.scripted_expert(0.0, 0), 0
    env.encoder.encoded = 0
    for steps in range(1, 60):
        action = expert.act()
        obs, _, terminated, truncated, info = env.step(action)
        pictures, _, _, _, told = plain.step(action)
        assert torch.equal(obs["policy"][:, -2:], Means().encode(pictures))
        done = terminated | truncated
        ended += int(done.sum())
        final = Means().encode(told["final_obs"])
        assert torch.equal(info["final_obs"]["policy"][done][:, -2:], final[done])
        expert.reset(done.nonzero().squeeze(1))
        assert env.encoder.encoded == 3 * steps + ended
    assert ended > 3


def test_wrapped_and_watched_the_task_is_still_below():
    env = WatchedEnv(encoded(), 0, {})
    assert isinstance(env.env, DemonstratedEnv) and env.phases == ("far", "near")
    assert hasattr(env, "scripted_expert") and env.symmetry is None and not hasattr(env, "curriculum")
    copy.copy(encoded())  # an attribute that is not there yet while an object is copied


@pytest.mark.parametrize(
    ("changes", "task", "named"),
    [
        ({"images": {"camera": [16, 16, 3]}}, "point", ("camera", "16x16x3", "8x12x3")),
        ({"images": {"wrist": list(SIZE)}, "features": {"wrist": 2}}, "point", ("wrist", "camera")),
        ({}, "reach", ("task", "point", "reach")),
    ],
)
def test_an_encoder_of_other_images_or_of_another_task_is_refused_by_name(changes, task, named):
    with raises_naming(IOMismatchError, *named, "agent=image_encoder"):
        EncodedEnv(DemonstratedEnv(1), Means(**changes), task)
    EncodedEnv(DemonstratedEnv(1), Means(task=None), task)  # imported pictures may be of any task


def test_a_policy_is_refused_with_the_features_of_another_encoder():
    bundle = {"agent": {"_target_": "regimen.agents.rlpd.Rlpd"}, "io": encoded().io.to_dict(), "policy": {}}
    with raises_naming(IOMismatchError, "policy.camera", "0a1b", "ffff"):
        load_policy(bundle, encoded(checksum="ffff"), 0)
    same = IOSpec.from_dict(bundle["io"])
    assert same.differences(encoded().io) == []
    assert any("camera" in line for line in same.differences(DemonstratedEnv(1).io))


def test_the_state_of_the_task_decides_all_that_follows():
    env, other = encoded(), encoded()
    env.reset(seed=1)
    action = torch.ones(3, 2)
    env.step(action)
    other.reset(seed=9)
    other.load_state_dict(env.state_dict())
    assert torch.equal(env.step(action)[0]["policy"], other.step(action)[0]["policy"])


@pytest.mark.slow
def test_an_encoded_task_keeps_the_contract():
    require_env(encoded)
