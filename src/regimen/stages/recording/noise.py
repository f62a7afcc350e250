"""A policy behind noise that decays along a learning history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.stages.recording.config import NoiseCfg


class RandomPolicy:
    """The policy that does anything: uniform in a box, or any of the discrete actions."""

    def __init__(self, box: torch.Tensor, discrete: bool) -> None:
        """Draw from `box` (2, A), lowest and highest action."""
        self.box, self.discrete = box, discrete

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return a draw (N, A)."""
        low, high = self.box
        draw = torch.rand(len(obs["policy"]), len(low), device=low.device)
        return one_hot(draw) if self.discrete else low + draw * (high - low), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Nothing to forget."""


def one_hot(scores: torch.Tensor) -> torch.Tensor:
    """Return the code (N, A) of the largest score of each row."""
    return torch.zeros_like(scores).scatter_(1, scores.argmax(1, keepdim=True), 1.0)


def epsilon_at(share: torch.Tensor, cfg: NoiseCfg) -> torch.Tensor:
    """Return the share of noise where `share` of a history is over: ε = (1 - r^p)^(1/p), see `NoiseCfg`."""
    rest = (share / (1.0 - cfg.noise_free)).clamp(max=1.0)
    return (1.0 - rest**cfg.power).clamp(min=0.0) ** (1.0 / cfg.power)


class NoisyPolicy:
    """A policy behind noise; without a `NoiseCfg` there is none."""

    label = "epsilon"

    def __init__(self, env: VecEnv, expert: Policy, cfg: NoiseCfg | None) -> None:
        """Begin with all noise, or with none."""
        self.expert, self.cfg = expert, cfg
        self.discrete = bool(getattr(env, "discrete_actions", False))
        self.value = torch.full((env.num_envs,), 0.0 if cfg is None else 1.0, device=env.device)
        self._memory: Any = None

    def begin(self, env_ids: torch.Tensor, share: torch.Tensor) -> None:
        """Set the noise of new episodes, and have the policy forget the old ones."""
        self._memory = reset_memory(self.expert, self._memory, env_ids)
        if self.cfg is not None:
            self.value = self.value.index_copy(0, env_ids, epsilon_at(share, self.cfg))

    def act(self, obs: Obs, box: torch.Tensor) -> torch.Tensor:
        """Return the mixture of policy and noise, (N, A); a discrete action is the one or the other."""
        action, self._memory = self.expert.act(obs, self._memory)
        if self.cfg is None:
            return one_hot(action) if self.discrete else action
        noise, _ = RandomPolicy(box, self.discrete).act(obs, None)
        epsilon = self.value[:, None]
        if self.discrete:
            return torch.where(torch.rand_like(epsilon) < epsilon, noise, one_hot(action))
        return torch.lerp(action, noise, epsilon)

    def at_best(self) -> torch.Tensor:
        """Return (N,) bool: no noise."""
        return self.value == 0.0

    def about(self) -> dict[str, Any]:
        """Return nothing: the stage's settings say it."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return noise and memory."""
        return {"value": self.value, "memory": self._memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.value, self._memory = state["value"], state["memory"]


def reset_memory(policy: Policy, memory: Any, env_ids: torch.Tensor) -> Any:
    """Return what a policy remembers without `env_ids`; it remembers nothing before it acted."""
    return None if memory is None else policy.reset(memory, env_ids)
