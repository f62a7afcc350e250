"""The world of MuJoCo Warp on uneven ground: the ground stood upon is the one that tasks read, and as in MuJoCo."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

from helpers.uneven_ground import assert_it_is_restored, assert_it_is_stood_upon, small_ground
from regimen.envs.robots.robot import load
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg
from regimen.envs.sims.world import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mujoco_warp") is None, reason="MuJoCo Warp is not installed: make mujoco_warp"),
]

N = 8
GO2 = load("go2")
TERRAIN = small_ground()


@pytest.fixture(scope="module")
def go2() -> Iterator[World]:
    from regimen.envs.sims.mujoco_warp import MujocoWarpWorld, MujocoWarpWorldCfg

    torch.set_num_threads(1)
    world = MujocoWarpWorld(MujocoWarpWorldCfg(), GO2, N, 1, TERRAIN.ground)
    yield world
    world.close()


def surface_points(world) -> torch.Tensor:
    """Places on the ground where robots touch it: a contact lies half its depth from either surface, (n, 3) m."""
    import warp as wp

    data = world._batch._data
    count = int(wp.to_torch(data.nacon)[0])
    places, depths, frames = (wp.to_torch(getattr(data.contact, name))[:count] for name in ("pos", "dist", "frame"))
    # The normal leads from the first shape, the ground, to the robot; the distance is negative where they overlap.
    return (places - 0.5 * depths[:, None] * frames[:, 0])[depths < 0]


def test_the_ground_stood_upon_is_the_one_that_a_task_reads(go2: World) -> None:
    assert_it_is_stood_upon(go2, GO2, TERRAIN, surface_points, contacts=100, most=1e-3)


def test_robots_fall_as_in_mujoco(go2: World) -> None:
    cpu = MujocoWorld(MujocoWorldCfg(), GO2, N, 1, TERRAIN.ground)
    poses = torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]] * N)
    poses[:, 0] = torch.linspace(-1.5, 1.5, N)
    poses[:, 2] = TERRAIN.ground.at(poses[:, :2]) + GO2.spawn_height
    pose = torch.tensor([GO2.default_joint_pos] * N)
    for world in (go2, cpu):
        world.reset(torch.arange(N), poses, torch.zeros(N, 6), pose, torch.zeros_like(pose))
        world.set_joint_targets(pose)
        world.step(60)
    ours, theirs = go2.read(), cpu.read()
    assert (theirs.contact_force.sum(1) > 20).all(), "they have landed"
    torch.testing.assert_close(ours.root_pos, theirs.root_pos, rtol=0, atol=5e-3)
    torch.testing.assert_close(ours.joint_pos, theirs.joint_pos, rtol=0, atol=5e-2)


def test_state_restores_bit_for_bit(go2: World) -> None:
    assert_it_is_restored(go2, GO2, TERRAIN)
