"""A policy lives through several episodes in every environment, and remembers what it likes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from regimen.stages.in_context_evaluation.results import EpisodeSeries, EpisodeStats

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.run import Run
    from regimen.stages.in_context_evaluation.policies import ComparedPolicy


class ProgressReporter:
    """Shows how far several lives are, and stops them when a signal came."""

    def __init__(self, run: Run, lives: int, steps: int) -> None:
        """Start.

        Args:
            run: shows progress.
            lives: how many are to come.
            steps: of one of them, at most.
        """
        self.run, self.steps, self.total = run, steps, lives * steps
        self._before, self._started = 0, time.perf_counter()

    def tick(self, step: int, label: str, samples_per_s: float) -> None:
        """Say that `step` steps of the present life are done.

        Raises:
            StopRequested: a signal had come.
        """
        done = self._before + step
        self.run.check_stop(done, lambda: None)
        spent = time.perf_counter() - self._started
        eta = spent / done * (self.total - done) if done else None
        self.run.progress(
            iteration=done, iterations=self.total, samples_per_s=samples_per_s, eta_s=eta, note=f"living: {label}"
        )

    def end(self) -> None:
        """Say that the present life is over."""
        self._before += self.steps


def run_episodes(
    env: VecEnv, player: ComparedPolicy, episodes: int, seed: int, clock: ProgressReporter
) -> EpisodeSeries:
    """Play `episodes` episodes in every environment, from the same beginning at each call.

    Args:
        env: the environments.
        player: acts; told of rewards if it has an `observe`, and of new episodes by `reset`.
        episodes: how many in each.
        seed: of the environment's reset.
        clock: shows progress.
    """
    policy, log, step, started = player.make(), EpisodeStats(env.num_envs, episodes, env.device), 0, time.perf_counter()
    observe = getattr(policy, "observe", None)
    with torch.inference_mode():
        obs, state = env.reset(seed=seed), None
        while not log.finished:
            action, state = policy.act(obs, state)
            obs, reward, terminated, truncated, _ = env.step(action)
            if observe is not None:
                state = observe(state, reward)
            log.add(reward, terminated, truncated)
            ended = (terminated | truncated).nonzero().squeeze(1)
            if len(ended):
                state = policy.reset(state, ended)
            step += 1
            clock.tick(step, player.label, step * env.num_envs / (time.perf_counter() - started))
    clock.end()
    return EpisodeSeries.of(player.name, player.label, log, time.perf_counter() - started)
