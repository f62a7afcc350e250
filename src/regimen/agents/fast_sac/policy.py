"""The trained policy of FastSAC: normaliser, actor, and action bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from regimen.agents.fast_sac.networks import Actor

if TYPE_CHECKING:
    from regimen.agents.fast_sac.config import FastSacCfg
    from regimen.envs.vec_env import IOSpec, Obs


def build_actor(cfg: FastSacCfg, io: IOSpec, scale: torch.Tensor) -> Actor:
    """Return the actor of a configuration; `scale` (A,) is the largest action of each joint."""
    return Actor(io.size(), cfg.actor_hidden_dim, scale, (cfg.log_std_min, cfg.log_std_max), cfg.use_layer_norm)


class FastSacPolicy:
    """A feed-forward policy that returns the mean action of a trained actor.

    Attributes:
        network: observation (B, d) -> action (B, A); normaliser, squash and scale are in it.
    """

    def __init__(self, network: nn.Module) -> None:
        """Take the network."""
        self.network = network.requires_grad_(False)

    @torch.no_grad()
    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the mean action (N, A) for `obs["policy"]` (N, d)."""
        return self.network(obs["policy"]), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Do nothing: the policy has no state."""

    def feed_forward(self) -> tuple[nn.Module, list[str]]:
        """Return the network and the observation group that it reads."""
        return self.network, ["policy"]
