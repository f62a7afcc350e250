"""Network of a student: normalised observations, an optional GRU, an optional latent, hidden layers, and the action."""

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
        adapter: layers that predict the teacher's latent; None without one.
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
        width = cfg.recurrent or inputs
        self.adapter = None if cfg.latent is None else _layers(cfg, width, cfg.latent.size, device)
        self.head = _layers(cfg, width + (0 if cfg.latent is None else cfg.latent.size), actions, device)
        with torch.no_grad():
            for name, values in self.head[-1].named_parameters():
                values.normal_(std=0.01) if name == "weight" else values.zero_()

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
        return self._act(features)[0], state

    def _act(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the action (..., A) and the predicted latent (..., k), None without one, of features (..., h)."""
        latent = None if self.adapter is None else self.adapter(features)
        return self.head(features if latent is None else torch.cat((features, latent), dim=-1)), latent

    def over_time(
        self, obs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the actions (T, N, A) over a rollout, and the predicted latents (T, N, k), None without one.

        Args:
            obs: (T, N, d).
            state: (N, h) before the first step; None for a feed-forward network.
            starts: (T, N) bool, where an episode begins.
        """
        features = self.norm(obs)
        if self.cell is not None:
            states = []
            for step in range(len(obs)):
                assert state is not None
                state = self.cell(features[step], state * ~starts[step, :, None])
                states.append(state)
            features = torch.stack(states)
        return self._act(features)


def _layers(cfg: StudentCfg, inputs: int, outputs: int, device: torch.device) -> nn.Sequential:
    """Return the hidden layers from `inputs` to `outputs` values."""
    layers: list[nn.Module] = []
    for hidden in cfg.hidden:
        layers += [nn.Linear(inputs, hidden, device=device), ACTIVATIONS[cfg.activation]()]
        inputs = hidden
    return nn.Sequential(*layers, nn.Linear(inputs, outputs, device=device))
