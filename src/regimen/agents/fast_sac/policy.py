"""The trained policy of FastSAC: normaliser, actor, and action bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from regimen.agents.fast_sac.networks import Actor
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.fast_sac.config import FastSacCfg
    from regimen.envs.vec_env import ActionSpec, IOSpec, Obs


def action_bounds(spec: ActionSpec, bound: float | None) -> list[float]:
    """Return the largest absolute action of each joint: one that reaches its limit furthest from the default pose.

    Args:
        spec: scale, offset, clip and limits.
        bound: configured bound of all joints, or None.

    Raises:
        ConfigError: naming the joint without one.
    """
    clip = float("inf") if spec.clip is None else spec.clip
    bounds = [bound or clip] * len(spec.joints)
    if bound is None and spec.limits is not None:
        rows = zip(spec.limits, spec.offset, spec.scale, strict=True)
        bounds = [min(clip, max(abs(low - at), abs(high - at)) / scale) for (low, high), at, scale in rows]
    for joint, largest in zip(spec.joints, bounds, strict=True):
        if not 0 < largest < float("inf"):
            raise ConfigError(
                f"The action of joint {joint} has no bound: it needs limits or a clip. Type agent.action_bound=1.0, or "
                "another largest action."
            )
    return bounds


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
