"""Who acts while learning histories are recorded: a policy behind noise that decays, or a training's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from regimen.agents.policy_file import load_bundle, load_policy
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
    """Acts in N envs, each at its own place in its history.

    Attributes:
        label: `epsilon` or `checkpoint`: what of it is recorded.
        value: (N,) the label of each env's episode.
        expert: the best it has, without noise.
    """

    label: str
    value: torch.Tensor
    expert: Policy

    def begin(self, env_ids: torch.Tensor, share: torch.Tensor) -> None:
        """Begin episodes of `env_ids` (n,), `share` (n,) of whose histories, 0 to 1, is over."""
        ...

    def act(self, obs: Obs, box: torch.Tensor) -> torch.Tensor:
        """Return the action (N, A); noise is drawn from `box` (2, A)."""
        ...

    def at_best(self) -> torch.Tensor:
        """Return (N,) bool: where the best acts now, as it would always."""
        ...

    def about(self) -> dict[str, Any]:
        """Return what the dataset says of it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what it needs to go on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        ...


def make_history_policy(cfg: CollectHistoriesCfg, config: Config, env: VecEnv) -> HistoryPolicy:
    """Return who acts as the run is configured.

    Raises:
        ConfigError: no policy is named, and the task does not know its solution.
        IOMismatchError: a policy does not fit the environment.
    """
    if cfg.mode == "checkpoints":
        return CheckpointReplay(env, [Path(result).parent for result in config.runs], cfg.thin, config.seed)
    return NoisyPolicy(env, make_demonstrator(config, env), cfg.noise if cfg.mode == "noise" else None)


def make_demonstrator(config: Config, env: VecEnv) -> Policy:
    """Return the run's policy, or without one the task's own solution, which `env.optimal_action()` tells.

    Raises:
        ConfigError: there is neither.
    """
    if config.policy is not None:
        return load_policy(load_bundle(config.policy), env, config.seed)
    if not hasattr(env, "optimal_action"):
        raise ConfigError(
            f"task={config.choices.get('task')} has no `optimal_action` to learn from: name a policy, policy=<run>."
        )
    return OptimalPolicy(env)


class OptimalPolicy:
    """The policy of a task that tells the best action itself."""

    def __init__(self, env: VecEnv) -> None:
        """Ask `env`."""
        self._env: Any = env

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the best action (N, A)."""
        return self._env.optimal_action(), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Nothing to forget."""
