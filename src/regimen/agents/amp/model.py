"""The Gaussian policy of the library, with a normaliser and the reward of the discriminator."""

from __future__ import annotations

from typing import Any

import torch
from rl_games.algos_torch.models import ModelA2CContinuousLogStd
from rl_games.algos_torch.running_mean_std import RunningMeanStd


class ModelAMPContinuous(ModelA2CContinuousLogStd):
    """A Gaussian policy and a discriminator that gives a reward for style."""

    class Network(ModelA2CContinuousLogStd.Network):
        """Policy, value, discriminator and their normalisers."""

        def __init__(self, a2c_network: Any, **kwargs: Any) -> None:
            super().__init__(a2c_network, **kwargs)
            first = next(layer for layer in a2c_network.disc_mlp if isinstance(layer, torch.nn.Linear))
            self.amp_mean_std = RunningMeanStd((first.in_features,))
            self.normalize_amp_input = True

        def normalize_amp(self, transitions: torch.Tensor, update: bool = False) -> torch.Tensor:
            """Return normalised style features (n, d), their statistics updated before if `update` is set."""
            if not self.normalize_amp_input:
                return transitions
            self.amp_mean_std.train(update)
            with torch.no_grad():
                normalised: torch.Tensor = self.amp_mean_std(transitions)
            self.amp_mean_std.eval()
            return normalised

        def discriminate(self, normalised: torch.Tensor) -> torch.Tensor:
            """Return the logit (n,) of normalised style features (n, d)."""
            logit: torch.Tensor = self.a2c_network.discriminate(normalised)
            return logit

        @torch.no_grad()
        def style_reward(self, transitions: torch.Tensor, loss: str) -> torch.Tensor:
            """Return the reward (n,) of style features (n, d), not normalised; see `style_reward`."""
            return style_reward(self.discriminate(self.normalize_amp(transitions)), loss)


def style_reward(logit: torch.Tensor, loss: str) -> torch.Tensor:
    """Return the reward (n,) that belongs to the loss of the discriminator.

    Args:
        logit: (n,) of the discriminator.
        loss: `lsgan`: 1 - (logit - 1)^2 / 4, at least 0 (Peng et al. 2021, equation 7); `bce`: -log of 1 - sigmoid,
            at most 9.2 (as IsaacGymEnvs).
    """
    if loss == "bce":
        return -torch.log((1.0 - torch.sigmoid(logit)).clamp(min=1e-4))
    return (1.0 - 0.25 * (logit - 1.0).square()).clamp(min=0.0)


def discriminator_loss(agent: torch.Tensor, demo: torch.Tensor, loss: str) -> torch.Tensor:
    """Return the loss of logits (n,) of the agent and (m,) of the clips, the mean of both halves.

    Args:
        agent: logits of the agent's transitions.
        demo: logits of the clips' transitions.
        loss: `lsgan`, squared distances from -1 and 1, or `bce`, cross-entropies with 0 and 1.
    """
    if loss == "bce":
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
        own, other = cross_entropy(agent, torch.zeros_like(agent)), cross_entropy(demo, torch.ones_like(demo))
    else:
        own, other = (agent + 1.0).square().mean(), (demo - 1.0).square().mean()
    return 0.5 * (own + other)


def gradient_penalty(logit: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the mean squared norm of the gradient of logits (n,) with respect to their inputs (n, d)."""
    (gradient,) = torch.autograd.grad(logit.sum(), inputs, create_graph=True)
    return gradient.square().sum(1).mean()
