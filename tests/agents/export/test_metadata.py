"""The description of an exported policy names the actuators that it was trained with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.export.made_policies import bundle_for
from helpers.tasks import CONF
from regimen.agents.export.header import PolicyDescription
from regimen.agents.export.metadata import describe
from regimen.config.compose import compose
from regimen.envs.robots.robot import load


def described(*overrides: str) -> PolicyDescription:
    plain: dict[str, Any] = compose(["task=reach", *overrides], [CONF]).plain
    plain["choices"] = {"task": "reach"}
    made = describe(bundle_for("skrl_ppo"), ["policy"], plain, None)
    return PolicyDescription.from_dict(json.loads(json.dumps(made.to_dict())))


def test_actuators_are_part_of_the_robot() -> None:
    text = "func: dc_motor, joints: [elbow], delay: [1, 3], params: {stiffness: 7.0, velocity_limit: 4.0}"
    robot = described(f"+env.actuators.motor={{{text}}}").robot
    assert robot is not None
    motor = robot.actuators["motor"]
    assert (motor.func, motor.joint_names, motor.delay, motor.delay_drawn) == ("dc_motor", ["elbow"], [1, 3], "episode")
    assert motor.params == {"stiffness": 7.0, "velocity_limit": 4.0}
    own = load("reach_arm")
    assert robot.stiffness == pytest.approx([own.stiffness[0], 7.0]), "the gains of the training"
    assert robot.velocity_limit == pytest.approx([own.velocity_limit[0], 4.0])


def test_a_network_is_named_without_its_folder() -> None:
    text = "func: actuator_net, params: {network_file: /home/me/nets/drive.pt}"
    robot = described(f"+env.actuators.motor={{{text}}}").robot
    assert robot is not None and robot.actuators["motor"].params == {"network_file": "drive.pt"}


def test_without_actuators_there_are_none() -> None:
    robot = described().robot
    assert robot is not None and robot.actuators == {} and robot.stiffness == list(load("reach_arm").stiffness)
