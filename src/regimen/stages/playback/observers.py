"""Observers of a rollout: video, real-time pacing, viewer, step log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from regimen.envs.vec_env import task_below
from regimen.stages.playback.rollout import RolloutObserver

if TYPE_CHECKING:
    import torch

    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run
    from regimen.stages.playback.browser_page import BrowserPage
    from regimen.stages.playback.options import PlaybackCfg
    from regimen.system.json_data import Json

FRAMES_PER_S = 30
BEHIND = 0.95
"""Real-time factor below which a run warns."""


def make_observers(
    cfg: PlaybackCfg, run: Run, config: Config, env: VecEnv, page: BrowserPage | None = None
) -> list[RolloutObserver]:
    """Return the observers that `cfg` and `config.video` enable.

    Args:
        cfg: options of the rollout.
        run: receives the files.
        config: of the run.
        env: the observed env.
        page: that shows the rollout, of `browser_viewer.open_page`.
    """
    observers: list[RolloutObserver] = []
    task = task_below(env)
    if getattr(task, "motion", None) is not None:
        from regimen.stages.playback.motion_comparison import MotionComparison

        observers.append(MotionComparison(task))
    if config.video:
        observers.append(VideoRecorder(run, env, cfg.video_seconds, cfg.video_length))
    if cfg.log_data:
        from regimen.stages.playback.step_log import StepLog

        head = {"task": config.choices.get("task"), "policy": config.policy, "seed": config.seed, "run": run.id}
        observers.append(StepLog(run.logs / "steps.h5", env, cfg.log_env_ids, cfg.log_steps, head))
    if page is not None:
        from regimen.stages.playback.browser_viewer import PageObserver

        observers.append(PageObserver(run, page))
    elif cfg.viewer:
        from regimen.stages.playback.viewer import Viewer

        observers.append(Viewer(env))
    if cfg.real_time:
        observers.append(RealTimePacer(env.step_dt))  # last: sleeps for the rest of the step, after all other observers
    return observers


class VideoRecorder(RolloutObserver):
    """Record a video of env 0.

    Attributes:
        path: the MP4 file.
        every: steps between two frames.
    """

    def __init__(self, run: Run, env: VecEnv, seconds: float, length: int | None) -> None:
        """Open `video/eval.mp4` of the run, at about 30 frames per second.

        Args:
            run: receives the file.
            env: renders the frames.
            seconds: maximum length; the video ends with the first episode.
            length: length in steps instead, across episodes.
        """
        from regimen.display.video import VideoWriter

        self.every = max(1, round(1 / (FRAMES_PER_S * env.step_dt)))
        self.path = run.dir / "video" / "eval.mp4"
        self.path.parent.mkdir(exist_ok=True)
        self.last_step = length or 0
        self._env, self._writer = env, VideoWriter(self.path, fps=1 / (self.every * env.step_dt))
        self._end, self._across_episodes = length or round(seconds / env.step_dt), length is not None

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Add a frame if one is due; after a step that ends the episode, env 0 shows the next episode."""
        if step % self.every == 0 and step < self._end:
            self._writer.add(self._env.render())

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """End the video with the first episode, unless `length` is set."""
        if not self._across_episodes and bool(terminated[0] | truncated[0]):
            self._end = 0

    def results(self, run: Run) -> Json:
        """Record the video as an artifact."""
        run.artifact(self.path, "video")
        return {}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Complete the file, or delete it after an error."""
        self._writer.__exit__(kind, error, at)


class RealTimePacer(RolloutObserver):
    """Sleep so that each step lasts its nominal time, and measure the real-time factor."""

    def __init__(self, step_dt: float) -> None:
        """Pace steps of `step_dt` seconds."""
        self._step_dt, self._steps, self._started, self._due = step_dt, 0, 0.0, 0.0

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Start the clock at the first step."""
        if step == 0:
            self._started = self._due = time.perf_counter()

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Sleep until the step ends. Delays are not caught up: the robot would move too fast."""
        self._steps += 1
        now = time.perf_counter()
        self._due = max(self._due + self._step_dt, now)
        time.sleep(self._due - now)

    @property
    def factor(self) -> float:
        """Nominal time of the steps divided by their wall time."""
        return self._steps * self._step_dt / max(self._due - self._started, 1e-9)

    def results(self, run: Run) -> Json:
        """Print the real-time factor; warn if it is below `BEHIND`."""
        print(f"real time: factor {self.factor:.3f} over {self._steps * self._step_dt:.1f} s")
        if self.factor < BEHIND:
            run.warn(f"The rollout ran at {self.factor:.2f} of real time. Lower stage.envs_per_command to speed it up.")
        return {"real_time_factor": self.factor}
