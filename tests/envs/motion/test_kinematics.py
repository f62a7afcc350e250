"""Forward kinematics in torch against MuJoCo's."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import torch

from helpers.messages import raises_naming
from regimen.envs.motion.kinematics import Kinematics
from regimen.envs.robots.model_check import compile_model
from regimen.envs.robots.robot import load
from regimen.system.errors import ConfigError


@pytest.mark.parametrize("name", ["humanoid", "go2", "h1", "k1"])
def test_bodies_are_where_mujoco_has_them(name: str) -> None:
    robot = load(name)
    model = compile_model(robot)
    data = mujoco.MjData(model)
    base = model.body(robot.base_body).id
    bodies = [model.body(i).name for i in range(base, model.nbody)]
    angles = np.random.default_rng(0).uniform(-1.5, 1.5, (5, len(robot.joints)))
    found = Kinematics(robot, bodies, torch.device("cpu"), torch.float64).positions(torch.from_numpy(angles))
    for pose, here in zip(angles, found.numpy(), strict=True):
        data.qpos[:7], data.qpos[7:] = (0, 0, 0, 1, 0, 0, 0), pose
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(here, data.xpos[base:], atol=1e-12)


def test_some_bodies_alone_are_where_they_are_among_all() -> None:
    robot, device = load("humanoid"), torch.device("cpu")
    angles = torch.rand(7, 28)
    all_bodies = ["left_foot", "head", "right_hand", "left_shin"]
    together = Kinematics(robot, all_bodies, device).positions(angles)
    for k, body in enumerate(all_bodies):
        torch.testing.assert_close(Kinematics(robot, [body], device).positions(angles)[:, 0], together[:, k])


def test_an_unknown_body_is_named() -> None:
    with raises_naming(ConfigError, "left_fot", "left_foot", "humanoid"):
        Kinematics(load("humanoid"), ["left_fot"], torch.device("cpu"))
