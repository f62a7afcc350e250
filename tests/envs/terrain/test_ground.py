"""Tiles of each kind, and heights between their points as the simulator has them."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from helpers.messages import raises_naming
from regimen.config.task_schema import TerrainCfg, TerrainKindCfg
from regimen.envs.robots.model_check import compile_model
from regimen.envs.robots.robot import load
from regimen.envs.sims.ground_window import GroundWindow
from regimen.envs.terrain.grid import Terrain, build_terrain
from regimen.envs.terrain.height_field import HeightField
from regimen.system.errors import ConfigError

KINDS: dict[str, dict[str, Any]] = {
    "flat": {},
    "random_rough": {"height": [0.02, 0.1]},
    "slope": {"incline": [0.1, 0.4]},
    "stairs": {"step_height": [0.05, 0.2]},
    "obstacles": {"height": [0.05, 0.2]},
    "stepping_stones": {"stone": [1.0, 0.4], "gap": [0.1, 0.3]},
    "gap": {"width": [0.1, 0.6]},
    "waves": {"height": [0.05, 0.3]},
    "boxes": {"height": [0.05, 0.2]},
}
STARTS_AT = {"slope": 3.2 * 0.4, "stairs": 10 * 0.2}
"""Heights of the platform in m at the highest level."""


def ground(*kinds: str, **settings: Any) -> Terrain:
    """Two levels of some kinds, a column each."""
    used = {name: TerrainKindCfg(func=name, params=KINDS[name]) for name in kinds}
    cfg = TerrainCfg(**{"kinds": used, "levels": 2, "columns": len(kinds), "border": 1.0, **settings})
    assert cfg.problems() == []
    terrain = build_terrain(cfg)
    assert terrain.ground.heights.shape == cfg.points
    return terrain


def tile(terrain: Terrain, level: int, column: int = 0) -> np.ndarray:
    """The points of a tile; the border is 10 points wide, a tile 80."""
    return terrain.ground.heights[10 + 80 * level : 90 + 80 * level, 10 + 80 * column : 90 + 80 * column].numpy()


def test_a_height_is_that_which_a_ray_of_the_simulator_meets() -> None:
    terrain = ground(*KINDS)
    model = compile_model(load("go2"), ground=terrain.ground)
    data = mujoco.MjData(model)
    data.qpos[2] = 50.0
    mujoco.mj_forward(model, data)
    places = np.random.default_rng(0).uniform(terrain.ground.start, terrain.ground.end, (1500, 2))
    hit, down = np.zeros(1, np.int32), np.array([0.0, 0.0, -1.0])
    seen = [5.0 - mujoco.mj_ray(model, data, np.array([*at, 5.0]), down, None, 1, -1, hit, None) for at in places]
    found = terrain.ground.at(torch.tensor(places, dtype=torch.float32))
    assert np.abs(found.numpy() - seen).max() < 1e-4


def test_beyond_the_edge_the_ground_has_the_height_of_the_edge() -> None:
    field = HeightField(torch.arange(12.0).view(3, 4), cell=0.5, start=(-1.0, 2.0))
    corners = torch.tensor([[-9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [9.0, 9.0], [-1.0, 2.0], [0.0, 3.5]])
    assert field.at(corners).tolist() == [0.0, 8.0, 3.0, 11.0, 0.0, 11.0] and field.end == (0.0, 3.5)
    assert field.at(torch.full((2, 3), torch.nan)).isnan().all(), "a robot that diverged is found by its state"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_harder_at_a_higher_level_and_flat_where_robots_start(kind: str) -> None:
    easy, hard = (tile(ground(kind), level) for level in (0, 1))
    assert np.ptp(hard) > np.ptp(easy) or kind in ("flat", "stepping_stones", "gap"), "gaps grow wider, not deeper"
    for heights in (easy, hard):
        if kind not in ("random_rough", "waves"):
            assert np.ptp(heights[36:45, 36:45]) == 0.0
            edge = [heights[0], heights[-1], heights[:, 0], heights[:, -1]]
            assert np.abs(edge).max() == 0.0 or kind == "boxes"
    assert hard[40, 40] == pytest.approx(STARTS_AT.get(kind, 0.0), abs=0.11)


def test_steps_have_the_height_and_the_width_that_were_asked_for() -> None:
    profile = tile(ground("stairs"), 1)[:, 40]
    risers = np.flatnonzero(np.diff(profile[:41]))
    assert np.diff(profile[:41])[risers] == pytest.approx(0.2, abs=1e-6) and set(np.diff(risers)) == {3}
    cfg = TerrainKindCfg(func="stairs", params={"step_height": [0.05, 0.2], "inverted": True})
    down = ground("stairs", kinds={"down": cfg})
    assert np.array_equal(tile(down, 1), -tile(ground("stairs"), 1))
    assert float(down.origins[1, 0, 2]) == pytest.approx(-2.0), "robots start at the bottom"


def test_gaps_are_wider_at_a_higher_level() -> None:
    share = [(tile(ground(kind), level) < -0.4).mean() for kind in ("gap", "stepping_stones") for level in (0, 1)]
    assert 0.0 < share[0] < share[1] and 0.0 < share[2] < share[3]


def test_the_seed_decides_and_a_tile_does_not_depend_on_the_others() -> None:
    one, again, other = (ground("boxes", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.ground.heights, again.ground.heights)
    assert not torch.equal(one.ground.heights, other.ground.heights)
    beside = ground("boxes", "random_rough", seed=0)
    assert np.array_equal(tile(beside, 1), tile(one, 1))


@pytest.mark.parametrize(
    ("shares", "columns"),
    [
        ({"a": 1.0, "b": 3.0}, ["a", "b", "b", "b"]),
        ({"a": 1.0, "b": 0.0, "c": 1.0}, ["a", "a", "c"]),
        ({"a": 1.0}, ["a", "a", "a"]),
        ({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}, ["a", "b", "b", "c", "c", "c", "d", "d", "d", "d"]),
    ],
)
def test_columns_are_shared_by_proportion(shares: dict[str, float], columns: list[str]) -> None:
    kinds = {name: TerrainKindCfg(func="flat", proportion=share) for name, share in shares.items()}
    assert TerrainCfg(kinds={**kinds, "off": None}, columns=len(columns)).column_kinds() == columns


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ({"func": "stairz"}, ["stairz", "stairs"]),
        ({"func": "stairs", "params": {"step_height": [0.1, 0.2], "step_hight": 1.0}}, ["odd", "step_hight"]),
        ({"func": "stairs", "params": {"step_height": [0.1]}}, ["easy", "hard"]),
        ({"func": f"{__name__}:too_small"}, ["odd", "80"]),
    ],
)
def test_a_bad_kind_is_refused_by_name(kind: dict[str, Any], names: list[str]) -> None:
    with raises_naming(ConfigError, *names):
        ground("flat", kinds={"odd": TerrainKindCfg(**kind)})


def too_small(tile: object, difficulty: float) -> np.ndarray:
    """A kind of a user that returns heights of another shape."""
    return np.zeros((3, 3))


def test_a_model_without_one_floor_cannot_have_uneven_ground() -> None:
    spec = mujoco.MjSpec.from_string("<mujoco><worldbody><geom type='sphere' size='1'/></worldbody></mujoco>")
    from regimen.envs.robots.model_check import lay_ground

    with raises_naming(ConfigError, "go2", "0"):
        lay_ground(spec, ground("flat").ground, load("go2"))


def test_a_picture_has_the_ground_around_the_robot_and_moves_with_it() -> None:
    terrain = ground("stairs", "boxes", levels=6, columns=8)
    window = GroundWindow(load("go2"), terrain.ground)
    model = compile_model(load("go2"), ground=terrain.ground)
    whole, hit, down = mujoco.MjData(model), np.zeros(1, np.int32), np.array([0.0, 0.0, -1.0])
    for place in ([-20.0, -25.0], [-19.0, -25.0], [20.0, 25.0]):
        whole.qpos[:3] = [*place, 5.0]
        part = window.at(whole)
        above = np.array([*place, 4.0])
        seen = 4.0 - mujoco.mj_ray(window.model, part, above, down, None, 1, -1, hit, None)
        assert seen == pytest.approx(float(terrain.ground.at(torch.tensor(place))), abs=1e-4)
        assert window.moved is (place != [-19.0, -25.0]), "a metre further the same part is drawn"
        window.moved = False
