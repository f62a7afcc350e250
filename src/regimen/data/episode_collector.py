"""Collects whole episodes of an environment as demonstrations, in the order in which they began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from regimen.data.demonstrations import Demonstration
from regimen.data.episodes.lengths import SUCCESS
from regimen.envs.vec_env import is_solved
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs, SolvedTask, VecEnv
    from regimen.runs.checkpoint_header import StateDict


class Demonstrator(Protocol):
    """What acts in the episodes: an expert, a policy, or a human."""

    def act(self, obs: Obs) -> torch.Tensor:
        """Return the actions (N, A) for the present observations."""
        ...

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin new episodes in the envs (n,)."""
        ...

    def state_dict(self) -> StateDict:
        """Return what a resumed recording restores."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        ...


def scripted_demonstrator(env: VecEnv, noise: float, seed: int) -> Demonstrator:
    """Return the task's scripted expert, or its optimal action with normal noise.

    Args:
        env: the environment.
        noise: standard deviation of the noise on the expert's action, in units of the action.
        seed: of the noise.

    Raises:
        ConfigError: the task has neither.
    """
    if hasattr(env, "scripted_expert"):
        return _Expert(env.scripted_expert(noise, seed))
    if is_solved(env):
        return _OptimalActions(env, noise, seed)
    raise ConfigError(
        "This task has no scripted expert, neither `scripted_expert` nor `optimal_action`. Let a policy demonstrate, "
        "policy=<run>, or do it yourself: policy=human."
    )


class _Expert:
    """A scripted expert, which reads the environment and not its observations."""

    def __init__(self, expert: Any) -> None:
        self._expert = expert

    def act(self, obs: Obs) -> torch.Tensor:
        return torch.as_tensor(self._expert.act())

    def reset(self, env_ids: torch.Tensor) -> None:
        self._expert.reset(env_ids)

    def state_dict(self) -> StateDict:
        return dict(self._expert.state_dict())

    def load_state_dict(self, state: StateDict) -> None:
        self._expert.load_state_dict(state)


class _OptimalActions:
    """The optimal actions of a task, with noise."""

    def __init__(self, env: SolvedTask, noise: float, seed: int) -> None:
        self._env, self._noise, self._generator = env, noise, torch.Generator()
        self._generator.manual_seed(seed)

    def act(self, obs: Obs) -> torch.Tensor:
        action = self._env.optimal_action()
        return action + self._noise * torch.randn(action.shape, generator=self._generator).to(action.device)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Nothing is remembered of an episode."""

    def state_dict(self) -> StateDict:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: StateDict) -> None:
        self._generator.set_state(state["generator"].cpu())


