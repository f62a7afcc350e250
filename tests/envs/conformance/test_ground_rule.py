"""The checker's rule on uneven ground finds a simulator whose ground is not the one that the task reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env
from regimen.envs.conformance.ground_rule import check_ground
from regimen.envs.conformance.rollouts import Probe
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.robots.robot import load
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg
from regimen.envs.terrain.height_field import HeightField
from regimen.system.errors import EnvContractError

Change = Callable[[torch.Tensor], torch.Tensor]

STAIRS = {"func": "stairs", "params": {"step_height": [0.1, 0.15], "inverted": True}}
HILL = {"func": "slope", "params": {"incline": [0.2, 0.4]}}
GROUND = {"kinds": {"stairs": STAIRS, "hill": HILL}, "levels": 2, "columns": 2, "border": 2.0}


def probe(task: str = "go2_flat", change: Change | None = None, **settings: object) -> Probe:
    """A probe of a task in a simulator whose ground has changed heights."""

    def make(num_envs: int) -> ManagerEnv:
        env = make_env(task, num_envs, **settings)
        if change is not None:
            assert env.terrain is not None
            ground: HeightField = env.terrain.terrain.ground
            other = replace(ground, heights=change(ground.heights).contiguous())
            env.world = MujocoWorld(MujocoWorldCfg(), load("go2"), num_envs, 1, other)
        return env

    return Probe(make, 4, seed=0)


def test_robots_that_stand_on_the_ground_keep_the_rule() -> None:
    assert "2 kinds" in check_ground(probe(terrain=GROUND))
    assert "2 kinds" in check_ground(probe("h1_flat", terrain=GROUND))


@pytest.mark.parametrize("task", ["go2_flat", "reach"])
def test_there_is_nothing_to_compare_on_flat_ground_or_without_feet(task: str) -> None:
    assert "flat" in check_ground(probe(task))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda heights: heights + 0.2, ["above", "stairs"]),
        (lambda heights: heights - 0.2, ["below", "stairs"]),
        (lambda heights: heights.flip(0), ["below", "stairs"]),  # the deeper pit is in the place of the other
        (lambda heights: heights.flip(1), ["above", "stairs"]),  # the hill is in the place of the pit
    ],
)
def test_other_ground_in_the_simulator_is_found(change: Change, named: list[str]) -> None:
    with raises_naming(EnvContractError, "foot", *named):
        check_ground(probe(change=change, terrain=GROUND))
