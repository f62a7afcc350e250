"""Layers of policy and value, and those of the discriminator."""

from __future__ import annotations

from typing import Any

import torch
from rl_games.algos_torch.network_builder import A2CBuilder


class AMPBuilder(A2CBuilder):
    """Networks of AMP: policy and value of the library, and a discriminator of transitions.

    The section `network.disc` has `units`, `activation` and `initializer`; the agent adds `input_size`.
    """

    class Network(A2CBuilder.Network):
        """Policy and value with a discriminator beside them."""

        def __init__(self, params: dict[str, Any], **kwargs: Any) -> None:
            super().__init__(params, **kwargs)
            disc = params["disc"]
            self.disc_mlp = self._build_mlp(
                input_size=disc["input_size"],
                units=disc["units"],
                activation=disc["activation"],
                dense_func=torch.nn.Linear,
            )
            self.disc_logits = torch.nn.Linear(disc["units"][-1], 1)
            initialise = self.init_factory.create(**disc["initializer"])
            for layer in (*self.disc_mlp, self.disc_logits):
                if isinstance(layer, torch.nn.Linear):
                    initialise(layer.weight)
                    torch.nn.init.zeros_(layer.bias)

        def discriminate(self, transitions: torch.Tensor) -> torch.Tensor:
            """Return the logit (n,) of normalised style features (n, d): higher for the clips, lower for the agent."""
            logit: torch.Tensor = self.disc_logits(self.disc_mlp(transitions)).squeeze(1)
            return logit

    def build(self, name: str, **kwargs: Any) -> AMPBuilder.Network:
        """Return the network."""
        return AMPBuilder.Network(self.params, **kwargs)
