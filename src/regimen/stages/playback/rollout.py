"""Roll out a policy for the first episode of every env: loop, statistics, observers."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.base import InContextPolicy
from regimen.data.episodes.lengths import STALLED, SUCCESS, TERMINATED, TIMED_OUT
from regimen.display.text_tables import print_tables
from regimen.envs.stall import StallRule
from regimen.envs.term_tables import term_tables
from regimen.envs.vec_env import DemonstratedTask, task_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from regimen.agents.base import Policy
    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, StepInfo, VecEnv
    from regimen.runs.run import Run
    from regimen.system.json_data import Json


@contextmanager
def opened_env(config: Config) -> Iterator[VecEnv]:
    """Open the envs of `config`, print the tables of their terms, and close them at the end."""
    from regimen.envs import open_env

    env = open_env(config)
    try:
        print_tables(term_tables(config.env, env.io))
        yield env
    finally:
        env.close()


def roll_out(
    run: Run,
    env: VecEnv,
    policy: Policy,
    episodes: FirstEpisodeStats,
    seed: int,
    observers: Sequence[RolloutObserver] = (),
) -> Json:
    """Roll out the policy until every first episode has ended, at most one episode length.

    An observer with a larger `last_step` extends the rollout.

    Args:
        run: receives progress; stops the rollout on a signal.
        env: already set up, with fixed commands and events.
        policy: of the env.
        episodes: accumulates the first episode of each env.
        seed: of the env's reset.
        observers: called before and after each step.

    Returns:
        Entries of the observers for result.json.

    Raises:
        StopRequested: a signal asked to stop.
    """
    last_step = max((observer.last_step for observer in observers), default=0)
    task, stall = task_below(env), StallRule(env.num_envs)
    measured = task if isinstance(task, DemonstratedTask) else None
    with torch.inference_mode(), ExitStack() as stack:
        for observer in observers:
            stack.enter_context(observer)
        loop = PolicyLoop(env, policy, env.reset(seed=seed))
        for step in range(max(env.max_episode_length, last_step)):
            run.check_stop(step, lambda: None)
            for observer in observers:
                observer.on_step_start(step, loop.obs)
            stalled = None if measured is None else stall.observe(measured.distance_to_goal()).to(env.device)
            action, reward, terminated, truncated, info = loop.step()
            episodes.add(reward, terminated, truncated, info, stalled)
            for observer in observers:
                observer.on_step_end(action, reward, terminated, truncated)
            if step + 1 >= last_step and (episodes.finished or step + 1 >= env.max_episode_length):
                break
            run.progress(iteration=step + 1, iterations=max(env.max_episode_length, last_step), note="evaluating")
    return {key: value for observer in observers for key, value in observer.results(run).items()}


@dataclass
class PolicyLoop:
    """A policy that acts in all envs of a batch, step by step.

    Attributes:
        env: the envs.
        policy: of them.
        obs: present observations.
        state: of the policy; None before its first action.
    """

    env: VecEnv
    policy: Policy
    obs: Obs
    state: Any = None

    def step(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Act once; return actions (N, A), rewards (N,), terminated and truncated (N,) bool, and info of the step."""
        action, self.state = self.policy.act(self.obs, self.state)
        self.obs, reward, terminated, truncated, info = self.env.step(action)
        if isinstance(self.policy, InContextPolicy):
            self.state = self.policy.observe(self.state, reward)
        ended = (terminated | truncated).nonzero().squeeze(1)
        if len(ended):
            self.state = self.policy.reset(self.state, ended)
        return action, reward, terminated, truncated, info


