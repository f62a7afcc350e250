"""The rule on uneven ground: robots stand on the heights that the task reads, on every kind of tile."""

from __future__ import annotations

from typing import Any

import torch

from regimen.envs.conformance.rollouts import Probe, expect
from regimen.envs.vec_env import task_below

FALL_S, STAND_S = 0.3, 0.4
"""Time in which robots fall from where they are placed, and in which their feet are then compared with the ground."""

AROUND_M = 0.15
"""The ground of a foot is all that is no further from its site along x and y: a sole may rest on a bump or an edge."""

PROBES = 7
"""Places along one side of that square whose height is read."""

AWAY = (0.25, 0.1)
"""Where robots are placed, in tile sizes from the middle of a tile along x and y: beside its platform."""

BELOW_M, ABOVE_M = 0.03, 0.08
"""How far a foot may be below the lowest and, where it touches the ground, above the highest of them."""


def check_ground(probe: Probe) -> str:
    """Robots put down on each kind of ground touch it with a foot, at the height that the task reads there."""
    with probe.open(1) as env:
        task = task_below(env)
        placement, robot = getattr(task, "terrain", None), getattr(task, "robot", None)
        if placement is None or robot is None or not robot.feet:
            return "flat ground, or no feet: nothing to compare"
        terrain = placement.terrain
        kinds = list(dict.fromkeys(terrain.kinds))
        tiles = [(kind, level) for kind in kinds for level in sorted({0, terrain.levels - 1})]
    with probe.open(len(tiles)) as env:
        task = task_below(env)
        task.terrain.fix([level for _, level in tiles], [terrain.kinds.index(kind) for kind, _ in tiles])
        _put_down(task)
        gap = _gaps(task)
    for row, (kind, level) in enumerate(tiles):
        where = f"on `{kind}` at level {level}"
        low, high = float(gap.least[row]), float(gap.most[row])
        expect(low > -BELOW_M, f"a foot is {-low:.3f} m below the ground that the task reads, {where}")
        expect(high < ABOVE_M, f"a foot touches something {high:.3f} m above the ground that the task reads, {where}")
    touched = gap.most > -float("inf")
    expect(
        2 * touched.sum() > len(tiles),
        f"in {FALL_S + STAND_S:g} s a foot touches the ground on {int(touched.sum())} of {len(tiles)} tiles only",
    )
    return f"feet stand on {len(kinds)} kinds of ground, at most {float(gap.most.max()) * 100:.1f} cm above the highest"


class _Gaps:
    """How feet stand to the ground around them, over a time.

    Attributes:
        least: (N,) m, height of the lowest foot above the lowest ground around it.
        most: (N,) m, height of the highest foot that touches above the highest ground around it; -inf where none does.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.least = torch.full((count,), float("inf"), device=device)
        self.most = torch.full((count,), -float("inf"), device=device)


def _put_down(task: Any) -> None:
    """Place all robots on their tiles in the default pose, at rest, and let them fall."""
    ids = torch.arange(task.num_envs, device=task.device)
    poses = task.default_root_pose.repeat(task.num_envs, 1)
    poses[:, :2] += torch.tensor(AWAY, device=task.device) * task.terrain.terrain.tile_size
    poses = task.terrain.place(ids, poses)
    start = task.default_joint_pos.repeat(task.num_envs, 1)
    still = torch.zeros(task.num_envs, 6, device=task.device)
    task.world.reset(ids, poses, still, start, torch.zeros_like(start))
    task.world.set_joint_targets(start)
    task.world.step(round(FALL_S / task.world.dt))


def _gaps(task: Any) -> _Gaps:
    world, gaps = task.world, _Gaps(task.num_envs, task.device)
    touching = [world.bodies.index(foot) for foot in task.robot.feet]
    sites = [world.sites.index(foot) for foot in task.robot.feet]
    side = torch.linspace(-AROUND_M, AROUND_M, PROBES, device=task.device)
    square = torch.cartesian_prod(side, side)
    for _ in range(round(STAND_S / task.step_dt)):
        world.step(task.cfg.decimation)
        state = world.read()
        feet = state.site_pos[:, sites]
        ground = task.terrain.ground.at(feet[:, :, None, :2] + square)
        above = torch.where(state.contact_force[:, touching] > 0.0, feet[..., 2] - ground.amax(2), -float("inf"))
        gaps.least = torch.minimum(gaps.least, (feet[..., 2] - ground.amin(2)).amin(1))
        gaps.most = torch.maximum(gaps.most, above.amax(1))
    return gaps
