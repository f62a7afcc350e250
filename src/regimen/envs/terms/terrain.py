"""Kinds of ground: functions of a tile and its difficulty that return the heights of its points, (n, n) float32 in m.

A pair `[easy, hard]` gives the value at difficulty 0 and 1. The first index counts along x. The edge of a tile has the
height 0, as far as its kind allows, so that neighbours meet; robots start in its middle, on a flat platform. Kinds and
their ranges follow those of legged_gym (Rudin et al. 2022, Learning to Walk in Minutes Using Massively Parallel Deep
Reinforcement Learning) and of Isaac Lab's `isaaclab.terrains`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.envs.terrain.tile import Tile


def between(pair: Sequence[float], difficulty: float) -> float:
    """Return the value of a pair `[easy, hard]` at a difficulty from 0 to 1.

    Raises:
        ConfigError: it has not two values.
    """
    if len(pair) != 2:
        raise ConfigError(f"terrain: {list(pair)}; expected [easy, hard].")
    return float(pair[0] + difficulty * (pair[1] - pair[0]))


def flat(tile: Tile, difficulty: float) -> np.ndarray:
    """Flat ground."""
    return tile.flat()


def random_rough(
    tile: Tile, difficulty: float, height: list[float], spacing: float = 0.2, step: float = 0.005
) -> np.ndarray:
    """Random heights, linear in between.

    Args:
        tile: to fill.
        difficulty: from 0 to 1.
        height: [easy, hard], largest height above and below 0 in m.
        spacing: distance between two random heights in m.
        step: heights are multiples of it, in m.
    """
    most, apart = between(height, difficulty), tile.count(spacing)
    knots = -(-(tile.points - 1) // apart) + 1
    values = tile.generator.uniform(-most, most, (knots, knots))
    values = np.round(values / step) * step if step > 0 else values
    return _linear(values, np.arange(tile.points) / apart).astype(np.float32)


def slope(
    tile: Tile, difficulty: float, incline: list[float], platform: float = 1.5, inverted: bool = False
) -> np.ndarray:
    """A pyramid without its top, or a pit.

    Args:
        tile: to fill.
        difficulty: from 0 to 1.
        incline: [easy, hard], height for each m of the way.
        platform: side length of the top or bottom in m.
        inverted: whether it is a pit.
    """
    heights = _up_to_platform(tile, tile.rings(), platform) * tile.cell * between(incline, difficulty)
    return (-heights if inverted else heights).astype(np.float32)


def stairs(
    tile: Tile,
    difficulty: float,
    step_height: list[float],
    step_width: float = 0.3,
    platform: float = 2.0,
    inverted: bool = False,
) -> np.ndarray:
    """Stairs up to a platform in the middle on all four sides, or down to it. Robots start on the platform.

    Args:
        tile: to fill.
        difficulty: from 0 to 1.
        step_height: [easy, hard] in m.
        step_width: in m.
        platform: side length of the platform in m.
        inverted: whether the platform is the lowest place, so that the way out leads up.
    """
    steps = _up_to_platform(tile, tile.rings(), platform) // tile.count(step_width)
    heights = steps * between(step_height, difficulty)
    return (-heights if inverted else heights).astype(np.float32)


def obstacles(
    tile: Tile,
    difficulty: float,
    height: list[float],
    width: tuple[float, float] = (0.3, 1.2),
    count: int = 40,
    platform: float = 1.5,
) -> np.ndarray:
    """Rectangles at random places, half of them raised and half of them sunk.

    Args:
        tile: to fill.
        difficulty: from 0 to 1.
        height: [easy, hard], of an obstacle in m.
        width: shortest and longest side in m.
        count: number of obstacles; they may overlap.
        platform: side length of the flat middle in m.
    """
    heights, size = tile.flat(), between(height, difficulty)
    sides = np.maximum(1, np.round(tile.generator.uniform(*width, (count, 2)) / tile.cell).astype(int))
    for number, (a, b) in enumerate(sides):
        x, y = (int(tile.generator.integers(1, max(2, tile.points - side - 1))) for side in (a, b))
        heights[x : min(x + a, tile.points - 1), y : min(y + b, tile.points - 1)] = size if number % 2 else -size
    heights[tile.middle(platform)] = 0.0
    return heights


def stepping_stones(
    tile: Tile,
    difficulty: float,
    stone: list[float],
    gap: list[float],
    height: float = 0.0,
    depth: float = 0.5,
    platform: float = 1.5,
) -> np.ndarray:
    """Square stones with gaps between them.

    Args:
        tile: to fill.
        difficulty: from 0 to 1.
        stone: [easy, hard], side length of a stone in m.
        gap: [easy, hard], distance between stones in m.
        height: largest height of a stone above and below 0 in m.
        depth: of the gaps in m.
        platform: side length of the flat middle in m.
    """
    wide, apart = tile.count(between(stone, difficulty)), tile.count(between(gap, difficulty))
    places = np.arange(tile.points)
    on_stone, number = places % (wide + apart) < wide, places // (wide + apart)
    tops = tile.generator.uniform(-height, height, (number[-1] + 1, number[-1] + 1))[np.ix_(number, number)]
    heights = np.where(on_stone[:, None] & on_stone[None, :], tops, -depth).astype(np.float32)
    heights[tile.middle(platform)] = 0.0
    heights[tile.rings() == 0] = 0.0
    return heights


def gap(tile: Tile, difficulty: float, width: list[float], depth: float = 0.5, platform: float = 2.0) -> np.ndarray:
    """A ditch around the platform in the middle.

    Args:
        tile: to fill.
        difficulty: from 0 to 1.
        width: [easy, hard], of the ditch in m.
        depth: of the ditch in m.
        platform: side length of the platform in m.
    """
    heights = tile.flat()
    heights[tile.middle(platform + 2.0 * between(width, difficulty))] = -depth
    heights[tile.middle(platform)] = 0.0
    return heights


def waves(tile: Tile, difficulty: float, height: list[float], length: float = 2.0) -> np.ndarray:
    """Waves along x and y.

    Args:
        tile: to fill.
        difficulty: from 0 to 1.
        height: [easy, hard], from valley to crest in m.
        length: of a wave in m.
    """
    phase = np.sin(2.0 * np.pi * np.arange(tile.points) * tile.cell / length)
    return (between(height, difficulty) / 4.0 * (phase[:, None] + phase[None, :])).astype(np.float32)


def boxes(tile: Tile, difficulty: float, height: list[float], width: float = 0.45, platform: float = 1.5) -> np.ndarray:
    """A grid of boxes side by side, each of a random height.

    Args:
        tile: to fill.
        difficulty: from 0 to 1.
        height: [easy, hard], largest height above and below 0 in m.
        width: side length of a box in m.
        platform: side length of the flat middle in m.
    """
    most, number = between(height, difficulty), np.arange(tile.points) // tile.count(width)
    heights = tile.generator.uniform(-most, most, (number[-1] + 1, number[-1] + 1))[np.ix_(number, number)]
    heights[tile.middle(platform)] = 0.0
    return heights.astype(np.float32)


def _up_to_platform(tile: Tile, rings: np.ndarray, platform: float) -> np.ndarray:
    """Return `rings` (n, n), which grow no further at the platform."""
    return np.minimum(rings, max(0, tile.points // 2 - tile.count(platform / 2)))


def _linear(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return (n, n) values between the knots (k, k) at the places (n,) along both axes, counted in knots."""
    low = np.minimum(places.astype(int), len(values) - 2)
    share = (places - low)[:, None]
    rows = values[low] * (1.0 - share) + values[low + 1] * share
    return rows[:, low] * (1.0 - share.T) + rows[:, low + 1] * share.T
