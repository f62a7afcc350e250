"""Policies that generate learning histories: a policy with decaying noise, or the checkpoints of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from regimen.agents.policy_file import load_bundle, load_policy
from regimen.envs.vec_env import SolvedTask, is_solved
from regimen.stages.recording.checkpoint_replay import CheckpointReplay
from regimen.stages.recording.noise import NoisyPolicy
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from regimen.agents.base import Policy
    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.stages.recording.config import CollectHistoriesCfg


class HistoryPolicy(Protocol):
    """Policy of N envs whose quality increases along the history of each env.

    Attributes:
        label: name of the recorded label, `epsilon` or `checkpoint`.
        value: (N,) label of the current episode of each env.
        expert: the best policy, without noise.
    """

    label: str
    value: torch.Tensor
    expert: Policy

    def begin(self, env_ids: torch.Tensor, share: torch.Tensor) -> None:
        """Begin episodes of `env_ids` (n,); `share` (n,), 0 to 1, is the completed share of their histories."""
        ...

    def act(self, obs: Obs, box: torch.Tensor) -> torch.Tensor:
        """Return the action (N, A); noise is drawn from `box` (2, A)."""
        ...

    def at_best(self) -> torch.Tensor:
        """Return (N,) bool: whether the expert acts in the current episode."""
        ...

    def about(self) -> dict[str, Any]:
        """Return metadata for the dataset."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state for resuming."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        ...


def make_history_policy(cfg: CollectHistoriesCfg, config: Config, env: VecEnv) -> HistoryPolicy:
    """Return the policy that the config selects.

    Raises:
        ConfigError: no policy is named, and the task has no `optimal_action`.
        IOMismatchError: a policy does not fit the env.
    """
    if cfg.mode == "checkpoints":
        return CheckpointReplay(env, [Path(result).parent for result in config.runs], cfg.thin, config.seed)
    return NoisyPolicy(env, make_demonstrator(config, env), cfg.noise if cfg.mode == "noise" else None)


def make_demonstrator(config: Config, env: VecEnv) -> Policy:
    """Return the policy of the run, or the optimal policy of the task without one.

    Raises:
        ConfigError: no policy is named, and the task has no `optimal_action`.
    """
    if config.policy is not None:
        return load_policy(load_bundle(config.policy), env, config.seed)
    if not is_solved(env):
        raise ConfigError(f"task={config.choices.get('task')} has no `optimal_action`: name a policy, policy=<run>.")
    return OptimalPolicy(env)


class OptimalPolicy:
    """Policy of the actions that `env.optimal_action()` returns."""

    def __init__(self, env: SolvedTask) -> None:
        """Act in `env`."""
        self._env = env

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the optimal action (N, A)."""
        return self._env.optimal_action(), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Return None; the policy has no memory."""
