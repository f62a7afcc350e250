"""The same model of a motor on Genesis as on MuJoCo: the same torque in the same state."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from regimen.config.task_schema import ActuatorCfg
from regimen.envs.actuators.world import with_actuators
from regimen.envs.robots.robot import load
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(find_spec("genesis") is None, reason="Genesis is not installed: make genesis"),
]

N, ALL, GO2 = 3, torch.arange(3), load("go2")
DRIVEN = [joint for joint in GO2.joints if "hip" not in joint]
MOTOR = {"legs": ActuatorCfg("dc_motor", {"velocity_limit": 10.0}, [".*_thigh_joint", ".*_calf_joint"], (1, 1))}


def test_the_same_torque_in_the_same_state() -> None:
    from regimen.envs.sims.genesis import GenesisWorld
    from regimen.envs.sims.genesis_scene import GenesisWorldCfg

    torch.set_num_threads(1)
    genesis = GenesisWorld(GenesisWorldCfg(), GO2, N, 1, torque_joints=DRIVEN)
    mujoco = MujocoWorld(MujocoWorldCfg(), GO2, N, 1, torque_joints=DRIVEN)
    worlds = [with_actuators(sim, MOTOR, GO2, torch.rand) for sim in (mujoco, genesis)]
    draws = torch.Generator().manual_seed(0)
    pose = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]] * N)
    start = torch.tensor([GO2.default_joint_pos] * N)
    hips = torch.tensor(["hip" in joint for joint in GO2.joints])
    worlds[0].reset(ALL, pose, torch.zeros(N, 6), start, torch.zeros(N, 12))
    for _ in range(10):
        targets = start + 0.5 * torch.randn(N, 12, generator=draws)
        state = mujoco.read()
        root = torch.cat((state.root_pos, state.root_quat), 1), torch.cat((state.root_lin_vel, state.root_ang_vel), 1)
        readings = []
        for world in worlds:
            world.reset(ALL, *root, state.joint_pos, state.joint_vel)
            world.set_joint_targets(targets)
            world.step(2)
            readings.append(world.read())
        one, other = readings
        assert (one.joint_torque[:, ~hips].abs() > 1.0).float().mean() > 0.5
        torch.testing.assert_close(one.joint_torque[:, ~hips], other.joint_torque[:, ~hips], atol=0.3, rtol=0.05)
        apart = (one.joint_vel - other.joint_vel).abs().mean()
        assert apart < 0.15 * one.joint_vel.abs().mean(), "and moves the robot alike"
    worlds[1].set_effort_limits(ALL, torch.full((N, 12), 2.0))
    worlds[1].step(5)
    assert float(genesis.read().joint_torque.abs().max()) <= 2.0 + 1e-4
    genesis.close()
