"""The robots: the figures add up, the model agrees with its description, and it stands on its feet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from helpers.messages import raises_naming
from regimen.envs.robots.robot import available, load, match, per_joint
from regimen.system.errors import ConfigError

LEGGED = ("go2", "h1", "humanoid", "k1")


def model_of(name: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(load(name).mjcf))


def standing(name: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    robot, model = load(name), model_of(name)
    data = mujoco.MjData(model)
    data.qpos[2] = robot.spawn_height
    data.qpos[7:] = data.ctrl[:] = robot.default_joint_pos
    mujoco.mj_forward(model, data)
    return model, data


def step(model: mujoco.MjModel, data: mujoco.MjData, seconds: float) -> None:
    mujoco.mj_step(model, data, nstep=round(seconds / model.opt.timestep))


@pytest.mark.parametrize("name", available())
def test_the_model_agrees_with_its_description(name: str) -> None:
    robot, model = load(name), model_of(name)
    hinges = [model.joint(i) for i in range(model.njnt) if model.joint(i).type[0] == mujoco.mjtJoint.mjJNT_HINGE]
    assert tuple(joint.name for joint in hinges) == robot.joints
    assert tuple(model.actuator(i).name for i in range(model.nu)) == robot.joints
    assert [model.actuator(i).trnid[0] for i in range(model.nu)] == [joint.id for joint in hinges]
    np.testing.assert_allclose(model.actuator_gainprm[:, 0], robot.stiffness)
    np.testing.assert_allclose(-model.actuator_biasprm[:, 1], robot.stiffness)
    np.testing.assert_allclose(-model.actuator_biasprm[:, 2], robot.damping)
    np.testing.assert_allclose(model.actuator_forcerange[:, 1], robot.effort_limit)
    np.testing.assert_allclose(model.actuator_forcerange[:, 0], -np.array(robot.effort_limit))
    np.testing.assert_allclose([joint.armature[0] for joint in hinges], robot.armature)
    assert model.actuator_forcelimited.all()
    assert all(joint.limited[0] for joint in hinges)
    assert (model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE) == robot.floating_base


@pytest.mark.parametrize("name", available())
def test_masses_and_inertias_are_sound(name: str) -> None:
    robot, model = load(name), model_of(name)
    assert model.body_mass.sum() == pytest.approx(robot.total_mass, abs=1e-3)
    inertia = np.sort(model.body_inertia[1:], axis=1)
    assert (inertia > 0).all()
    assert (inertia[:, 0] + inertia[:, 1] >= inertia[:, 2] * (1 - 1e-3)).all()


@pytest.mark.parametrize("name", available())
def test_the_default_pose_is_within_the_ranges(name: str) -> None:
    robot, model = load(name), model_of(name)
    limits = np.array([model.joint(joint).range for joint in robot.joints])
    assert (limits[:, 0] <= robot.default_joint_pos).all()
    assert (limits[:, 1] >= robot.default_joint_pos).all()


@pytest.mark.parametrize("name", LEGGED)
def test_it_spawns_a_centimetre_above_the_ground(name: str) -> None:
    robot = load(name)
    model, data = standing(name)
    assert data.ncon == 0
    heights = [data.sensor(f"pos_{foot}").data[2] for foot in robot.feet]
    assert max(heights) - min(heights) < 0.03
    data.qpos[2] -= 0.016
    mujoco.mj_forward(model, data)
    touching = {foot for foot in robot.feet if data.sensor(f"contact_{foot}").data[0] > 0}
    assert touching


def test_go2_stands_on_its_feet_alone() -> None:
    robot = load("go2")
    model, data = standing("go2")
    step(model, data, 2.0)
    assert data.body("base").xmat[8] > 0.99
    assert data.qpos[2] > 0.25
    forces = np.array([data.sensor(f"contact_{foot}").data for foot in robot.feet])
    assert (forces[:, 0] > 0).all()
    assert forces[:, 3].sum() == pytest.approx(robot.total_mass * 9.81, rel=0.05)
    assert data.sensor("contact_base").data[0] == 0


@pytest.mark.parametrize(
    ("name", "torso", "holds_s"), [("h1", "torso_link", 0.5), ("humanoid", "torso", 0.5), ("k1", "Trunk", 0.25)]
)
def test_a_humanoid_holds_itself_for_a_while_and_then_its_fall_is_seen(name: str, torso: str, holds_s: float) -> None:
    robot = load(name)
    model, data = standing(name)
    step(model, data, 0.5)
    forces = np.array([data.sensor(f"contact_{foot}").data for foot in robot.feet])
    assert (forces[:, 0] > 0).all()
    assert forces[:, 3].sum() == pytest.approx(robot.total_mass * 9.81, rel=0.15)
    step(model, data, holds_s)
    assert data.body(torso).xmat[8] > 0.9
    assert all(data.sensor(f"contact_{body}").data[0] == 0 for body in robot.fall_bodies)
    step(model, data, 2.0)
    assert any(data.sensor(f"contact_{body}").data[0] > 0 for body in robot.fall_bodies)


@pytest.mark.parametrize(
    ("name", "left", "right", "figures"),
    [
        ("go2", "L_", "R_", 1e-9),
        ("h1", "left_", "right_", 1e-9),
        ("humanoid", "left_", "right_", 1e-9),
        ("k1", "Left_", "Right_", 5e-4),
    ],  # K1's were measured
)
def test_left_and_right_mirror_each_other(name: str, left: str, right: str, figures: float) -> None:
    model = model_of(name)
    pairs = [(b, b.replace(left, right)) for b in (model.body(i).name for i in range(model.nbody)) if left in b]
    assert pairs
    flip = np.array([1, -1, 1])
    for one, other in pairs:
        a, b = model.body(one), model.body(other)
        np.testing.assert_allclose(a.pos, b.pos * flip, atol=1e-9)
        np.testing.assert_allclose(a.ipos, b.ipos * flip, atol=figures)
        np.testing.assert_allclose(a.mass, b.mass)
        np.testing.assert_allclose(a.inertia, b.inertia, rtol=max(1e-4, 20 * figures))


@pytest.mark.parametrize("name", LEGGED)
def test_the_declared_mirror_image_is_that_of_the_model(name: str) -> None:
    robot, model = load(name), model_of(name)
    assert robot.mirror is not None
    image = robot.mirror.joints(robot.joints)
    assert image is not None
    order, signs = image[0], np.array(image[1])
    joints = [model.joint(joint) for joint in robot.joints]
    # An axis is that of a turning: of its image the x and z point the other way.
    np.testing.assert_allclose([j.axis @ (-1, 1, -1) for j in joints], signs * [j.axis.sum() for j in joints])
    np.testing.assert_allclose(signs * np.array(robot.default_joint_pos)[order], robot.default_joint_pos)
    ranges = signs[:, None] * [joints[i].range for i in order]
    np.testing.assert_allclose(np.sort(ranges, axis=1), [j.range for j in joints])
    for figures in (robot.stiffness, robot.damping, robot.effort_limit, robot.armature):
        assert [figures[i] for i in order] == list(figures)


def test_reach_arm_reaches_what_it_is_told() -> None:
    model = model_of("reach_arm")
    data = mujoco.MjData(model)
    data.ctrl[:] = [0.5, 1.0]
    step(model, data, 2.0)
    expected = 0.3 * np.array([np.cos(0.5) + np.cos(1.5), np.sin(0.5) + np.sin(1.5)])
    np.testing.assert_allclose(data.sensor("pos_tip").data[:2], expected, atol=1e-3)


def test_importing_robots_loads_nothing_heavy() -> None:
    code = "import sys, regimen.envs.robots.robot as r; [r.load(n) for n in r.available()]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"mujoco", "torch", "numpy"} & set(loaded)


def test_an_unknown_robot_is_answered_with_the_nearest() -> None:
    with raises_naming(ConfigError, "go3", "go2"):
        load("go3")


def test_a_robot_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "from dataclasses import replace",
        "from regimen.envs.robots.robot import load",
        "MINE = replace(load('go2'), name='mine')",
    )
    (tmp_path / "my_robots.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load("my_robots:MINE").name == "mine"
    with raises_naming(ConfigError, "my_robots:YOURS", "package.module:NAME"):
        load("my_robots:YOURS")
    with raises_naming(ConfigError, "my_robots:load", "function", "regimen.envs.robots.Robot"):
        load("my_robots:load")


def test_patterns() -> None:
    joints = ("left_hip", "right_hip", "torso")
    assert match(joints, "torso", ".*_hip") == joints
    assert per_joint(joints, {".*_hip": 1.0, "torso": 2.0}) == (1.0, 1.0, 2.0)
    assert load("h1").joint_ids("right_knee") == (8,)
    with raises_naming(ConfigError, "knee", *joints):
        match(joints, "knee")
    with raises_naming(ConfigError, "torso", "('.*_hip',)"):
        per_joint(joints, {".*_hip": 1.0})
    with raises_naming(ConfigError, "torso", "('.*', 'torso')"):
        per_joint(joints, {".*": 1.0, "torso": 2.0})