class EpisodeCollector:
    """Steps the envs and keeps whole episodes.

    Episodes are given out in the order in which they began, not in that in which they end: of several envs the short
    episodes end first, and the first ones to end would be a biased choice.

    Attributes:
        obs: observations before the next step.
        attempts: episodes that ended, of those whose predecessors ended too.
        failed: how many of these were not kept.
    """

    def __init__(self, env: VecEnv, demonstrator: Demonstrator, only_successful: bool = True) -> None:
        """Prepare; call `begin` or `load_state_dict`.

        Args:
            env: the environment, whose episodes all begin with a reset: without `stagger`.
            demonstrator: what acts.
            only_successful: whether episodes are dropped that do not end with the label `success`.
        """
        self._env, self._demonstrator, self._only_successful = env, demonstrator, only_successful
        self.obs: Obs = {}
        self.attempts = self.failed = 0
        self._running: list[list[dict[str, np.ndarray]]] = [[] for _ in range(env.num_envs)]
        self._number = list(range(env.num_envs))
        self._ended: dict[int, Demonstration | None] = {}

    def begin(self, seed: int) -> None:
        """Reset the envs."""
        self.obs = self._env.reset(seed=seed)

    def step(self, most: int | None = None) -> list[Demonstration]:
        """Step all envs once; return the episodes that are complete and kept.

        Args:
            most: number of episodes that are returned at most; later ones are not counted as attempts.

        Raises:
            ConfigError: the task has no label `success`, by which episodes are to be kept.
        """
        action, clip = self._demonstrator.act(self.obs), self._env.io.action.clip
        if clip is not None:
            action = action.clamp(-clip, clip)
        obs, reward, terminated, truncated, info = self._env.step(action)
        if self._only_successful and SUCCESS not in info["labels"]:
            raise ConfigError(
                f"This task has no label `{SUCCESS}`, by which demonstrations are kept; it has "
                f"{', '.join(info['labels']) or 'no labels'}. To keep every episode: stage.only_successful=false."
            )
        columns = {f"obs/{group}": value for group, value in self.obs.items()}
        columns |= {f"labels/{name}": value for name, value in info["labels"].items()}
        columns |= {"action": action, "reward": reward, "terminated": terminated, "truncated": truncated}
        arrays = {name: value.cpu().numpy() for name, value in columns.items()}
        for rows, env in zip(self._running, range(self._env.num_envs), strict=True):
            rows.append({name: value[env] for name, value in arrays.items()})
        self.obs = obs
        ended = (terminated | truncated).nonzero().squeeze(1)
        if len(ended):
            final = {group: value.cpu().numpy() for group, value in info["final_obs"].items()}
            for env in ended.tolist():
                self._end(env, {group: value[env] for group, value in final.items()})
            self._demonstrator.reset(ended)
        return self._complete(most)

    @property
    def at_begin(self) -> bool:
        """Whether every env is at the begin of an episode."""
        return not any(self._running)

    def discard(self) -> None:
        """Break off the episodes of all envs, which are not kept, and begin new ones."""
        for env in range(self._env.num_envs):
            self._end(env, None)
        self.obs = self._env.reset()
        self._demonstrator.reset(torch.arange(self._env.num_envs, device=self._env.device))

    def _end(self, env: int, final: dict[str, np.ndarray] | None) -> None:
        """Take the episode of an env, and number the next one; without a final observation it is broken off."""
        rows, self._running[env] = self._running[env], []
        episode = None if final is None else _episode(rows, final)
        kept = episode is not None and (episode.success or not self._only_successful)
        self._ended[self._number[env]] = episode if kept else None
        self._number[env] = 1 + max(*self._number, *self._ended)

    def _complete(self, most: int | None) -> list[Demonstration]:
        complete: list[Demonstration] = []
        while self.attempts in self._ended and (most is None or len(complete) < most):
            episode = self._ended.pop(self.attempts)
            self.attempts += 1
            self.failed += episode is None
            complete += [] if episode is None else [episode]
        return complete

    def state_dict(self) -> StateDict:
        """Return the open episodes, those that wait for earlier ones, and the state of the demonstrator."""
        return {
            "attempts": self.attempts,
            "failed": self.failed,
            "number": list(self._number),
            "running": [_stacked(rows) for rows in self._running],
            "ended": {n: None if episode is None else _tensors(episode) for n, episode in self._ended.items()},
            "demonstrator": self._demonstrator.state_dict(),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; the observations are those of the restored envs."""
        self.attempts, self.failed, self._number = state["attempts"], state["failed"], list(state["number"])
        self._running = [_unstacked(rows) for rows in state["running"]]
        self._ended = {n: None if episode is None else _arrays(episode) for n, episode in state["ended"].items()}
        self._demonstrator.load_state_dict(state["demonstrator"])


def _episode(rows: list[dict[str, np.ndarray]], final: dict[str, np.ndarray]) -> Demonstration:
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    obs = {group: np.concatenate([columns.pop(f"obs/{group}"), value[None]]) for group, value in final.items()}
    labels = {name.removeprefix("labels/"): columns.pop(name) for name in list(columns) if name.startswith("labels/")}
    return Demonstration(obs=obs, labels=labels, **columns)


def _stacked(rows: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]} if rows else {}


def _unstacked(columns: dict[str, torch.Tensor]) -> list[dict[str, np.ndarray]]:
    length = len(next(iter(columns.values()))) if columns else 0
    return [{name: value[row].numpy() for name, value in columns.items()} for row in range(length)]


def _tensors(episode: Demonstration) -> dict[str, Any]:
    parts = {name: value for name, value in vars(episode).items() if name not in ("obs", "labels")}
    tensors: dict[str, Any] = {name: torch.from_numpy(value) for name, value in parts.items()}
    return tensors | {
        name: {key: torch.from_numpy(value) for key, value in getattr(episode, name).items()}
        for name in ("obs", "labels")
    }


def _arrays(parts: dict[str, Any]) -> Demonstration:
    nested: dict[str, Any] = {
        name: {key: tensor.numpy() for key, tensor in parts[name].items()} for name in ("obs", "labels")
    }
    plain = {name: tensor.numpy() for name, tensor in parts.items() if name not in nested}
    return Demonstration(**nested, **plain)
