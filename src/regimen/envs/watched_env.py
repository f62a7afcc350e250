"""Every environment of a run: each step is examined for values that are not finite, and the last steps are kept.

The first value that is not finite ends the run. The message names its source: the simulator, a term of the task, or the
policy. What was recorded of the envs concerned becomes the NaN dump of the run.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch

from regimen.envs.device_reads import DeviceReads
from regimen.envs.finite import bad_column, bad_rows, diverged
from regimen.envs.nan_dump import AFTER, MOST_ENVS, NanDump
from regimen.envs.vec_env import task_below
from regimen.system.distributed import rank
from regimen.system.errors import DivergedError, IOMismatchError

if TYPE_CHECKING:
    import numpy as np

    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, StepInfo, VecEnv


@dataclass
class _StepRecord:
    """One step: references to what the environment returned; only actions and commands are copies.

    Attributes:
        step: its number.
        before: observation, state and action, name -> (N, ...).
        outcome: reward and ends, name -> (N,); empty while the step is not complete.
    """

    step: int
    before: dict[str, torch.Tensor]
    outcome: dict[str, torch.Tensor] = field(default_factory=dict)


class WatchedEnv:
    """A `VecEnv` that raises where another one returns a value that is not finite; all else is that of the other one.

    Attributes:
        env: the task itself, below all wrappers.
    """

    def __init__(self, env: VecEnv, kept_steps: int, head: dict[str, Any]) -> None:
        """Watch `env`.

        Args:
            env: the environment.
            kept_steps: steps that a dump holds at most; 0 for no dump.
            head: entries of the dump's head beside those of the environment.
        """
        self._inner, self._head = env, head
        self._last_obs: Obs | None = None
        self.env: Any = task_below(env)
        # A task that reads its device in each step brings the checks made here with it.
        reads = getattr(self.env, "reads", None)
        self._own_reads = not isinstance(reads, DeviceReads)
        self._reads = reads if isinstance(reads, DeviceReads) else DeviceReads(env.device)
        self._kept: deque[_StepRecord] = deque(maxlen=kept_steps)
        self._steps = 0

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the watched environment."""
        if name == "_inner":  # while an object is copied
            raise AttributeError(name)
        return getattr(self._inner, name)

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs. See `VecEnv.reset`.

        Raises:
            DivergedError: see `step`.
        """
        self._kept.clear()
        self._steps = 0 if seed is not None else self._steps
        try:
            obs = self._inner.reset(seed)
            self._require_obs(obs)
            self._reads.raise_pending()
        except DivergedError as error:
            raise self._with_dump(self._source(error), {}) from None
        self._last_obs = obs
        return obs

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, A). See `VecEnv.step`.

        Raises:
            DivergedError: naming the first of action, state, term and reward that is not finite, its envs and the step;
                on a GPU also of the step before, see `regimen.envs.device_reads`.
            IOMismatchError: actions of another shape.
        """
        self._require_action(action)
        record = self._begin(action)
        known: dict[str, torch.Tensor] = {}
        try:
            self._reads.require_finite(action, partial(self._action_error, action, self._step_number()))
        except DivergedError as error:
            raise self._with_dump(error, known) from None
        try:
            obs, reward, terminated, truncated, info = self._inner.step(action)
            self._steps += 1
            known = {"reward": reward, "terminated": terminated, "truncated": truncated}
            record.outcome = dict(known)
            known |= {f"observation/{group}": values for group, values in obs.items()}
            self._reads.require_finite(reward, partial(self._reward_error, reward, self._step_number()))
            self._require_obs(obs)
            if info["final_obs"] is not obs:
                self._require_obs(info["final_obs"], terminated | truncated)
            if self._own_reads:
                self._reads.raise_pending()
        except DivergedError as error:
            raise self._with_dump(self._source(error), known) from None
        self._last_obs = obs
        return obs, reward, terminated, truncated, info

    def _require_action(self, action: torch.Tensor) -> None:
        wanted = (self._inner.num_envs, self._inner.io.num_actions)
        if action.shape != wanted:
            raise IOMismatchError(f"The policy returned actions of shape {tuple(action.shape)}, the env has {wanted}.")

    def _begin(self, action: torch.Tensor) -> _StepRecord:
        """Return the record of a step that begins; keep it where a dump is wanted."""
        if not self._kept.maxlen or self._last_obs is None:
            return _StepRecord(self._step_number(), {})
        before = {"observation": self._last_obs["policy"], "action": action.clone()}
        record = _StepRecord(self._step_number(), before | self._state())
        self._kept.append(record)
        return record

    def _state(self) -> dict[str, torch.Tensor]:
        """Return the state of the task, where it has one to keep: name -> (N, ...)."""
        kinematics = getattr(self.env, "kinematics", None)
        return {} if kinematics is None else {f"state/{name}": values for name, values in kinematics().items()}

    def _step_number(self) -> int:
        return int(getattr(self.env, "common_step_counter", self._steps))

    def _require_obs(self, obs: Obs, rows: torch.Tensor | None = None) -> None:
        """Raise if an observation is not finite, naming the term; `rows` (N,) are those that count, by default all."""
        for group, values in obs.items():
            self._reads.require_finite(values, partial(self._obs_error, group, values, rows, self._step_number()), rows)

    def _obs_error(self, group: str, values: torch.Tensor, rows: torch.Tensor | None, step: int) -> DivergedError:
        bad = ~torch.isfinite(values) if rows is None else ~torch.isfinite(values) & rows[:, None]
        term = _term_at(self._inner.io.observations.get(group, {}), int(bad.any(0).nonzero()[0]))
        ids = bad.any(1).nonzero().squeeze(1).tolist()
        what = f"The observation term `{term or group}` of the group `{group}`"
        return diverged(what, ids, self._inner.num_envs, step)

    def _action_error(self, action: torch.Tensor, step: int) -> DivergedError:
        joint = self._inner.io.action.joints[bad_column(action)]
        return diverged(f"The policy's action for joint {joint}", bad_rows(action), self._inner.num_envs, step)

    def _reward_error(self, reward: torch.Tensor, step: int) -> DivergedError:
        return diverged("The reward", bad_rows(reward), self._inner.num_envs, step)

    def _source(self, error: DivergedError) -> DivergedError:
        """Return the error about the simulator if its state is not finite, which explains all that reads it."""
        if error.of_state:
            return error
        try:
            getattr(self.env, "require_finite_state", lambda: None)()
        except DivergedError as source:
            return source
        return error

    def _with_dump(self, error: DivergedError, known: dict[str, torch.Tensor]) -> DivergedError:
        """Return `error` with the dump of its envs; `known` is what the failing step returned, name -> (N, ...)."""
        if self._kept.maxlen:
            error.dump = self._dump(error, known)
        return error

    def _dump(self, error: DivergedError, known: dict[str, torch.Tensor]) -> NanDump:
        ids = error.env_ids[:MOST_ENVS] or [0]
        arrays = {"step": torch.tensor([record.step for record in self._kept]).numpy()}
        for name in self._kept[0].before if self._kept else ():
            arrays[name] = _stacked([record.before[name] for record in self._kept], ids)
        complete = [record for record in self._kept if record.outcome]
        for name in complete[0].outcome if complete else ():
            arrays[name] = _stacked([record.outcome[name] for record in complete], ids)
        after = known | self._state()
        arrays |= {AFTER + name: values[ids].cpu().numpy() for name, values in after.items()}
        head = {
            **self._head,
            "message": str(error),
            "env_ids": ids,
            "num_envs": self._inner.num_envs,
            "step": self._step_number(),
            "step_dt": self._inner.step_dt,
            "joints": list(getattr(self.env, "joints", ())),
            "actions": list(self._inner.io.action.joints),
            "observations": {group: dict(terms) for group, terms in self._inner.io.observations.items()},
            "images": {group: list(size) for group, size in self._inner.io.images.items()},
        }
        return NanDump(head, arrays)


def watch(env: VecEnv, config: Config) -> VecEnv:
    """Return `env`, watched as `config.nan_dump` says."""
    head = {"task": config.choices.get("task"), "sim": config.choices.get("sim"), "seed": config.seed, "rank": rank()}
    return cast("VecEnv", WatchedEnv(env, config.nan_dump, head))


def _stacked(rows: list[torch.Tensor], ids: list[int]) -> np.ndarray:
    return torch.stack([values[ids] for values in rows]).cpu().numpy()


def _term_at(sizes: dict[str, int], column: int) -> str:
    """Return the term of a column of a group; `` where the group names none."""
    for name, size in sizes.items():
        if column < size:
            return name
        column -= size
    return ""
