"""The arm of an assembly task behind the endpoints of a robot server: what it reads, and where it goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from regimen.config.schema import Config
from regimen.envs.assembly import AssemblyEnv
from regimen.system.errors import ConfigError

DOWN = [1.0, 0.0, 0.0, 0.0]
"""Quaternion x y z w of the hand that looks down."""


@pytest.fixture
def env(compose_config: Callable[[list[str]], Config]) -> Iterator[AssemblyEnv]:
    env = AssemblyEnv.open(compose_config(["task=gear_assembly", "hardware.threads=1"]))
    env.reset(seed=0)
    yield env
    env.close()


def test_the_reading_is_that_of_the_simulator(env: AssemblyEnv) -> None:
    read, model = env.robot_arm().reading(), env.scene.model
    tcp = model.site("tcp").id
    np.testing.assert_allclose(read.pose[:3], env.batch.bind("site_xpos")[0, tcp], atol=1e-12)
    x, y, z, w = read.pose[3:]
    axis = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
    np.testing.assert_allclose(axis, env.batch.bind("site_xmat")[0, tcp].reshape(3, 3)[:, 2], atol=1e-12)
    assert [len(v) for v in (read.vel, read.force, read.torque, read.q, read.dq)] == [6, 3, 3, 7, 7]
    expected = np.array(read.jacobian) @ read.dq
    np.testing.assert_allclose(expected, read.vel, atol=2e-3)
    assert 0.15 < read.gripper_pos < 0.25  # it holds a box of 17 mm, of 80 mm


def test_it_moves_to_poses_within_the_box_and_turns(env: AssemblyEnv) -> None:
    arm = env.robot_arm()
    for _ in range(15):
        arm.move_to([0.5, 0.01, 0.08, *DOWN])
    np.testing.assert_allclose(arm.reading().pose[:3], [0.5, 0.01, 0.08], atol=2e-3)
    for _ in range(15):
        arm.move_to([0.5, 0.01, 0.08, math.cos(0.1), math.sin(0.1), 0.0, 0.0])
    assert arm.reading().pose[4] == pytest.approx(math.sin(0.1), abs=0.01)
    before = env.targets[0].copy()
    arm.move_to([2.0, 0.0, 0.08, *DOWN])
    assert np.abs(env.targets[0] - before).max() <= 0.0100001
    for _ in range(20):
        arm.move_to([2.0, 0.0, 0.08, *DOWN])
    assert arm.reading().pose[0] < 0.57
    assert env.age.tolist() == [0]  # no episode ends under a robot's client


def test_the_gripper_opens_and_a_reset_begins_anew(env: AssemblyEnv) -> None:
    arm = env.robot_arm()
    arm.move_gripper(0.1)
    assert env.targets[2].tolist() == pytest.approx([0.04])
    assert arm.reading().gripper_pos > 0.85
    arm.move_gripper(0.03)
    assert env.targets[2].tolist() == pytest.approx([0.015])
    arm.reset()
    assert arm.reading().gripper_pos < 0.25


def test_a_stiffer_controller_gives_way_less(env: AssemblyEnv) -> None:
    arm = env.robot_arm()

    def lag(stiffness: float) -> float:
        """How far the hand is behind its target after one step sideways, in m."""
        env.reset(seed=0)
        arm.set_impedance({"translational_stiffness": stiffness, "translational_clip_x": 0.01})
        x, y, *rest = arm.reading().pose
        arm.move_to([x, y - 0.01, *rest])
        return abs(arm.reading().pose[1] - (y - 0.01))

    assert lag(1600.0) < 0.7 * lag(200.0)
    with pytest.raises(ConfigError, match="translational_stiffness"):
        arm.set_impedance({"translational_stiffnes": 3.0})
