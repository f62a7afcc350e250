"""The order of joints in a policy of a library, in tasks whose observations are known once they are open."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.messages import raises_naming
from regimen.agents.adoption import permutation
from regimen.config.compose import compose_config
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import ConfigError, IOMismatchError

JOINTS = ["left_hip", "left_knee", "right_hip", "right_knee"]
BREADTH_FIRST = ["left_hip", "right_hip", "left_knee", "right_knee"]


@pytest.fixture(scope="module")
def config() -> Any:
    return compose_config(["task=isaaclab"])


def io(sizes: dict[str, int], joints: dict[str, list[str]]) -> IOSpec:
    meaning = {name: {"joints": joints[name]} if name in joints else {} for name in sizes}
    return IOSpec({"policy": sizes}, ActionSpec(JOINTS, [1.0] * 4, [0.0] * 4), 0.02, {"policy": meaning})


def test_columns_and_actions_are_found_by_the_names_of_the_joints(config):
    spec = io({"base": 3, "pos": 4, "last": 4}, {"pos": JOINTS, "last": JOINTS})
    order, columns = permutation(spec, BREADTH_FIRST, config)
    assert order == [0, 2, 1, 3]
    assert columns == [0, 1, 2, 3, 5, 4, 6, 7, 9, 8, 10]
    assert permutation(spec, JOINTS, config) is None


@pytest.mark.parametrize(
    ("sizes", "joints", "named"),
    [
        ({"base": 3, "pos": 4}, {"pos": JOINTS[::-1]}, "pos"),
        ({"base": 3, "pos": 4}, {"pos": JOINTS[:2]}, "pos"),
        ({"pos": 4, "past": 8}, {"pos": JOINTS}, "past"),
        ({"pos": 4, "past": 8}, {"pos": JOINTS, "past": JOINTS}, "past"),
        ({"observation": 7}, {}, "task"),
    ],
)
def test_another_order_is_refused_where_observations_of_joints_are_not_known(config, sizes, joints, named):
    with raises_naming(ConfigError, named, "--joints"):
        permutation(io(sizes, joints), BREADTH_FIRST, config)


def test_other_joints_are_named(config):
    with raises_naming(IOMismatchError, "--joints", "ankle", "right_knee"):
        permutation(io({"pos": 4}, {"pos": JOINTS}), [*JOINTS[:3], "ankle"], config)
