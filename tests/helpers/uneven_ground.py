"""Small uneven ground for tests of simulators, and robots that are let go above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from regimen.config.task_schema import TerrainCfg, TerrainKindCfg
from regimen.envs.terrain.grid import Terrain, build_terrain
from regimen.envs.terrain.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Callable

    from regimen.envs.robots.robot import Robot

KINDS: dict[str, dict[str, Any]] = {
    "random_rough": {"height": [0.02, 0.08]},
    "slope": {"incline": [0.1, 0.4]},
    "stairs": {"step_height": [0.05, 0.15]},
    "obstacles": {"height": [0.05, 0.15]},
}


def small_ground() -> Terrain:
    """Two levels of four kinds of 4 m, as no mirror image of it is."""
    kinds = {name: TerrainKindCfg(func=name, params=params) for name, params in KINDS.items()}
    cfg = TerrainCfg(kinds=kinds, levels=2, columns=len(kinds), tile_size=4.0, border=1.0)
    assert cfg.problems() == []
    return build_terrain(cfg)


def let_go(world: Any, robot: Robot, terrain: Terrain, seed: int = 0) -> None:
    """Put robots above places of all tiles, each turned by some angle, and let the joints hold the default pose."""
    n, draw = world.num_envs, torch.Generator().manual_seed(seed)
    placement = Placement(terrain, n, torch.device("cpu"))
    placement.fix([i % terrain.levels for i in range(n)], [i // terrain.levels % terrain.columns for i in range(n)])
    pose = torch.zeros(n, 7)
    pose[:, 2] = robot.spawn_height
    pose[:, :2] = (torch.rand(n, 2, generator=draw) - 0.5) * 0.7 * terrain.tile_size
    half_turn = torch.rand(n, generator=draw) * torch.pi
    pose[:, 3], pose[:, 6] = half_turn.cos(), half_turn.sin()
    start, ids = torch.tensor([robot.default_joint_pos] * n), torch.arange(n)
    world.reset(ids, placement.place(ids, pose), torch.zeros(n, 6), start, torch.zeros_like(start))
    world.set_joint_targets(start)


def distance_from_ground(terrain: Terrain, points: torch.Tensor) -> torch.Tensor:
    """Return how far points (n, 3) are above or below the ground that a task reads, (n,) m."""
    return (points[:, 2] - terrain.ground.at(points)).abs()


def assert_it_is_stood_upon(
    world: Any, robot: Robot, terrain: Terrain, touched: Callable[[Any], torch.Tensor], contacts: int, most: float
) -> None:
    """Let robots fall, and compare where they touch the ground, and where their feet are, with what a task reads.

    Args:
        world: the simulator.
        robot: its robot.
        terrain: its ground.
        touched: simulator -> places on the ground where robots touch it, (n, 3) m.
        contacts: the fewest that show anything.
        most: distance in m of 95 % of them at most.
    """
    let_go(world, robot, terrain)
    world.step(60)
    found = []
    for _ in range(10):
        world.step(4)
        found.append(distance_from_ground(terrain, touched(world)))
    off = torch.cat(found)
    assert len(off) > contacts
    assert off.median() < 1e-6 and off.quantile(0.95) < most
    state = world.read()
    assert (state.site_pos[..., 2] - terrain.ground.at(state.site_pos)).min() > -0.02


def assert_it_is_restored(world: Any, robot: Robot, terrain: Terrain) -> None:
    """Save robots in motion on the ground, let others go, and restore: the same steps have the same results."""
    let_go(world, robot, terrain, seed=1)
    world.step(40)
    saved = world.state_dict()
    world.step(20)
    expected = world.read().tensors()
    let_go(world, robot, terrain, seed=2)
    world.step(10)
    world.load_state_dict(saved)
    world.step(20)
    assert all(torch.equal(expected[name], values) for name, values in world.read().tensors().items())
