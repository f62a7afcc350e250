"""Who looks on while a policy plays: a film of it, a clock that keeps real time, a window, a log of every step."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from regimen.stages.playback.observer import RolloutObserver

if TYPE_CHECKING:
    import torch

    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run
    from regimen.stages.playback.options import PlaybackCfg

FRAMES_PER_S = 30
BEHIND = 0.95
"""Share of real time below which a run says that it did not keep up."""


def make_observers(cfg: PlaybackCfg, run: Run, config: Config, env: VecEnv) -> list[RolloutObserver]:
    """Return who looks on, as the stage was asked.

    Args:
        cfg: the stage.
        run: gets the files.
        config: whether there is a video, and what is told of the task.
        env: what is looked at.
    """
    observers: list[RolloutObserver] = []
    if config.video:
        observers.append(VideoRecorder(run, env, cfg.video_seconds, cfg.video_length))
    if cfg.log_data:
        from regimen.stages.playback.step_log import StepLog

        head = {"task": config.choices.get("task"), "policy": config.policy, "seed": config.seed, "run": run.id}
        observers.append(StepLog(run.logs / "steps.h5", env, cfg.log_env_ids, cfg.log_steps, head))
    if cfg.viewer:
        from regimen.stages.playback.viewer import Viewer

        observers.append(Viewer(env))
    if cfg.real_time:
        observers.append(RealTimePacer(env.step_dt))  # the last: it sleeps when the others are done
    return observers


class VideoRecorder(RolloutObserver):
    """A video of env 0.

    Attributes:
        path: the file.
        every: steps between two frames.
    """

    def __init__(self, run: Run, env: VecEnv, seconds: float, length: int | None) -> None:
        """Begin the run's `video/eval.mp4`, at about 30 frames a second.

        Args:
            run: the run.
            env: draws.
            seconds: length, if its first episode lasts as long.
            length: steps instead, through as many episodes as it takes.
        """
        from regimen.display.video import VideoWriter

        self.every = max(1, round(1 / (FRAMES_PER_S * env.step_dt)))
        self.path = run.dir / "video" / "eval.mp4"
        self.path.parent.mkdir(exist_ok=True)
        self.last_step = length or 0
        self._env, self._writer = env, VideoWriter(self.path, fps=1 / (self.every * env.step_dt))
        self._end, self._through = length or round(seconds / env.step_dt), length is not None

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Take a picture if one is due: after a step that ends the episode, env 0 would show the next one."""
        if step % self.every == 0 and step < self._end:
            self._writer.add(self._env.render())

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """End with the first episode, unless a length was asked for."""
        if not self._through and bool(terminated[0] | truncated[0]):
            self._end = 0

    def results(self, run: Run) -> dict[str, Any]:
        """Name the film."""
        run.artifact(self.path, "video")
        return {}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Complete the film, or leave none."""
        self._writer.__exit__(kind, error, at)


class RealTimePacer(RolloutObserver):
    """Sleeps so that a step takes as long as it means, and measures how near that came to real time."""

    def __init__(self, step_dt: float) -> None:
        """Take the time in s that a step means."""
        self._step_dt, self._steps, self._began, self._due = step_dt, 0, 0.0, 0.0

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Start with the first step."""
        if step == 0:
            self._began = self._due = time.perf_counter()

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Wait until the step is over. Time that was lost is not made up for: the robot would move too fast."""
        self._steps += 1
        now = time.perf_counter()
        self._due = max(self._due + self._step_dt, now)
        time.sleep(self._due - now)

    @property
    def factor(self) -> float:
        """Time that the steps meant, over the time that they took."""
        return self._steps * self._step_dt / max(self._due - self._began, 1e-9)

    def results(self, run: Run) -> dict[str, Any]:
        """Say which share of real time was reached."""
        print(f"real time: factor {self.factor:.3f} over {self._steps * self._step_dt:.1f} s")
        if self.factor < BEHIND:
            run.warn(
                f"Playing reached {self.factor:.2f} of real time. Fewer environments are faster: lower "
                "stage.envs_per_command."
            )
        return {"real_time_factor": self.factor}
