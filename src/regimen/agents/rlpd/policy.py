"""A trained policy that returns the mean action of an actor of RLPD or of behaviour cloning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.agents.rlpd.networks import Perceptron
    from regimen.envs.vec_env import IOSpec, Obs


class MeanAction(nn.Module):
    """Observations of each group (N, d) -> actions (N, A) within ±1: tanh of the actor's first A outputs."""

    def __init__(self, shape: Perceptron, values: torch.Tensor, num_actions: int) -> None:
        """Build the network.

        Args:
            shape: of the actor.
            values: its weights, (1, P).
            num_actions: A; further outputs of the actor, such as standard deviations, are left out.
        """
        super().__init__()
        self.body = shape.module(values[0])
        last = self.body[-1]
        assert isinstance(last, nn.Linear)
        mean = nn.Linear(last.in_features, num_actions)
        mean.weight.data.copy_(last.weight.data[:num_actions])
        mean.bias.data.copy_(last.bias.data[:num_actions])
        self.body[-1] = mean

    def forward(self, *obs: torch.Tensor) -> torch.Tensor:
        """Return actions (N, A)."""
        return torch.tanh(self.body(torch.cat(obs, dim=-1)))


class MeanPolicy:
    """A feed-forward policy.

    Attributes:
        network: observations of each group -> action.
        groups: observation groups that it reads, in order.
    """

    def __init__(self, network: MeanAction, groups: Sequence[str]) -> None:
        """Take the network and the names of its inputs."""
        self.network, self.groups = network.requires_grad_(False), list(groups)

    @torch.no_grad()
    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the mean action (N, A)."""
        return self.network(*(obs[group] for group in self.groups)), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Do nothing: the policy has no state."""

    def feed_forward(self) -> tuple[nn.Module, list[str]]:
        """Return the network and the observation groups that it reads."""
        return self.network, self.groups


class ImagePolicy:
    """A feed-forward policy that reads images. It cannot be exported yet, and has no `feed_forward`.

    Attributes:
        network: observations of each group of vectors, then images -> action.
        groups: observation groups and images that it reads, in order.
        images: those of them that are images.
    """

    def __init__(self, network: nn.Module, groups: Sequence[str], images: Sequence[str]) -> None:
        """Take the network and the names of its inputs."""
        self.network = network.requires_grad_(False)
        self.groups, self.images = [*groups, *images], list(images)

    @torch.no_grad()
    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the mean action (N, A)."""
        return self.network(*(obs[group] for group in self.groups)), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Do nothing: the policy has no state."""


def groups_read(wanted: Sequence[str] | None, io: IOSpec) -> list[str]:
    """Return the observation groups that an agent reads: those it names, or all groups of vectors of the task."""
    return list(io.observations) if wanted is None else list(wanted)
