"""A policy plays the first episode of every environment, on film if asked."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.vec_env import IOSpec
from regimen.resolve import resolve

if TYPE_CHECKING:
    from regimen.agents.policy import Policy
    from regimen.envs.vec_env import VecEnv
    from regimen.run import Run
    from regimen.stages.first_episodes import FirstEpisodes
    from regimen.video import VideoWriter


def load_policy(bundle: dict[str, Any], env: VecEnv, seed: int) -> Policy:
    """Return the policy of a checkpoint for `env`; `seed` is of what it may draw.

    A model of several groups of tasks tells in `ios` what each reads and writes; the nearest counts.

    Raises:
        IOMismatchError: if it does not fit.
    """
    known = [IOSpec.from_dict(io) for io in bundle.get("ios", [bundle["io"]])]
    io = min(known, key=lambda io: len(io.differences(env.io)))
    io.require_fits(env.io)
    torch.manual_seed(seed)
    policy: Policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)
    return policy


def play(run: Run, env: VecEnv, policy: Policy, episodes: FirstEpisodes, seed: int, film: Film | None = None) -> None:
    """Play until every first episode has ended, or for one full length.

    Args:
        run: shows progress, and says when to stop.
        env: what is held fixed in it is set already.
        policy: acts.
        episodes: takes note.
        seed: of the environment's reset.
        film: of env 0.
    """
    observe = getattr(policy, "observe", None)  # of a policy that learns in context
    with torch.inference_mode(), film.writer if film else nullcontext():
        obs, state = env.reset(seed=seed), None
        for step in range(env.max_episode_length):
            run.check_stop(step, lambda: None)
            # Before the step: after one that ends the episode, env 0 would show the next one.
            if film is not None and episodes.running[0]:
                film.add(step, env)
            action, state = policy.act(obs, state)
            obs, reward, terminated, truncated, info = env.step(action)
            if observe is not None:
                state = observe(state, reward)
            episodes.add(reward, terminated, truncated, info)
            ended = (terminated | truncated).nonzero().squeeze(1)
            if len(ended):
                state = policy.reset(state, ended)
            if episodes.finished:
                break
            run.progress(iteration=step + 1, iterations=env.max_episode_length, note="evaluating")
    if film is not None:
        run.artifact(film.path, "video")


@dataclass
class Film:
    """A video of env 0, taken while the evaluation runs.

    Attributes:
        path: the file.
        writer: takes the frames.
        every: steps between two frames.
        last_step: where it ends.
    """

    path: Path
    writer: VideoWriter
    every: int
    last_step: int

    @classmethod
    def of(cls, run: Run, env: VecEnv, seconds: float) -> Film:
        """Begin the run's `video/eval.mp4`, `seconds` long, at about 30 frames a second."""
        from regimen.video import VideoWriter

        every = max(1, round(1 / (30 * env.step_dt)))
        path = run.dir / "video" / "eval.mp4"
        path.parent.mkdir(exist_ok=True)
        writer = VideoWriter(path, fps=1 / (every * env.step_dt))
        return cls(path, writer, every, last_step=round(seconds / env.step_dt))

    def add(self, step: int, env: VecEnv) -> None:
        """Take a picture if one is due at `step`."""
        if step % self.every == 0 and step < self.last_step:
            self.writer.add(env.render())
