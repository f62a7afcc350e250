"""The Isaac Lab world on uneven ground: the ground stood upon is the one that tasks read, and its state is complete.

`tests/end_to_end/test_isaaclab_world.py` runs these tests in the interpreter of `make isaaclab`.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from helpers.uneven_ground import assert_it_is_restored, assert_it_is_stood_upon, small_ground
from regimen.envs.robots.robot import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("isaaclab") is None, reason="this Python has no Isaac Lab: make isaaclab"),
]

N = 8
GO2 = load("go2")
TERRAIN = small_ground()


@pytest.fixture(scope="module")
def go2():
    from regimen.envs.isaaclab.world import IsaacLabWorld, IsaacLabWorldCfg

    torch.set_num_threads(1)
    world = IsaacLabWorld(IsaacLabWorldCfg(render_size=[320, 240]), GO2, N, 1, TERRAIN.ground)
    yield world
    world.close()


def surface_points(world) -> torch.Tensor:
    """Places on the ground where robots touch it: a contact lies half its depth from either surface, (n, 3) m."""
    data = world.newton.manager._solver.mjw_data
    contact, count = data.contact, int(data.nacon.numpy()[0])
    places, normals, depths = (world.newton.tensor(a)[:count] for a in (contact.pos, contact.frame, contact.dist))
    return places - 0.5 * depths[:, None] * normals.reshape(count, 3, 3)[:, 0]


def test_the_ground_stood_upon_is_the_one_that_a_task_reads(go2):
    assert_it_is_stood_upon(go2, GO2, TERRAIN, surface_points, contacts=200, most=1e-4)


def test_state_restores_bit_for_bit(go2):
    assert_it_is_restored(go2, GO2, TERRAIN)
