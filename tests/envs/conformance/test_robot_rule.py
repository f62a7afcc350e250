"""The checker's rule on the robot finds joints driven crosswise, turned round, or with another gain or limit."""

from __future__ import annotations

import pytest
import torch

from helpers.messages import raises_naming
from helpers.point_env import PointEnv
from helpers.tasks import make_env
from regimen.envs.conformance.robot_rule import check_robot
from regimen.envs.conformance.rollouts import Probe
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.sims.mujoco import MujocoWorld
from regimen.system.errors import EnvContractError


def probe(spoil=lambda env: None) -> Probe:
    def make(num_envs: int) -> ManagerEnv:
        env = make_env("reach", num_envs)
        spoil(env)
        return env

    return Probe(make, 4, seed=0)


def crosswise(env: ManagerEnv) -> None:
    env.world.set_joint_targets = lambda targets: MujocoWorld.set_joint_targets(env.world, targets.flip(1))


def other_way(env: ManagerEnv) -> None:
    env.world.set_joint_targets = lambda targets: MujocoWorld.set_joint_targets(env.world, -targets)


def weak(env: ManagerEnv) -> None:
    gains = torch.tensor([[20.0, 4.0]]).repeat(env.num_envs, 1)
    env.world.set_gains(torch.arange(env.num_envs), gains, gains / 20)


def limited(env: ManagerEnv) -> None:
    env.world.set_effort_limits(torch.arange(env.num_envs), torch.tensor([[6.0, 20.0]]).repeat(env.num_envs, 1))


def test_a_robot_that_follows_its_targets_keeps_the_rule() -> None:
    assert "reach_arm" in check_robot(probe())
    assert "no robot" in check_robot(Probe(PointEnv, 4, seed=0))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (crosswise, ("shoulder", "elbow")),
        (other_way, ("shoulder",)),
        (weak, ("stiffness", "elbow")),
        (limited, ("effort_limit", "shoulder")),
    ],
)
def test_a_sim_that_drives_it_otherwise_is_named(spoil, named: tuple[str, ...]) -> None:
    with raises_naming(EnvContractError, *named):
        check_robot(probe(spoil))
