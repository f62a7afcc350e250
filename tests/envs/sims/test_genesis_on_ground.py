"""The Genesis world on uneven ground: the ground stood upon is the one that tasks read, and its state is complete."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from helpers.uneven_ground import assert_it_is_restored, assert_it_is_stood_upon, small_ground
from regimen.envs.robots.robot import load

pytestmark = [  # not importorskip: to import Genesis takes seconds, and has effects on what is imported later
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(find_spec("genesis") is None, reason="Genesis is not installed: make genesis"),
]

N = 8
GO2 = load("go2")
TERRAIN = small_ground()
REST = torch.tensor([i for i in range(N) if i != 1])


@pytest.fixture(scope="module")
def go2():
    from regimen.envs.sims.genesis import GenesisWorld
    from regimen.envs.sims.genesis_scene import GenesisWorldCfg

    torch.set_num_threads(1)
    world = GenesisWorld(GenesisWorldCfg(render_size=[320, 240]), GO2, N, 1, TERRAIN.ground)
    yield world
    world.close()


def surface_points(world) -> torch.Tensor:
    """Places on the ground where robots touch it: a contact lies half its depth from either surface, (n, 3) m."""
    from regimen.envs.sims.genesis_scene import view

    solver, state = world.scene.rigid_solver, "collider.collider_state"
    count = view(solver, f"{state}.n_contacts")
    valid = torch.arange(int(count.max())) < count[:, None]
    names = ("pos", "penetration", "normal")
    found = (view(solver, f"{state}.contact_data.{name}", transpose=True)[:, : valid.shape[1]] for name in names)
    places, depths, normals = (values[valid] for values in found)
    return places + 0.5 * depths[:, None] * normals


def test_the_ground_stood_upon_is_the_one_that_a_task_reads(go2):
    assert_it_is_stood_upon(go2, GO2, TERRAIN, surface_points, contacts=100, most=1e-3)


def test_feet_carry_the_weight_and_friction_is_that_of_the_robot(go2):
    border = TERRAIN.ground.start[1] + 0.5
    flat = torch.tensor([[0.0, border, GO2.spawn_height, 1.0, 0.0, 0.0, 0.0]] * N)
    pose = torch.tensor([GO2.default_joint_pos] * N)
    go2.reset(torch.arange(N), flat, torch.zeros(N, 6), pose, torch.zeros_like(pose))
    go2.set_joint_targets(pose)
    go2.step(400)
    before = go2.read()
    feet = [go2.bodies.index(foot) for foot in GO2.feet]
    assert before.contact_force[0, feet].sum().item() == pytest.approx(GO2.total_mass * 9.81, rel=0.1)
    go2.set_friction(torch.arange(N), torch.tensor([0.8, 0.05] + [0.8] * (N - 2)))
    go2.push(torch.arange(N), torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * N))
    go2.step(60)
    travelled = go2.read().root_pos[:, 0] - before.root_pos[:, 0]
    assert travelled[1] > 1.3 * travelled[REST].max()
    go2.set_friction(torch.arange(N), torch.full((N,), 0.8))


def test_state_restores_bit_for_bit(go2):
    assert_it_is_restored(go2, GO2, TERRAIN)
