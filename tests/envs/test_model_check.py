"""A robot's model is compared with its Robot: our own have all that the guide asks, and what lacks is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mujoco
import pytest

from helpers.messages import assert_names, raises_naming
from regimen.envs.robots.model_check import model_problems, require_matching_model
from regimen.envs.robots.robot import Robot, available, load
from regimen.system.errors import ConfigError


def model_of(robot: Robot, path: Path | None = None) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(path or robot.mjcf))


@pytest.mark.parametrize("name", available())
def test_our_robots_have_what_the_guide_asks_of_yours(name: str) -> None:
    robot = load(name)
    model = model_of(robot)
    assert model_problems(model, robot) == []
    assert model.camera("track").id >= 0


def test_another_order_of_joints_is_named() -> None:
    arm = load("reach_arm")
    turned = replace(arm, joints=("elbow", "shoulder"))
    joints, actuators = model_problems(model_of(arm), turned)
    assert_names(joints, "joints", "shoulder, elbow", "elbow, shoulder")
    assert_names(actuators, "actuators")
    with raises_naming(ConfigError, "reach_arm", arm.mjcf):
        require_matching_model(model_of(arm), turned)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('<joint name="elbow" range="-2.6 2.6"/>', '<joint name="elbow"/>', ("elbow", "range")),
        ('    <position name="elbow" joint="elbow"/>\n', "", ("actuators", "shoulder", "elbow")),
        ('    <framelinvel name="vel_tip" objtype="site" objname="tip"/>\n', "", ("sensors", "vel_tip")),
        ('<body name="base" pos="0 0 .1">', '<body name="foot" pos="0 0 .1">', ("base_body", "base")),
        ('<body name="base" pos="0 0 .1">', '<body name="base" pos="0 0 .1"><freejoint/>', ("floating_base",)),
    ],
)
def test_what_a_model_lacks_is_named(tmp_path: Path, old: str, new: str, named: tuple[str, ...]) -> None:
    arm = load("reach_arm")
    scene = arm.mjcf.parents[1] / "scene.xml"
    text = arm.mjcf.read_text().replace("../scene.xml", str(scene))
    assert old in text
    (tmp_path / "arm.xml").write_text(text.replace(old, new))
    [line] = model_problems(model_of(arm, tmp_path / "arm.xml"), arm)
    assert_names(line, *named)


def test_missing_contact_sensors_are_named() -> None:
    arm = load("reach_arm")
    lines = model_problems(model_of(arm), replace(arm, feet=("paw",), fall_bodies=("forearm",)))
    for line, sensor in zip(lines, ("contact_paw", "contact_forearm", "pos_paw", "vel_paw"), strict=True):
        assert_names(line, sensor)
