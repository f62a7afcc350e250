"""Calibration before learning histories are recorded: score range and noise box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.vec_env import ActionSpec
from regimen.stages.playback.rollout import FirstEpisodeStats, roll_out
from regimen.stages.recording.history_policies import RandomPolicy
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run


@dataclass
class Calibration:
    """Noise box and score range.

    Attributes:
        box: (2, A) lowest and highest action of the noise.
        expert: mean return of the best policy.
        random: mean return of random actions.
    """

    box: torch.Tensor
    expert: float
    random: float


def calibrate(run: Run, env: VecEnv, expert: Policy, box: str, seed: int) -> Calibration:
    """Roll out the expert and random actions for one episode per env, without recording.

    Args:
        run: receives progress.
        env: not reset afterwards; reset it with a seed.
        expert: the best policy.
        box: see `NoiseCfg`.
        seed: of the resets.

    Raises:
        ConfigError: the actions have no bounds of the kind `box`.
    """
    bounds = None if box == "demonstrator" else _bounds(env.io.action, box).to(env.device)
    measured = _ActionRange(expert)
    score = _score(run, env, measured, seed)
    limits = measured.range() if bounds is None else bounds
    random = RandomPolicy(limits, bool(getattr(env, "discrete_actions", False)))
    return Calibration(limits, score, _score(run, env, random, seed))


def _score(run: Run, env: VecEnv, policy: Policy, seed: int) -> float:
    """Return the mean return of the first episodes."""
    torch.manual_seed(seed)
    episodes = FirstEpisodeStats(env.num_envs, env.device)
    roll_out(run, env, policy, episodes, seed)
    return float(episodes.returns.mean())


def _bounds(action: ActionSpec, box: str) -> torch.Tensor:
    """Return lowest and highest action (2, A) of the spec."""
    if box == "clip":
        if action.clip is None:
            raise ConfigError("stage.noise.box=clip: the actions of this task have no clip. Choose box=demonstrator.")
        high = torch.full((len(action.joints),), float(action.clip))
        return torch.stack((-high, high))
    if action.limits is None:
        raise ConfigError("stage.noise.box=limits: this task has no joint limits. Choose box=demonstrator.")
    ends = (torch.tensor(action.limits).T - torch.tensor(action.offset)) / torch.tensor(action.scale)
    return ends.sort(dim=0).values


class _ActionRange:
    """Policy wrapper that measures the lowest and highest action."""

    def __init__(self, policy: Policy) -> None:
        """Wrap `policy`."""
        self._policy = policy
        self._low: torch.Tensor | None = None
        self._high: torch.Tensor | None = None

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return action and state of the wrapped policy."""
        action, state = self._policy.act(obs, state)
        low, high = action.amin(0), action.amax(0)
        self._low = low if self._low is None else torch.minimum(self._low, low)
        self._high = high if self._high is None else torch.maximum(self._high, high)
        return action, state

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        """Reset the wrapped policy."""
        return self._policy.reset(state, env_ids)

    def range(self) -> torch.Tensor:
        """Return lowest and highest action, (2, A)."""
        assert self._low is not None and self._high is not None, "range() needs one act() before"
        return torch.stack((self._low, self._high))
