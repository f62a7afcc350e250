"""Stalls: envs whose distance to the goal no longer falls, for interventions and for the kinds of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict

PATIENCE = 15
"""Steps without progress after which an env stalls."""

PROGRESS_M = 0.001
"""Distance in m by which the best of an episode must fall to count as progress."""


class StallRule:
    """An env stalls if the best distance of its episode has not fallen by `progress_m` for `patience` steps.

    Attributes:
        distance: (N,) last distances, in m.
    """

    def __init__(self, num_envs: int, patience: int = PATIENCE, progress_m: float = PROGRESS_M) -> None:
        """Begin episodes in N envs."""
        self.patience, self.progress_m = patience, progress_m
        self.distance = torch.full((num_envs,), torch.inf)
        self._best, self._steps = self.distance.clone(), torch.zeros(num_envs, dtype=torch.long)

    def observe(self, distance: torch.Tensor) -> torch.Tensor:
        """Take the distances (N,) before a step; return which envs stall, (N,) bool."""
        self.distance = distance.cpu()
        nearer = self.distance < self._best - self.progress_m
        self._best = torch.where(nearer, self.distance, self._best)
        self._steps = torch.where(nearer, 0, self._steps + 1)
        return self._steps >= self.patience

    def begin(self, env_ids: torch.Tensor) -> None:
        """Begin new episodes in the envs `env_ids` (n,)."""
        self._best[env_ids], self._steps[env_ids] = torch.inf, 0

    def restart(self, envs: torch.Tensor) -> None:
        """Count from the last distance on in the envs (N,) bool, as if it were progress."""
        self._best = torch.where(envs, self.distance, self._best)
        self._steps[envs] = 0

    def state_dict(self) -> StateDict:
        """Return the best distances and the steps since."""
        return {"best": self._best.clone(), "stalled": self._steps.clone()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._best, self._steps = state["best"].clone(), state["stalled"].clone()
