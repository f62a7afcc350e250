"""Roll out a policy for the first episode of every env, with observers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.base import InContextPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.agents.base import Policy
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.run import Run
    from regimen.stages.playback.first_episodes import FirstEpisodeStats
    from regimen.stages.playback.observer import RolloutObserver


def roll_out(
    run: Run,
    env: VecEnv,
    policy: Policy,
    episodes: FirstEpisodeStats,
    seed: int,
    observers: Sequence[RolloutObserver] = (),
) -> dict[str, Any]:
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
    learner = policy if isinstance(policy, InContextPolicy) else None
    last_step = max((observer.last_step for observer in observers), default=0)
    with torch.inference_mode(), ExitStack() as stack:
        for observer in observers:
            stack.enter_context(observer)
        obs, state = env.reset(seed=seed), None
        for step in range(max(env.max_episode_length, last_step)):
            run.check_stop(step, lambda: None)
            for observer in observers:
                observer.on_step_start(step, obs)
            action, state = policy.act(obs, state)
            obs, reward, terminated, truncated, info = env.step(action)
            if learner is not None:
                state = learner.observe(state, reward)
            episodes.add(reward, terminated, truncated, info)
            for observer in observers:
                observer.on_step_end(action, reward, terminated, truncated)
            ended = (terminated | truncated).nonzero().squeeze(1)
            if len(ended):
                state = policy.reset(state, ended)
            if step + 1 >= last_step and (episodes.finished or step + 1 >= env.max_episode_length):
                break
            run.progress(iteration=step + 1, iterations=max(env.max_episode_length, last_step), note="evaluating")
    return {key: value for observer in observers for key, value in observer.results(run).items()}
