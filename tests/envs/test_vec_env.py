"""IOSpec: a policy fits an environment by name or is refused with every difference."""

from __future__ import annotations

import copy

import pytest

from helpers.messages import raises_naming
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import IOMismatchError


@pytest.fixture
def spec() -> IOSpec:
    action = ActionSpec(["hip", "knee"], [0.25, 0.25], [0.1, -1.5], 100.0)
    observations = {"policy": {"base_lin_vel": 3, "joint_pos": 2}, "critic": {"height": 1}}
    meaning = {"policy": {"joint_pos": {"scale": 1.0, "joints": ["hip", "knee"]}}}
    return IOSpec(observations, action, 0.02, meaning)


def test_sizes(spec):
    assert (spec.size(), spec.size("critic"), spec.num_actions) == (5, 1, 2)


def test_survives_a_checkpoint(spec):
    assert IOSpec.from_dict(spec.to_dict()) == spec


def test_a_spec_of_another_version_is_refused(spec):
    data = spec.to_dict()
    del data["meaning"]
    with raises_naming(IOMismatchError, "meaning", "run.json"):
        IOSpec.from_dict(data)


def test_a_checkpoint_from_before_images_has_none(spec):
    data = spec.to_dict()
    del data["images"]
    assert IOSpec.from_dict(data) == spec


@pytest.mark.parametrize(
    ("own", "theirs", "names"),
    [
        ([64, 64, 3], [128, 128, 3], ("wrist", "policy 64x64x3", "env 128x128x3")),
        ([64, 64, 3], None, ("wrist", "only the policy")),
        (None, [64, 64, 3], ("wrist", "only the env")),
    ],
)
def test_images_are_compared_by_name_and_size(spec, own, theirs, names):
    other = copy.deepcopy(spec)
    spec.images = {} if own is None else {"wrist": own}
    other.images = {} if theirs is None else {"wrist": theirs}
    with raises_naming(IOMismatchError, *names):
        spec.require_fits(other, groups=("policy", "wrist"))
    spec.require_fits(other)
    assert IOSpec.from_dict(spec.to_dict()) == spec


def test_equal_specs_fit(spec):
    spec.require_fits(copy.deepcopy(spec))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda s: s.observations["policy"].pop("joint_pos"), ("observation", "policy.joint_pos")),
        (lambda s: s.observations["policy"].update(gait=2), ("observation", "policy.gait", "env")),
        (lambda s: s.observations["policy"].update(joint_pos=3), ("policy.joint_pos", "policy 2", "env 3")),
        (
            lambda s: s.observations.update(policy={"joint_pos": 2, "base_lin_vel": 3}),
            ("policy ['base_lin_vel', 'joint_pos']", "env ['joint_pos', 'base_lin_vel']"),
        ),
        (lambda s: s.action.joints.reverse(), ("joint", "policy ['hip', 'knee']", "env ['knee', 'hip']")),
        (lambda s: s.action.joints.__setitem__(0, "hips"), ("joint", "hip", "hips")),
        (lambda s: s.action.scale.__setitem__(1, 0.5), ("scale", "knee", "policy 0.25", "env 0.5")),
        (lambda s: s.action.offset.__setitem__(0, 0.0), ("offset", "hip", "policy 0.1", "env 0")),
        (lambda s: setattr(s.action, "clip", None), ("clip", "policy 100.0", "env None")),
        (
            lambda s: s.meaning["policy"]["joint_pos"].update(scale=0.1),
            ("policy.joint_pos", "scale", "policy 1.0", "env 0.1"),
        ),
        (
            lambda s: s.meaning["policy"]["joint_pos"].update(joints=["knee", "hip"]),
            ("policy.joint_pos", "joints", "policy ['hip', 'knee']", "env ['knee', 'hip']"),
        ),
        (lambda s: setattr(s, "step_dt", 0.01), ("policy 0.02 s", "env 0.01 s")),
    ],
)
def test_each_difference_is_named(spec, change, names):
    other = copy.deepcopy(spec)
    change(other)
    with raises_naming(IOMismatchError, *names):
        spec.require_fits(other)
    assert spec.differences(other) != other.differences(spec), "it is told which of the two has what"


def test_groups_a_policy_does_not_read_do_not_matter(spec):
    other = copy.deepcopy(spec)
    other.observations["critic"]["more"] = 4
    spec.require_fits(other)
    with raises_naming(IOMismatchError, "critic.more"):
        spec.require_fits(other, groups=("policy", "critic"))


def test_all_differences_come_at_once(spec):
    other = copy.deepcopy(spec)
    other.step_dt = 0.01
    other.action.scale[0] = 1.0
    with raises_naming(IOMismatchError, "env 0.01 s", "scale", "hip", "env 1"):
        spec.require_fits(other)
