"""A robot's model is compared with its Robot: our own have all that the guide asks, and what lacks is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import pytest

from helpers.messages import assert_names, raises_naming
from regimen.envs.robots.mjcf_file import file_problems
from regimen.envs.robots.model_check import compile_model, model_problems, require_matching_model
from regimen.envs.robots.robot import Robot, available, load
from regimen.system.errors import ConfigError

ELBOW = '<position name="elbow" joint="elbow"/>'
JOINT = '<joint name="elbow" range="-2.6 2.6"/>'


def changed_arm(folder: Path, old: str, new: str) -> Path:
    """Write the model of `reach_arm` with a change."""
    arm = load("reach_arm")
    text = arm.mjcf.read_text().replace("../scene.xml", str(arm.mjcf.parents[1] / "scene.xml"))
    assert old in text
    (folder / "arm.xml").write_text(text.replace(old, new))
    return folder / "arm.xml"


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
        (ELBOW, '<position name="elbow" joint="shoulder"/>', ("actuators", "shoulder", "elbow")),
        (ELBOW, '<motor name="elbow" joint="elbow"/>', ("elbow", "motor", "kp")),
        (ELBOW, '<velocity name="elbow" joint="elbow" kv="1"/>', ("elbow", "velocity")),
        (ELBOW, '<position name="elbow" joint="elbow" timeconst=".1"/>', ("elbow", "activation")),
        (ELBOW, '<position name="elbow" joint="elbow" kp="7"/>', ("stiffness", "elbow", "7")),
        (ELBOW, '<position name="elbow" joint="elbow" kv="7"/>', ("damping", "elbow", "7")),
        (ELBOW, '<position name="elbow" joint="elbow" forcerange="-3 20"/>', ("effort_limit", "elbow", "3")),
        (ELBOW, '<position name="elbow" joint="elbow" gear="2"/>', ("elbow", "gear")),
        (ELBOW, '<position name="elbow" joint="elbow" ctrlrange="-1 1"/>', ("elbow", "ctrlrange")),
        (ELBOW, '<position name="elbow" site="tip"/>', ("actuators", "elbow", "tip")),
        (ELBOW, ELBOW + '<motor name="more" joint="elbow"/>', ("actuators", "elbow", "2")),
        (JOINT, '<joint name="elbow" range="-2.6 2.6" armature=".5"/>', ("armature", "elbow", "0.5")),
        (JOINT, '<joint name="elbow" range="-2.6 2.6" actuatorfrcrange="-1 1"/>', ("elbow", "actuatorfrcrange")),
        (JOINT, '<joint name="elbow" range="-2.6 -2.5"/>', ("default_joint_pos", "elbow", "radian")),
        (JOINT, JOINT + '<joint name="flap" range="-1 1" axis="1 0 0"/>', ("joints", "flap")),
        ("</worldbody>", '<body name="ball"><freejoint/><geom size=".1" mass="1"/></body></worldbody>', ("ball",)),
        ("<flag ", '<flag actuation="disable" ', ("actuators", "flag")),
    ],
)
def test_what_a_model_lacks_is_named(tmp_path: Path, old: str, new: str, named: tuple[str, ...]) -> None:
    arm = load("reach_arm")
    [line] = model_problems(model_of(arm, changed_arm(tmp_path, old, new)), arm)
    assert_names(line, *named)


def test_a_keyframe_and_the_names_of_actuators_are_free(tmp_path: Path) -> None:
    path = changed_arm(tmp_path, ELBOW, '<position name="motor_2" joint="elbow"/>')
    key = '<keyframe><key name="home" qpos="0.5 0.5"/></keyframe></mujoco>'
    path.write_text(path.read_text().replace("</mujoco>", key))
    assert compile_model(replace(load("reach_arm"), mjcf=path)).nkey == 1


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (JOINT, '<joint name="shoulder" range="-2.6 2.6"/>', ("arm.xml", "shoulder")),
        ("<option ", '<option speed="1" ', ("arm.xml", "speed")),
        ("</mujoco>", '<asset><mesh name="m" file="gone.obj"/></asset></mujoco>', ("arm.xml", "gone.obj")),
    ],
)
def test_what_mujoco_does_not_compile_is_named_with_the_file(
    tmp_path: Path, old: str, new: str, named: tuple[str, ...]
) -> None:
    with raises_naming(ConfigError, "reach_arm", *named):
        compile_model(replace(load("reach_arm"), mjcf=changed_arm(tmp_path, old, new)))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, ("arm.xml",)),
        ("", ("arm.xml", "empty")),
        ("<mujoco><worldbody>", ("arm.xml", "XML")),
        ('<robot name="arm"><link name="base"/></robot>', ("URDF", "MJCF")),
        ("<sdf/>", ("sdf", "mujoco")),
        ('<mujoco><include file="parts/scene.xml"/></mujoco>', ("arm.xml", "scene.xml")),
    ],
)
def test_what_keeps_a_file_from_being_an_mjcf_is_named(
    tmp_path: Path, text: str | None, named: tuple[str, ...]
) -> None:
    path = tmp_path / "arm.xml"
    if text is not None:
        path.write_text(text)
    [line] = file_problems(path)
    assert_names(line, *named)
    with raises_naming(ConfigError, "reach_arm", *named):
        compile_model(replace(load("reach_arm"), mjcf=path))


def test_a_folder_is_no_model_and_an_included_file_is_read_once(tmp_path: Path) -> None:
    [line] = file_problems(tmp_path)
    assert_names(line, tmp_path, "folder")
    (tmp_path / "a.xml").write_text('<mujoco><include file="b.xml"/></mujoco>')
    (tmp_path / "b.xml").write_text('<mujocoinclude><include file="a.xml"/></mujocoinclude>')
    assert file_problems(tmp_path / "a.xml") == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"default_joint_pos": (0.0,)}, ("default_joint_pos", "1", "2")),
        ({"joints": ("elbow", "elbow")}, ("joints", "elbow")),
        ({"stiffness": (20.0, 0.0)}, ("stiffness", "elbow")),
        ({"damping": (1.0, float("nan"))}, ("damping", "elbow")),
        ({"mjcf": "arm.xml"}, ("mjcf", "Path")),
    ],
)
def test_a_robot_that_contradicts_itself_is_named(changes: dict[str, Any], named: tuple[str, ...]) -> None:
    [line] = replace(load("reach_arm"), **changes).problems()
    assert_names(line, *named)


def test_sensors_named_after_another_foot_are_named(tmp_path: Path) -> None:
    go2 = load("go2")
    text = go2.mjcf.read_text().replace("../scene.xml", str(go2.mjcf.parents[1] / "scene.xml"))
    text = text.replace('"contact_FL_foot" geom2="FL_foot"', '"contact_FL_foot" geom2="FR_foot"')
    (tmp_path / "go2.xml").write_text(
        text.replace('"vel_RL_foot" objtype="site" objname="RL', '"vel_RL_foot" objtype="site" objname="RR')
    )
    lines = "\n".join(model_problems(model_of(go2, tmp_path / "go2.xml"), go2))
    assert_names(lines, "contact_FL_foot", "FR_foot", "vel_RL_foot", "RR_foot_site")


def test_missing_contact_sensors_are_named() -> None:
    arm = load("reach_arm")
    lines = model_problems(model_of(arm), replace(arm, feet=("paw",), fall_bodies=("forearm",)))
    for line, sensor in zip(lines, ("contact_paw", "contact_forearm", "pos_paw", "vel_paw"), strict=True):
        assert_names(line, sensor)
