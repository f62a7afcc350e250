"""Replay the checkpoints of trainings in order, as a learning history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.policy_file import load_bundle, load_policy
from regimen.runs import checkpoint
from regimen.stages.recording.noise import one_hot, reset_memory
from regimen.system.errors import ConfigError, DatasetError
from regimen.system.files import sha256

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.envs.vec_env import Obs, VecEnv


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

    def about(self) -> dict[str, Any]:
        """Return step and checksum of the checkpoints of each training in order."""
        rows = [
            {"run": file.parent.parent.name, "step": checkpoint.step_of(file), "sha256": sha256}
            for file, sha256 in zip(self._files, self._sha256, strict=True)
        ]
        return {"checkpoints": rows, "first_checkpoint": self.first.tolist(), "checkpoint_count": self.count.tolist()}

    def state_dict(self) -> dict[str, Any]:
        """Return the position in each history, the memories, and the checksums of the files."""
        return {"value": self.value, "memories": self._memories, "sha256": self._sha256}

    def load_state_dict(self, state: dict[str, Any]) -> None:
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
