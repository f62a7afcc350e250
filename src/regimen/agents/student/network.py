"""Network of a student: normalised observations, an optional GRU, hidden layers, and the action."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from regimen.agents.fast_sac.networks import RunningNorm

if TYPE_CHECKING:
    from regimen.agents.student.config import StudentCfg

ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


class StudentNet(nn.Module):
    """Maps the student's observations to an action.

    Attributes:
        norm: of the observations.
        cell: GRU; None for a feed-forward network.
        head: hidden layers and action.
    """

    def __init__(self, cfg: StudentCfg, inputs: int, actions: int, device: torch.device) -> None:
        """Build the layers; the output begins near 0, the default pose.

        Args:
            cfg: widths.
            inputs: d, width of the observations.
            actions: A.
            device: of the weights.
        """
        super().__init__()
        self.norm = RunningNorm(inputs, device)
        self.cell = None if cfg.recurrent is None else nn.GRUCell(inputs, cfg.recurrent, device=device)
        layers: list[nn.Module] = []
        width = cfg.recurrent or inputs
        for hidden in cfg.hidden:
            layers += [nn.Linear(width, hidden, device=device), ACTIVATIONS[cfg.activation]()]
            width = hidden
        output = nn.Linear(width, actions, device=device)
        nn.init.normal_(output.weight, std=0.01)
        nn.init.zeros_(output.bias)
        self.head = nn.Sequential(*layers, output)

    def initial_state(self, num_envs: int) -> torch.Tensor | None:
        """Return the state (N, h) at the start of an episode; None for a feed-forward network."""
        if self.cell is None:
            return None
        return torch.zeros(num_envs, self.cell.hidden_size, device=self.norm.mean.device)

    def forward(self, obs: torch.Tensor, state: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the action (N, A) and the next state for observations (N, d)."""
        features = self.norm(obs)
        if self.cell is not None:
            state = self.cell(features, self.initial_state(len(obs)) if state is None else state)
            features = state
        action: torch.Tensor = self.head(features)
        return action, state

    def over_time(self, obs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor) -> torch.Tensor:
        """Return the actions (T, N, A) over a rollout.

        Args:
            obs: (T, N, d).
            state: (N, h) before the first step; None for a feed-forward network.
            starts: (T, N) bool, where an episode begins.
        """
        if self.cell is None:
            return self(obs)[0]
        actions = []
        for step in range(len(obs)):
            assert state is not None
            action, state = self(obs[step], state * ~starts[step, :, None])
            actions.append(action)
        return torch.stack(actions)
