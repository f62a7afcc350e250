"""The trained policy of skrl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs


class SkrlPolicy:
    """A feed-forward policy that returns the mean action."""

    def __init__(self, ppo: Any, clip_mean: float | None = None) -> None:
        """Take the networks of a skrl agent, and the bound on the absolute mean action, None for none."""
        self.ppo, self._network = ppo, _MeanAction(ppo, clip_mean)
        ppo.enable_training_mode(False, apply_to_models=True)

    @torch.no_grad()
    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the mean action (N, A) for `obs["policy"]` (N, d)."""
        return self._network(obs["policy"]), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Do nothing: the policy has no state."""

    @torch.no_grad()
    def latent(self, obs: Obs, layer: str) -> torch.Tensor:
        """Return the output (N, k) of a network of `agent.models.policy.network`, by its name.

        Raises:
            ConfigError: naming the networks that there are.
        """
        policy, outputs = self.ppo.policy, []
        container = getattr(policy, f"{layer}_container", None)
        if container is None:
            names = [name.removesuffix("_container") for name, _ in policy.named_children()]
            raise ConfigError(f"agent.latent.layer={layer}: {did_you_mean(layer, names)}")
        hook = container.register_forward_hook(lambda module, given, output: outputs.append(output))
        try:
            self._network(obs["policy"])
        finally:
            hook.remove()
        latent: torch.Tensor = outputs[0]
        return latent

    def feed_forward(self) -> tuple[torch.nn.Module, list[str]]:
        """Return the network, normaliser included, and the observation group that it reads."""
        return self._network, ["policy"]


class _MeanAction(torch.nn.Module):
    """Normaliser and mean of a skrl policy, without the sample that its `act` also draws."""

    def __init__(self, ppo: Any, clip: float | None) -> None:
        super().__init__()
        self.normaliser, self.policy, self.clip = ppo._observation_preprocessor, ppo.policy, clip

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        inputs = {"observations": self.normaliser(obs), "states": None}
        mean: torch.Tensor = self.policy.compute(inputs, "policy")[0]
        return mean if self.clip is None else mean.clamp(-self.clip, self.clip)
