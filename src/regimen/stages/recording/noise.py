"""Policy with noise that decays along a learning history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.stages.recording.config import NoiseCfg


class RandomPolicy:
    """Policy of random actions: uniform in a box, or any discrete action."""

    def __init__(self, box: torch.Tensor, discrete: bool) -> None:
        """Sample from `box` (2, A), lowest and highest action."""
        self.box, self.discrete = box, discrete

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return a random action (N, A)."""
        low, high = self.box
        draw = torch.rand(len(obs["policy"]), len(low), device=low.device)
        return one_hot(draw) if self.discrete else low + draw * (high - low), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Return None; the policy has no memory."""


def one_hot(scores: torch.Tensor) -> torch.Tensor:
    """Return the one-hot code (N, A) of the largest score of each row."""
    return torch.zeros_like(scores).scatter_(1, scores.argmax(1, keepdim=True), 1.0)


def epsilon_at(share: torch.Tensor, cfg: NoiseCfg) -> torch.Tensor:
    """Return the noise level ε (n,) after the completed share (n,) of a history; see `NoiseCfg`."""
    progress = (share / (1.0 - cfg.noise_free)).clamp(max=1.0)
    return (1.0 - progress**cfg.power).clamp(min=0.0) ** (1.0 / cfg.power)


class NoisyPolicy:
    """Policy with decaying noise; without noise if `cfg` is None."""

    label = "epsilon"

    def __init__(self, env: VecEnv, expert: Policy, cfg: NoiseCfg | None) -> None:
        """Start with full noise, or without noise."""
        self.expert, self.cfg = expert, cfg
        self.discrete = bool(getattr(env, "discrete_actions", False))
        self.value = torch.full((env.num_envs,), 0.0 if cfg is None else 1.0, device=env.device)
        self._memory: Any = None

    def begin(self, env_ids: torch.Tensor, share: torch.Tensor) -> None:
        """Set the noise level of new episodes and reset the policy's memory."""
        self._memory = reset_memory(self.expert, self._memory, env_ids)
        if self.cfg is not None:
            self.value = self.value.index_copy(0, env_ids, epsilon_at(share, self.cfg))

    def act(self, obs: Obs, box: torch.Tensor) -> torch.Tensor:
        """Return the mixture (N, A) of policy and noise; a discrete action is one of the two."""
        action, self._memory = self.expert.act(obs, self._memory)
        if self.cfg is None:
            return one_hot(action) if self.discrete else action
        noise, _ = RandomPolicy(box, self.discrete).act(obs, None)
        epsilon = self.value[:, None]
        if self.discrete:
            return torch.where(torch.rand_like(epsilon) < epsilon, noise, one_hot(action))
        return torch.lerp(action, noise, epsilon)

    def at_best(self) -> torch.Tensor:
        """Return (N,) bool: whether the noise level is 0."""
        return self.value == 0.0

    def about(self) -> dict[str, Any]:
        """Return an empty dict: the config of the stage describes the noise."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return noise levels and memory."""
        return {"value": self.value, "memory": self._memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.value, self._memory = state["value"], state["memory"]


def reset_memory(policy: Policy, memory: Any, env_ids: torch.Tensor) -> Any:
    """Return `memory` with `env_ids` reset; None before the first action."""
    return None if memory is None else policy.reset(memory, env_ids)
