"""Roll out several episodes per env without resetting the policy's memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from regimen.agents.base import InContextPolicy
from regimen.stages.in_context_evaluation.results import EpisodeSeries, EpisodeStats

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.run import Run
    from regimen.stages.in_context_evaluation.policies import ComparedPolicy


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
            obs, reward, terminated, truncated, _ = env.step(action)
            if learner is not None:
                state = learner.observe(state, reward)
            stats.add(reward, terminated, truncated)
            ended = (terminated | truncated).nonzero().squeeze(1)
            if len(ended):
                state = policy.reset(state, ended)
            step += 1
            progress.tick(step, compared.label, step * env.num_envs / (time.perf_counter() - started))
    progress.end()
    return EpisodeSeries.of(compared.name, compared.label, stats, time.perf_counter() - started)
