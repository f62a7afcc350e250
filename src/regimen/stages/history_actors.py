"""Who acts while learning histories are recorded: a policy behind noise that decays, or a training's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from regimen import checkpoint, record
from regimen.errors import ConfigError, DatasetError
from regimen.stages.evaluate import load_bundle
from regimen.stages.playing import load_policy

if TYPE_CHECKING:
    from regimen.agents.policy import Policy
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.schema import Config
    from regimen.stages.collect_histories import CollectHistoriesCfg, NoiseCfg


class Actor(Protocol):
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


def find_actor(cfg: CollectHistoriesCfg, config: Config, env: VecEnv) -> Actor:
    """Return who acts as the run is configured.

    Raises:
        ConfigError: no policy is named, and the task does not know its solution.
        IOMismatchError: a policy does not fit the environment.
    """
    if cfg.mode == "checkpoints":
        return CheckpointWalk(env, [Path(result).parent for result in config.runs], cfg.thin, config.seed)
    return Noisy(env, demonstrator(config, env), cfg.noise if cfg.mode == "noise" else None)


def demonstrator(config: Config, env: VecEnv) -> Policy:
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
    return Solution(env)


class Solution:
    """The policy of a task that tells the best action itself."""

    def __init__(self, env: VecEnv) -> None:
        """Ask `env`."""
        self._env: Any = env

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the best action (N, A)."""
        return self._env.optimal_action(), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Nothing to forget."""


class Uniform:
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


class Noisy:
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
        self._memory = _forget(self.expert, self._memory, env_ids)
        if self.cfg is not None:
            self.value = self.value.index_copy(0, env_ids, epsilon_at(share, self.cfg))

    def act(self, obs: Obs, box: torch.Tensor) -> torch.Tensor:
        """Return the mixture of policy and noise, (N, A); a discrete action is the one or the other."""
        action, self._memory = self.expert.act(obs, self._memory)
        if self.cfg is None:
            return one_hot(action) if self.discrete else action
        noise, _ = Uniform(box, self.discrete).act(obs, None)
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


class CheckpointWalk:
    """Policies of trainings as they got better: each env goes through the checkpoints of one of them in order."""

    label = "checkpoint"

    def __init__(self, env: VecEnv, runs: list[Path], thin: int, seed: int) -> None:
        """Load all of them; env i follows training i modulo their number.

        Raises:
            ConfigError: a training kept fewer than two checkpoints.
        """
        files = [_checkpoints(run, thin) for run in runs]
        self._files = [file for row in files for file in row]
        self._policies = [load_policy(load_bundle(str(file)), env, seed) for file in self._files]
        self._memories: list[Any] = [None] * len(self._policies)
        self.discrete = bool(getattr(env, "discrete_actions", False))
        self._sha256 = [record.sha256(file) for file in self._files]
        count = torch.tensor([len(row) for row in files], device=env.device)
        run_of = torch.arange(env.num_envs, device=env.device) % len(runs)
        self.count, self.first = count[run_of], (count.cumsum(0) - count)[run_of]
        self.value = torch.zeros(env.num_envs, dtype=torch.int32, device=env.device)
        self.expert: Policy = _Last(self)
        self._choose()

    def begin(self, env_ids: torch.Tensor, share: torch.Tensor) -> None:
        """Go on to the checkpoint due, and have it forget the envs' old episodes."""
        due = (share * self.count[env_ids]).int().clamp(max=self.count[env_ids].int() - 1)
        self.value = self.value.index_copy(0, env_ids, due.int())
        self.forget(env_ids)
        self._choose()

    def forget(self, env_ids: torch.Tensor) -> None:
        """Have all policies forget the envs `env_ids` (n,)."""
        pairs = zip(self._policies, self._memories, strict=True)
        self._memories = [_forget(policy, memory, env_ids) for policy, memory in pairs]

    def _choose(self) -> None:
        self._chosen = self.first + self.value
        self._active = self._chosen.unique().tolist()

    def act(self, obs: Obs, box: torch.Tensor) -> torch.Tensor:
        """Return the action (N, A) of each env's checkpoint."""
        action = self.mixed(obs, self._chosen, self._active)
        return one_hot(action) if self.discrete else action

    def mixed(self, obs: Obs, chosen: torch.Tensor, active: list[int]) -> torch.Tensor:
        """Have each policy in `active` act everywhere, and take what `chosen` (N,) says."""
        result: torch.Tensor | None = None
        for index in active:
            action, self._memories[index] = self._policies[index].act(obs, self._memories[index])
            mine = (chosen == index)[:, None]
            result = action if result is None else torch.where(mine, action, result)
        assert result is not None, "every env has a checkpoint"
        return result

    def at_best(self) -> torch.Tensor:
        """Return (N,) bool: the last checkpoint."""
        return self.value == self.count - 1

    def about(self) -> dict[str, Any]:
        """Return the checkpoints of each training in order, by step and checksum."""
        rows = [
            {"run": file.parent.parent.name, "step": checkpoint.step_of(file), "sha256": sha256}
            for file, sha256 in zip(self._files, self._sha256, strict=True)
        ]
        return {"checkpoints": rows, "first_checkpoint": self.first.tolist(), "checkpoint_count": self.count.tolist()}

    def state_dict(self) -> dict[str, Any]:
        """Return the place in each history, the memories, and the files' checksums."""
        return {"value": self.value, "memories": self._memories, "sha256": self._sha256}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`.

        Raises:
            DatasetError: the checkpoints are not those that the history began with.
        """
        if state["sha256"] != self._sha256:
            raise DatasetError("The checkpoints of runs=[…] changed since this collection began. Launch it anew.")
        self.value, self._memories = state["value"], state["memories"]
        self._choose()


class _Last:
    """The last checkpoint of each env's training."""

    def __init__(self, walk: CheckpointWalk) -> None:
        """Act for `walk`."""
        self._walk = walk
        self._chosen = walk.first + walk.count - 1

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the action (N, A)."""
        action = self._walk.mixed(obs, self._chosen, self._chosen.unique().tolist())
        return one_hot(action) if self._walk.discrete else action, None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Forget what the policies know of `env_ids`."""
        self._walk.forget(env_ids)


def _forget(policy: Policy, memory: Any, env_ids: torch.Tensor) -> Any:
    """Return what a policy remembers without `env_ids`; it remembers nothing before it acted."""
    return None if memory is None else policy.reset(memory, env_ids)


def _checkpoints(run: Path, thin: int) -> list[Path]:
    """Return every `thin`-th checkpoint of a training, and its last, oldest first.

    Raises:
        ConfigError: there are fewer than two.
    """
    files = sorted((run / "checkpoints").glob("step_*.pt"))
    chosen = files[::thin]
    if files and chosen[-1] != files[-1]:
        chosen.append(files[-1])
    if len(chosen) < 2:
        raise ConfigError(
            f"{run.name} kept {len(files)} checkpoints, of which stage.thin={thin} leaves {len(chosen)}: two or more "
            "show progress. Train with stage.keep_checkpoints=50 and a smaller stage.checkpoint_interval."
        )
    return chosen
