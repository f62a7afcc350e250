"""On which tile of the ground each robot starts, and the heights around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from regimen.envs.terrain.grid import Terrain
    from regimen.runs.checkpoint_header import StateDict

AROUND_M = 0.4
"""Robots start above the highest place that is no further away along x and y."""

PROBES = 9
"""Places along one side of that square whose height is read."""


class Placement:
    """The tiles of N robots. Columns stay; levels change by the curriculum, or are fixed for an evaluation.

    Attributes:
        terrain: the ground.
        levels: (N,) int64.
        columns: (N,) int64.
    """

    def __init__(self, terrain: Terrain, num_envs: int, device: torch.device) -> None:
        """Spread the robots over the columns, all at the lowest level.

        Args:
            terrain: the ground.
            num_envs: N.
            device: of all tensors.
        """
        self.terrain = terrain
        self.ground = terrain.ground.to(device)
        self.columns = torch.arange(num_envs, device=device) * terrain.columns // num_envs
        self.levels = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._origins = terrain.origins.to(device)
        self._fixed = False
        probes = torch.linspace(-AROUND_M, AROUND_M, PROBES, device=device)
        self._probes = torch.cartesian_prod(probes, probes)

    @property
    def origins(self) -> torch.Tensor:
        """Middle of the tile of each robot, (N, 3) m."""
        return self._origins[self.levels, self.columns]

    def restart(self, rand: Callable[[int], torch.Tensor]) -> None:
        """Draw the levels of the first episode.

        Args:
            rand: n -> (n,) uniform in [0, 1).
        """
        draws = rand(len(self.levels))
        if not self._fixed:
            self.levels = (draws * (self.terrain.start_level + 1)).long()

    def place(self, env_ids: torch.Tensor, poses: torch.Tensor) -> torch.Tensor:
        """Return poses (n, 7) on flat ground moved to the tiles of `env_ids` (n,), above the ground there."""
        placed = poses.clone()
        placed[:, :2] += self.origins[env_ids, :2]
        around = placed[:, None, :2] + self._probes
        placed[:, 2] += self.ground.at(around).amax(1)
        return placed

    def fix(self, levels: Sequence[int], columns: Sequence[int]) -> None:
        """Hold all robots on the given tiles from their next reset on.

        Args:
            levels: N.
            columns: N.
        """
        self.levels, self.columns = (torch.tensor(values, device=self.levels.device) for values in (levels, columns))
        self._fixed = True

    def move(self, env_ids: torch.Tensor, up: torch.Tensor, down: torch.Tensor, draws: torch.Tensor) -> None:
        """Change the levels of `env_ids` (n,) by one; above the highest one a level is drawn.

        Args:
            env_ids: (n,).
            up: (n,) bool.
            down: (n,) bool.
            draws: (n,) uniform in [0, 1).
        """
        if self._fixed:
            return
        levels = (self.levels[env_ids] + up.long() - down.long()).clamp_min(0)
        anywhere = (draws * self.terrain.levels).long()
        self.levels[env_ids] = torch.where(levels < self.terrain.levels, levels, anywhere)

    def state_dict(self) -> StateDict:
        """Return the tiles."""
        return {"levels": self.levels.clone(), "columns": self.columns.clone()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.levels, self.columns = state["levels"].clone(), state["columns"].clone()
