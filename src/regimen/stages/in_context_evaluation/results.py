"""Roll out several episodes per env without resetting the policy's memory, and their returns by episode."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.agents.base import InContextPolicy
from regimen.display.intervals import Figure, bootstrap, iqm
from regimen.system.json_data import JsonData

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.checkpoint_header import StateDict
    from regimen.runs.run import Run
    from regimen.stages.in_context_evaluation.policies import ComparedPolicy

LAST_SHARE = 0.2
"""Share of the last episodes over which the improvement is measured."""


class EpisodeStats:
    """Sums over the first E episodes of each of N envs; episodes of different envs end independently.

    Attributes:
        returns: (N, E) sum of rewards.
        steps: (N, E) length in steps.
        fell: (N, E) bool, ended by a termination that is no success.
    """

    def __init__(self, num_envs: int, episodes: int, device: torch.device) -> None:
        """Start all sums at zero."""
        self.returns = torch.zeros(num_envs, episodes, dtype=torch.float64, device=device)
        self.steps = torch.zeros(num_envs, episodes, dtype=torch.long, device=device)
        self.fell = torch.zeros(num_envs, episodes, dtype=torch.bool, device=device)
        self._episode = torch.zeros(num_envs, dtype=torch.long, device=device)
        self._row = torch.arange(num_envs, device=device)
        self._last = episodes - 1

    def add(
        self,
        reward: torch.Tensor,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        success: torch.Tensor | None = None,
    ) -> None:
        """Add one step, each (N,); envs with E completed episodes are ignored.

        Args:
            reward: of the step.
            terminated: bool.
            truncated: bool.
            success: bool, the label `success` of the task; None without one.
        """
        counted = self._episode <= self._last
        where = (self._row, self._episode.clamp(max=self._last))
        self.returns[where] += torch.where(counted, reward, 0.0)
        self.steps[where] += counted
        self.fell[where] |= counted & (terminated if success is None else terminated & ~success)
        self._episode += terminated | truncated

    @property
    def finished(self) -> bool:
        """Whether every env has completed E episodes."""
        return bool((self._episode > self._last).all())


@dataclass(frozen=True)
class ReturnScale:
    """Episode returns that normalize to 0 and 1; None if unknown."""

    random: float | None
    expert: float | None

    def normalized(self, returns: np.ndarray) -> np.ndarray | None:
        """Return normalized `returns`; None if a score is unknown or both are equal."""
        if self.random is None or self.expert is None or self.expert == self.random:
            return None
        return np.asarray((returns - self.random) / (self.expert - self.random))


@dataclass
class PolicyResult(JsonData):
    """Entries of one policy in result.json; lists are by episode, nested lists by env and episode.

    Attributes:
        label: in tables and figures.
        episode_returns: sum of rewards.
        episode_lengths: steps.
        normalized: mean of the normalized returns.
        iqm: interquartile mean of the returns.
        mean: mean of the returns.
        interval: lower and upper end of the interval of the mean.
        std: standard deviation over envs; None for one env.
        improvement: of the last fifth of the episodes over the first episode.
        improvement_normalized: the same of normalized returns.
        episodes_to_90: number of the first episode at 90 % of the improvement.
        fall_rate: share of the episodes that ended by a termination that is no success.
        steps_per_s: env steps per second.
    """

    label: str
    episode_returns: list[list[float]]
    episode_lengths: list[list[int]]
    normalized: list[float] | None
    iqm: list[float]
    mean: list[float]
    interval: list[list[float]]
    std: list[float] | None
    improvement: Figure
    improvement_normalized: Figure | None
    episodes_to_90: int | None
    fall_rate: float
    steps_per_s: float


@dataclass(frozen=True)
class EpisodeSeries:
    """Episodes of one policy: E consecutive ones in each of N envs.

    Attributes:
        name: key of the policy in result.json.
        label: in tables and figures.
        returns: (N, E).
        steps: (N, E).
        fell: (N, E) bool.
        steps_per_s: env steps per second.
    """

    name: str
    label: str
    returns: np.ndarray
    steps: np.ndarray
    fell: np.ndarray
    steps_per_s: float

    @classmethod
    def of(cls, name: str, label: str, stats: EpisodeStats, wall_s: float) -> EpisodeSeries:
        """Read finished statistics; `wall_s` is the duration of the rollout in s."""
        returns, steps, fell = (value.cpu().numpy() for value in (stats.returns, stats.steps, stats.fell))
        return cls(name, label, returns, steps, fell, float(steps.sum() / wall_s))

    def curve(self, resamples: int, seed: int) -> list[Figure]:
        """Return the mean return of each episode with its interval over envs, length E."""
        return [bootstrap(column, resamples, seed) for column in self.returns.T]

    @property
    def final(self) -> np.ndarray:
        """Mean return over the last fifth of the episodes of each env, (N,)."""
        count = max(1, round(LAST_SHARE * self.returns.shape[1]))
        return np.asarray(self.returns[:, -count:].mean(1))

    def improvement(self, resamples: int, seed: int) -> Figure:
        """Return the mean return of the last fifth minus that of the first episode, with its interval over envs."""
        return bootstrap(self.final - self.returns[:, 0], resamples, seed)

    def episodes_to_90(self) -> int | None:
        """Return the number of the first episode at 90 % of the improvement; None without improvement."""
        mean, final = self.returns.mean(0), float(self.final.mean())
        if final <= mean[0]:
            return None
        return int(np.argmax(mean >= mean[0] + 0.9 * (final - mean[0]))) + 1

    def result(self, scores: ReturnScale, resamples: int, seed: int) -> PolicyResult:
        """Return the entries of result.json."""
        improvement, curve = self.improvement(resamples, seed), self.curve(resamples, seed)
        normalized = scores.normalized(self.returns)
        scaled = scores.normalized(np.array([improvement.value, improvement.low, improvement.high]))
        origin = scores.normalized(np.zeros(1))
        return PolicyResult(
            label=self.label,
            episode_returns=self.returns.tolist(),
            episode_lengths=self.steps.tolist(),
            normalized=None if normalized is None else normalized.mean(0).tolist(),
            iqm=iqm(self.returns).tolist(),
            mean=[figure.value for figure in curve],
            interval=[[figure.low, figure.high] for figure in curve],
            std=self.returns.std(0, ddof=1).tolist() if len(self.returns) > 1 else None,
            improvement=improvement,
            improvement_normalized=None if scaled is None or origin is None else Figure(*(scaled - origin).tolist()),
            episodes_to_90=self.episodes_to_90(),
            fall_rate=float(self.fell.mean()),
            steps_per_s=self.steps_per_s,
        )

    def state_dict(self) -> StateDict:
        """Return the state for resuming."""
        arrays = {name: torch.as_tensor(getattr(self, name)) for name in ("returns", "steps", "fell")}
        return {"name": self.name, "label": self.label, "steps_per_s": self.steps_per_s} | arrays

    @classmethod
    def restored(cls, state: StateDict) -> EpisodeSeries:
        """Rebuild from `state_dict`."""
        fields: StateDict = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
        return cls(**fields)


class ProgressReporter:
    """Report the progress of several rollouts, and stop on a signal."""

    def __init__(self, run: Run, rollouts: int, steps: int) -> None:
        """Start the progress.

        Args:
            run: receives progress.
            rollouts: number of rollouts.
            steps: maximum number of steps of a rollout.
        """
        self.run, self.steps, self.total = run, steps, rollouts * steps
        self._before, self._started = 0, time.perf_counter()

    def tick(self, step: int, label: str, samples_per_s: float) -> None:
        """Report that `step` steps of the current rollout are done.

        Raises:
            StopRequested: a signal asked to stop.
        """
        done = self._before + step
        self.run.check_stop(done, lambda: None)
        elapsed = time.perf_counter() - self._started
        eta = elapsed / done * (self.total - done) if done else None
        self.run.progress(
            iteration=done, iterations=self.total, samples_per_s=samples_per_s, eta_s=eta, note=f"rollout: {label}"
        )

    def end(self) -> None:
        """Report that the current rollout is complete."""
        self._before += self.steps


def run_episodes(
    env: VecEnv, compared: ComparedPolicy, episodes: int, seed: int, progress: ProgressReporter
) -> EpisodeSeries:
    """Roll out a policy for `episodes` episodes in every env, from the same reset at each call.

    Args:
        env: the envs.
        compared: the policy; an in-context policy observes the rewards.
        episodes: number of episodes per env.
        seed: of the env's reset.
        progress: receives progress.
    """
    policy, stats = compared.make(), EpisodeStats(env.num_envs, episodes, env.device)
    step, started = 0, time.perf_counter()
    learner = policy if isinstance(policy, InContextPolicy) else None
    with torch.inference_mode():
        obs, state = env.reset(seed=seed), None
        while not stats.finished:
            action, state = policy.act(obs, state)
            obs, reward, terminated, truncated, info = env.step(action)
            if learner is not None:
                state = learner.observe(state, reward)
            stats.add(reward, terminated, truncated, info.get("labels", {}).get("success"))
            ended = (terminated | truncated).nonzero().squeeze(1)
            if len(ended):
                state = policy.reset(state, ended)
            step += 1
            progress.tick(step, compared.label, step * env.num_envs / (time.perf_counter() - started))
    progress.end()
    return EpisodeSeries.of(compared.name, compared.label, stats, time.perf_counter() - started)
