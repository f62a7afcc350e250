"""Statistics of the first episode of every env."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from regimen.envs.vec_env import StepInfo


class FirstEpisodeStats:
    """Sums over the first episode of each of N envs.

    Attributes:
        running: (N,) bool, whether the first episode is still running.
        fell: (N,) bool, whether the first episode ended by a termination.
        returns: (N,) sum of rewards.
        steps: (N,) length in steps.
    """

    def __init__(self, num_envs: int, device: torch.device, metrics_from: int = 0) -> None:
        """Start all sums at zero.

        Args:
            num_envs: N.
            device: of all tensors.
            metrics_from: first step of the episode that counts for the averages of its metrics.
        """
        self.running = torch.ones(num_envs, dtype=torch.bool, device=device)
        self.fell = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self.returns = torch.zeros(num_envs, dtype=torch.float64, device=device)
        self.steps = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._metrics_from = metrics_from
        self._sums: dict[str, torch.Tensor] = {}

    def add(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, info: StepInfo) -> None:
        """Add one step of the envs whose first episode is running.

        Args:
            reward: (N,).
            terminated: (N,) bool.
            truncated: (N,) bool.
            info: of the step; `metrics`, {name: (N,)}, are averaged over the episode.
        """
        counted = self.running
        self.returns += torch.where(counted, reward, 0.0)
        self.steps += counted
        measured = counted & (self.steps > self._metrics_from)
        for name, value in info.get("metrics", {}).items():
            total = self._sums.setdefault(name, torch.zeros_like(self.returns))
            total += torch.where(measured, value, 0.0)
        self.fell |= counted & terminated
        self.running = counted & ~(terminated | truncated)

    @property
    def finished(self) -> bool:
        """Whether every first episode has ended."""
        return not bool(self.running.any())

    def means(self) -> dict[str, torch.Tensor]:
        """Return the mean of every metric over the episode of each env, {name: (N,)}."""
        measured = (self.steps - self._metrics_from).clamp(min=1)
        return {name: total / measured for name, total in self._sums.items()}