class RolloutObserver:
    """Base class of observers; a context manager that is open during the rollout. Each method does nothing.

    Attributes:
        last_step: minimum number of steps of the rollout, even if every first episode has ended earlier.
    """

    last_step = 0

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Observe the state before step `step`; `obs` is {group: (N, d)}."""

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Observe a completed step: action (N, A), others (N,); envs whose episode ended are already reset."""

    def results(self, run: Run) -> Json:
        """Record artifacts after the rollout; return entries for result.json."""
        return {}

    def columns(self) -> dict[str, np.ndarray]:
        """Return metrics of the first episodes that only the whole of them has, name -> (N,)."""
        return {}

    def __enter__(self) -> RolloutObserver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Release resources."""


RESERVED = (SUCCESS, TERMINATED, STALLED, TIMED_OUT)
"""A termination with one of these names is counted as `terminated`."""


class FirstEpisodeStats:
    """Sums over the first episode of each of N envs.

    Attributes:
        running: (N,) bool, whether the first episode is still running.
        ends: name -> (N,) bool, how the first episode ended, one kind for each env: `success`, a termination by its
            name (`terminated` for one with a name of `RESERVED`), `stalled` or `timed_out`. A time-out is `stalled`
            where the env did not come nearer to the goal in the last steps, see `StallRule`.
        fell: (N,) bool, whether the first episode ended by a termination that is no success.
        succeeded: (N,) bool, whether the first episode ended by the label `success` of the task; None without one.
        returns: (N,) sum of rewards.
        steps: (N,) length in steps.
    """

    def __init__(self, num_envs: int, device: torch.device, metrics_from: int = 0) -> None:
        """Start all sums at zero.

        Args:
            num_envs: N.
            device: of all tensors.
            metrics_from: first step of the episode that counts for the averages of its metrics.
        """
        self.running = torch.ones(num_envs, dtype=torch.bool, device=device)
        self.fell = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self.succeeded: torch.Tensor | None = None
        self.ends: dict[str, torch.Tensor] = {}
        self.returns = torch.zeros(num_envs, dtype=torch.float64, device=device)
        self.steps = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._metrics_from = metrics_from
        self._sums: dict[str, torch.Tensor] = {}

    def add(
        self,
        reward: torch.Tensor,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        info: StepInfo,
        stalled: torch.Tensor | None = None,
    ) -> None:
        """Add one step of the envs whose first episode is running.

        Args:
            reward: (N,).
            terminated: (N,) bool.
            truncated: (N,) bool.
            info: of the step; `metrics`, {name: (N,)}, are averaged over the episode, and the label `success` (N,) bool
                counts in the step that ends the episode.
            stalled: (N,) bool, which envs stall; None for a task without a distance to its goal.
        """
        counted, ended = self.running, terminated | truncated
        self.returns += torch.where(counted, reward, 0.0)
        self.steps += counted
        measured = counted & (self.steps > self._metrics_from)
        for name, value in info.get("metrics", {}).items():
            total = self._sums.setdefault(name, torch.zeros_like(self.returns))
            total += torch.where(measured, value, 0.0)
        success = info.get("labels", {}).get("success")
        if success is not None:
            before = torch.zeros_like(counted) if self.succeeded is None else self.succeeded
            self.succeeded = before | (counted & ended & success)
            terminated = terminated & ~success
        self.fell |= counted & terminated
        self._add_ends(counted & ended, terminated, info.get("ends", {}), stalled)
        self.running = counted & ~ended

    def _add_ends(
        self,
        ended: torch.Tensor,
        terminated: torch.Tensor,
        named: Mapping[str, torch.Tensor],
        stalled: torch.Tensor | None,
    ) -> None:
        """Give each first episode that ended, (N,) bool, the first kind that holds."""
        kinds = {} if self.succeeded is None else {SUCCESS: self.succeeded}
        kinds |= {name: terminated & holds for name, holds in named.items() if name not in RESERVED}
        kinds[TERMINATED] = terminated
        if stalled is not None:
            kinds[STALLED] = stalled
        kinds[TIMED_OUT] = torch.ones_like(ended)
        left = ended
        for name, holds in kinds.items():
            self.ends[name] = self.ends.get(name, torch.zeros_like(ended)) | (left & holds)
            left = left & ~holds

    @property
    def finished(self) -> bool:
        """Whether every first episode has ended."""
        return not bool(self.running.any())

    def means(self) -> dict[str, torch.Tensor]:
        """Return the mean of every metric over the episode of each env, {name: (N,)}; NaN if none of it is measured."""
        measured = (self.steps - self._metrics_from).clamp(min=0)
        return {name: total / measured for name, total in self._sums.items()}
