"""Configuration of FastSAC, under the names and with the defaults of the original."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.agents.network_memory import update_bytes
from regimen.data.replay_buffer import ring_bytes
from regimen.system.errors import RegimenError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

    from regimen.config.yaml_io import PlainConfig, PlainSection

_COUNTS = (
    *("num_learning_iterations", "logging_interval", "learning_starts", "buffer_size", "batch_size"),
    *("num_updates", "policy_frequency", "num_steps", "num_q_networks"),
)
_WIDTHS = ("actor_hidden_dim", "critic_hidden_dim")
_SHARES = ("gamma", "tau")
_RATES = ("actor_learning_rate", "critic_learning_rate", "alpha_learning_rate", "weight_decay", "max_grad_norm")
_SHAPE = ("actor_hidden_dim", "use_layer_norm", "obs_normalization")
_POSITIVE = ("alpha_init", "action_bound")

PART_ROWS = 1024
"""Rows of a minibatch that go through the networks at once on a CPU: their activations then stay in its caches."""


@dataclass
class FastSacCfg:
    """Hyperparameters under the names of the original.

    Attributes:
        num_learning_iterations: env steps of each env; what is more than whole logging intervals is left out.
        logging_interval: env steps between two rows of the log; checkpoints and stops wait for one.
        learning_starts: env steps in the ring before the first update.
        actor_learning_rate, critic_learning_rate, alpha_learning_rate: of AdamW.
        weight_decay: of actor and critics; the temperature has none, which would pull it towards 1.
        max_grad_norm: bound on the norm of a gradient; 0 for none.
        buffer_size: transitions kept of each env.
        save_buffer: whether checkpoints hold the ring; without it a resumed run fills a new one before it learns on.
        batch_size: transitions of one update, of all envs and processes; at least one of each env is taken.
        num_updates: updates of critics and temperature after each env step.
        policy_frequency: updates of the critics for one of the actor.
        num_steps: steps of the return before the critics' value is added.
        gamma: discount of one env step.
        tau: share of the critics in each step of their target networks.
        disable_bootstrap: whether a time-out ends the return as a termination does.
        actor_hidden_dim, critic_hidden_dim: width of the first of three hidden layers, halved in each further one.
        use_layer_norm: whether hidden layers are normalised.
        critic_observations: observation group that the critics read; the actor reads `policy`.
        critic_type: `c51`, a distribution on `num_atoms` values from `v_min` to `v_max`, or `scalar`.
        num_q_networks: critics.
        use_cdq: whether target and actor use the critic with the lowest value, as SAC and FastTD3 may (clipped
            double Q); otherwise each critic follows its own target network, and the actor climbs the mean.
        log_std_min, log_std_max: range of the actor's log standard deviation, before squashing.
        action_bound: largest absolute action; null: each joint's furthest limit, or else the action's clip.
        alpha_init: temperature at first.
        target_entropy_ratio: entropy that the temperature holds, in units of -1 for each action.
        obs_normalization: whether observations are normalised by what the ring has shown.
        use_symmetry: whether minibatches hold the mirror image of each transition; null: where the task has one.
        compile: whether the losses go through torch.compile; the first updates are then slow.
        amp: whether the networks compute in bfloat16; on a CPU they never do.
    """

    DISTRIBUTED: ClassVar[bool] = True
    LOWER: ClassVar[str] = "agent.buffer_size or agent.batch_size"
    POLICY_FORMAT: ClassVar[str] = "fast_sac"
    IMPORT_BYTES: ClassVar[int] = 16 * 2**20
    _target_: str = "regimen.agents.fast_sac.FastSac"
    num_learning_iterations: int = 25_000
    logging_interval: int = 100
    learning_starts: int = 10
    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    alpha_learning_rate: float = 3e-4
    weight_decay: float = 1e-3
    max_grad_norm: float = 0.0
    buffer_size: int = 1024
    save_buffer: bool = True
    batch_size: int = 8192
    num_updates: int = 8
    policy_frequency: int = 4
    num_steps: int = 1
    gamma: float = 0.97
    tau: float = 0.125
    disable_bootstrap: bool = False
    actor_hidden_dim: int = 512
    critic_hidden_dim: int = 768
    use_layer_norm: bool = True
    critic_observations: str = "policy"
    critic_type: str = "c51"
    num_q_networks: int = 2
    use_cdq: bool = False
    num_atoms: int = 101
    v_min: float = -20.0
    v_max: float = 20.0
    log_std_min: float = -5.0
    log_std_max: float = 0.0
    action_bound: float | None = None
    alpha_init: float = 0.001
    target_entropy_ratio: float = 0.0
    obs_normalization: bool = True
    use_symmetry: bool | None = None
    compile: bool = True
    amp: bool = True

    def total_steps(self) -> int:
        """Return the env steps per env of the whole training, a whole number of logging intervals."""
        return max(1, self.num_learning_iterations // self.logging_interval) * self.logging_interval

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of the ring and of the minibatches of one env step."""
        rows = self.num_updates * self._minibatch_rows(num_envs)
        batches = 2 * 4 * rows * (2 * observation + action + 2)  # as drawn, and once more normalised
        return ring_bytes(num_envs, self.buffer_size, observation, action) + batches

    def _minibatch_rows(self, num_envs: int) -> int:
        return max(self.batch_size, num_envs) * (1 if self.use_symmetry is False else 2)

    def network_bytes(self, num_envs: int, observation: int, action: int, on_gpu: bool) -> int:
        """Return the approximate memory of critics, their targets, and of one update: on a CPU, of one part of it."""
        atoms = self.num_atoms if self.critic_type == "c51" else 1
        hidden = self.critic_hidden_dim
        critic = [hidden, hidden // 2, hidden // 4, atoms]
        rows = self._minibatch_rows(num_envs) if on_gpu else PART_ROWS
        return update_bytes(rows, observation + action, [critic] * 2 * self.num_q_networks, per_layer=3)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value."""
        lines = [
            *self._lines(_COUNTS, lambda value: value >= 1, "expected 1 or more."),
            *self._lines(_WIDTHS, lambda value: value >= 4, "expected 4 or more: it is halved twice."),
            *self._lines(_SHARES, lambda value: 0 < value <= 1, "expected more than 0, and at most 1."),
            *self._lines(_RATES, lambda value: value >= 0, "expected 0 or more."),
            *self._lines(_POSITIVE, lambda value: value is None or value > 0, "expected more than 0."),
        ]
        if self.learning_starts > self.buffer_size:
            lines.append(f"learning_starts={self.learning_starts}: the ring holds buffer_size={self.buffer_size}.")
        lines += self._range_problems() + self._group_problems(config["env"].get("observations"))
        return [
            *lines,
            *self._symmetry_problems(config),
            *self._start_problems(config),
            *self._machine_problems(config),
        ]

    def _lines(self, names: tuple[str, ...], good: Callable[[Any], bool], expected: str) -> list[str]:
        given = {name: getattr(self, name) for name in names}
        return [f"{name}={value}: {expected}" for name, value in given.items() if not good(value)]

    def _range_problems(self) -> list[str]:
        lines = []
        if self.critic_type not in ("c51", "scalar"):
            lines.append(f"critic_type={self.critic_type}: expected c51 or scalar.")
        if self.num_atoms < 2:
            lines.append(f"num_atoms={self.num_atoms}: expected 2 or more.")
        for low, high in (("v_min", "v_max"), ("log_std_min", "log_std_max")):
            if not getattr(self, low) < getattr(self, high):
                lines.append(f"{low}={getattr(self, low):g}: expected less than {high}={getattr(self, high):g}.")
        return lines

    def _group_problems(self, offered: Collection[str] | None) -> list[str]:
        """Return a line for an unknown group; `offered` is None where groups are known only at run time."""
        if not offered or self.critic_observations in offered:
            return []
        near = did_you_mean(self.critic_observations, offered)
        return [f"critic_observations={self.critic_observations}: the task has no such observation group. {near}"]

    def _symmetry_problems(self, config: PlainConfig) -> list[str]:
        from regimen.envs.symmetry_check import unmirrored

        why = unmirrored(config) if self.use_symmetry else None
        return [f"use_symmetry=true: {why}. Type agent.use_symmetry=false."] if why else []

    def _start_problems(self, config: PlainConfig) -> list[str]:
        """Return a line for each setting by which the actor is another than that of the policy to begin with."""
        from regimen.agents.policy_header import read_header

        policy = Path(config.get("policy") or "")
        if not policy.is_file() or config["choices"]["stage"] != "train":
            return []
        theirs: PlainSection = {}
        with suppress(RegimenError):  # a file that is no policy is reported elsewhere
            theirs = read_header(policy).get("agent") or {}
        if theirs.get("_target_") != self._target_:
            return []
        own, trained_with = ({n: str(a.get(n)).lower() for n in _SHAPE} for a in (vars(self), theirs))
        return [
            f"{n}={own[n]}: policy={policy} was trained with {trained_with[n]}. Type agent.{n}={trained_with[n]}."
            for n in _SHAPE
            if trained_with[n] != own[n]
        ]

    def _machine_problems(self, config: PlainConfig) -> list[str]:
        compiler = any(shutil.which(name) for name in ("g++", "clang++"))
        if self.compile and config["hardware"]["device"].startswith("cpu") and not compiler:
            return ["compile=true: needs a C++ compiler: install g++, or type agent.compile=false."]
        return []
