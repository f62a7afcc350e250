"""Policies that generate learning histories: a policy with decaying noise, or the checkpoints of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from regimen.agents.policy_file import load_bundle, load_policy
from regimen.envs.vec_env import SolvedTask, is_solved
from regimen.runs import checkpoint
from regimen.system.errors import ConfigError, DatasetError
from regimen.system.files import sha256

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.checkpoint_header import StateDict
    from regimen.stages.recording.config import CollectHistoriesCfg, NoiseCfg
    from regimen.system.json_data import Json


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

    def about(self) -> Json:
        """Return an empty dict: the config of the stage describes the noise."""
        return {}

    def state_dict(self) -> StateDict:
        """Return noise levels and memory."""
        return {"value": self.value, "memory": self._memory}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.value, self._memory = state["value"], state["memory"]


def reset_memory(policy: Policy, memory: Any, env_ids: torch.Tensor) -> Any:
    """Return `memory` with `env_ids` reset; None before the first action."""
    return None if memory is None else policy.reset(memory, env_ids)


class CheckpointReplay:
    """History policy of checkpoints: each env replays the checkpoints of one training in order."""

    label = "checkpoint"

    def __init__(self, env: VecEnv, runs: list[Path], thin: int, seed: int) -> None:
        """Load all checkpoints; env i replays training i modulo the number of trainings.

        Raises:
            ConfigError: a training has fewer than two checkpoints.
        """
        files = [_checkpoints(run, thin) for run in runs]
        self._files = [file for row in files for file in row]
        self._policies = [load_policy(load_bundle(str(file)), env, seed) for file in self._files]
        self._memories: list[Any] = [None] * len(self._policies)
        self.discrete = bool(getattr(env, "discrete_actions", False))
        self._sha256 = [sha256(file) for file in self._files]
        count = torch.tensor([len(row) for row in files], device=env.device)
        run_of = torch.arange(env.num_envs, device=env.device) % len(runs)
        self.count, self.first = count[run_of], (count.cumsum(0) - count)[run_of]
        self.value = torch.zeros(env.num_envs, dtype=torch.int32, device=env.device)
        self.expert: Policy = _LastCheckpoints(self)
        self._choose()

    def begin(self, env_ids: torch.Tensor, share: torch.Tensor) -> None:
        """Switch to the checkpoint for the completed share, and reset the memory of the envs."""
        due = (share * self.count[env_ids]).int().clamp(max=self.count[env_ids].int() - 1)
        self.value = self.value.index_copy(0, env_ids, due.int())
        self.reset_memories(env_ids)
        self._choose()

    def reset_memories(self, env_ids: torch.Tensor) -> None:
        """Reset the memory of all policies for `env_ids` (n,)."""
        pairs = zip(self._policies, self._memories, strict=True)
        self._memories = [reset_memory(policy, memory, env_ids) for policy, memory in pairs]

    def _choose(self) -> None:
        self._chosen = self.first + self.value
        self._active = self._chosen.unique().tolist()

    def act(self, obs: Obs, box: torch.Tensor) -> torch.Tensor:
        """Return the action (N, A) of the current checkpoint of each env."""
        action = self.mixed(obs, self._chosen, self._active)
        return one_hot(action) if self.discrete else action

    def mixed(self, obs: Obs, chosen: torch.Tensor, active: list[int]) -> torch.Tensor:
        """Return the action (N, A) of policy `chosen` (N,) in each env; `active` lists the policies in `chosen`."""
        result: torch.Tensor | None = None
        for index in active:
            action, self._memories[index] = self._policies[index].act(obs, self._memories[index])
            mask = (chosen == index)[:, None]
            result = action if result is None else torch.where(mask, action, result)
        assert result is not None, "every env has a checkpoint"
        return result

    def at_best(self) -> torch.Tensor:
        """Return (N,) bool: whether the last checkpoint acts."""
        return self.value == self.count - 1

    def about(self) -> Json:
        """Return step and checksum of the checkpoints of each training in order."""
        rows = [
            {"run": file.parent.parent.name, "step": checkpoint.step_of(file), "sha256": sha256}
            for file, sha256 in zip(self._files, self._sha256, strict=True)
        ]
        return {"checkpoints": rows, "first_checkpoint": self.first.tolist(), "checkpoint_count": self.count.tolist()}

    def state_dict(self) -> StateDict:
        """Return the position in each history, the memories, and the checksums of the files."""
        return {"value": self.value, "memories": self._memories, "sha256": self._sha256}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`.

        Raises:
            DatasetError: the checkpoints changed since the recording began.
        """
        if state["sha256"] != self._sha256:
            raise DatasetError("The checkpoints of runs=[…] changed since this recording began. Launch it again.")
        self.value, self._memories = state["value"], state["memories"]
        self._choose()


class _LastCheckpoints:
    """Policy of the last checkpoint of each env's training."""

    def __init__(self, replay: CheckpointReplay) -> None:
        """Use the policies of `replay`."""
        self._replay = replay
        self._chosen = replay.first + replay.count - 1

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the action (N, A)."""
        action = self._replay.mixed(obs, self._chosen, self._chosen.unique().tolist())
        return one_hot(action) if self._replay.discrete else action, None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Reset the memory of the policies for `env_ids`."""
        self._replay.reset_memories(env_ids)


def _checkpoints(run: Path, thin: int) -> list[Path]:
    """Return every `thin`-th checkpoint of a training and the last one, oldest first.

    Raises:
        ConfigError: the training has fewer than two.
    """
    files = sorted((run / "checkpoints").glob("step_*.pt"))
    chosen = files[::thin]
    if files and chosen[-1] != files[-1]:
        chosen.append(files[-1])
    if len(chosen) < 2:
        raise ConfigError(
            f"{run.name} has {len(files)} checkpoints, {len(chosen)} with stage.thin={thin}: expected two or more. "
            "Train with stage.keep_checkpoints=50 and a smaller stage.checkpoint_interval."
        )
    return chosen


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

    def about(self) -> Json:
        """Return metadata for the dataset."""
        ...

    def state_dict(self) -> StateDict:
        """Return the state for resuming."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
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
