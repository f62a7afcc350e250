"""The ground of a task: tiles of each kind, easier ones at low x and harder ones at high x, and where robots start."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.config.targets import resolve
from regimen.envs.terrain.height_field import HeightField
from regimen.envs.terrain.tile import Tile
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from regimen.config.task_schema import TerrainCfg, TerrainKindCfg

PLATFORM = 1.0
"""Side length in m of the square in the middle of a tile on which a robot starts: above its highest point."""


@dataclass(frozen=True)
class Terrain:
    """The ground and its tiles: L levels of difficulty along x, C columns along y.

    Attributes:
        ground: heights.
        origins: (L, C, 3) m, middle of each tile; z is the height of the platform there.
        kinds: name of the kind of each column, C.
        tile_size: side length of a tile in m.
        start_level: highest level of the first episode.
    """

    ground: HeightField
    origins: torch.Tensor
    kinds: list[str]
    tile_size: float
    start_level: int

    @property
    def levels(self) -> int:
        """L."""
        return len(self.origins)

    @property
    def columns(self) -> int:
        """C."""
        return len(self.kinds)


def build_terrain(cfg: TerrainCfg) -> Terrain:
    """Return the ground of a task.

    Args:
        cfg: kinds and sizes.

    Raises:
        ConfigError: a kind is unknown, has another parameter, or returns heights of another shape.
    """
    used = cfg.used
    points, border = cfg.tile_points, cfg.border_points
    kinds = cfg.column_kinds()
    makers = {name: _maker(name, kind) for name, kind in used.items()}
    heights = np.zeros(cfg.points, dtype=np.float32)
    origins = np.zeros((cfg.levels, cfg.columns, 3), dtype=np.float32)
    start = tuple(-(border + n * points / 2) * cfg.cell for n in (cfg.levels, cfg.columns))
    for level in range(cfg.levels):
        difficulty = level / (cfg.levels - 1) if cfg.levels > 1 else cfg.difficulty
        for column, kind in enumerate(kinds):
            tile = Tile(points, cfg.cell, np.random.default_rng([cfg.seed, level, column]))
            made = np.asarray(makers[kind](tile, difficulty))
            if made.shape != (points, points) or not np.isfinite(made).all():
                what = f"shape {made.shape}" if made.shape != (points, points) else "values that are not finite"
                raise ConfigError(f"env.terrain.kinds.{kind} returns {what}; expected ({points}, {points}) heights.")
            x, y = border + level * points, border + column * points
            heights[x : x + points, y : y + points] = made + 0.0  # no negative zeros
            middle = made[tile.middle(PLATFORM)]
            place = ((x + points // 2) * cfg.cell + start[0], (y + points // 2) * cfg.cell + start[1])
            origins[level, column] = (*place, middle.max())
    ground = HeightField(torch.from_numpy(heights), cfg.cell, (start[0], start[1]))
    start_level = cfg.levels - 1 if cfg.start_level is None else cfg.start_level
    return Terrain(ground, torch.from_numpy(origins), kinds, points * cfg.cell, start_level)


def _maker(name: str, kind: TerrainKindCfg) -> Callable[..., np.ndarray]:
    func = resolve(kind.func if ":" in kind.func else f"regimen.envs.terms.terrain:{kind.func}")
    accepted = list(inspect.signature(func).parameters)[2:]
    for key in kind.params:
        if key not in accepted:
            raise ConfigError(
                f"env.terrain.kinds.{name}: {kind.func} has no parameter `{key}`. {did_you_mean(key, accepted)}"
            )
    return partial(func, **kind.params)
