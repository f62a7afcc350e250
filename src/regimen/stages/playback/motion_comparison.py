"""Comparison of first episodes with the task's motion clips, by dynamic time warping."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.data.motion.model_poses import ModelPoses
from regimen.data.motion.time_warping import warped_distance, warped_path
from regimen.display.intervals import bootstrap
from regimen.envs.motion.kinematics import Kinematics
from regimen.stages.playback.rollout import RolloutObserver

if TYPE_CHECKING:
    from regimen.envs.motion.library import MotionLibrary
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run
    from regimen.system.json_data import Json

SKIP_S = 2.0
"""s at the beginning of an episode that are not compared: a robot may start from standing."""

WINDOW_S = 1.0
"""s of the episode that are compared with a clip at once."""

BY_BODY = "dtw_by_body_cm"
"""Key of the result: the distance of each body."""

STILL_CM = 1e-3
"""Distance below which the origin of a body does not move in the base frame."""

RESAMPLES = 2000
"""Bootstrap resamples of the interval of each body."""


class MotionComparison(RolloutObserver):
    """Distance of each first episode from the nearest clip: windows of a second, the mean over them.

    An episode that ends before the first window is judged by its last poses.
    """

    def __init__(self, env: VecEnv) -> None:
        """Observe `env`, whose task has motion clips."""
        self._env = env
        self._library: MotionLibrary = env.motion  # type: ignore[attr-defined]
        robot = env.robot  # type: ignore[attr-defined]
        self._kinematics = Kinematics(robot, ModelPoses(robot).bodies, torch.device("cpu"))
        self._joints: list[torch.Tensor] = []
        self._lengths = torch.zeros(env.num_envs, dtype=torch.long)
        self._running = torch.ones(env.num_envs, dtype=torch.bool)
        self._distances: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Keep the joints of all envs, (N, J)."""
        if bool(self._running.any()):
            self._joints.append(self._env.kinematics()["joint_pos"].cpu())  # type: ignore[attr-defined]
            self._lengths += self._running

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Drop envs whose first episode ended."""
        self._running &= ~(terminated | truncated).cpu()

    def columns(self) -> dict[str, np.ndarray]:
        """Return `dtw_body_cm` (N,), the mean over all bodies in the base frame, and `dtw_joint` (N,) in rad."""
        self._distances = self._distances or self._compare(lambda clip: None)
        return {"dtw_body_cm": self._distances[0], "dtw_joint": self._distances[1]}

    def results(self, run: Run) -> Json:
        """Return `dtw_by_body_cm`: body -> mean over the episodes with its 95 % interval.

        Bodies whose origin no joint moves, such as the base and hips, are left out; all of them where no clip is long
        enough for a window.

        Raises:
            StopRequested: a signal asked to stop.
        """

        def check(clip: int) -> None:
            run.check_stop(clip, lambda: None)
            run.progress(iteration=clip, iterations=len(self._library.clips), note="comparing with motion clips")

        self._distances = self._compare(check)
        by_body = self._distances[2]
        figures = {
            name: bootstrap(by_body[:, i], RESAMPLES, seed=0).to_dict()
            for i, name in enumerate(self._kinematics.bodies)
            if by_body[:, i].max() > STILL_CM
        }
        return {BY_BODY: figures}

    def _compare(self, check: Callable[[int], None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return distances of each env: mean of bodies (N,) cm, of joints (N,) rad, and of each body (N, B) cm.

        Those of each body belong to the alignment of all bodies with the clip that is nearest by it.

        Args:
            check: called before each clip with its number; raises to stop.
        """
        joints = torch.stack(self._joints, dim=1)  # (N, T, J)
        windows, env_ids = self._windows(joints)
        bodies = self._bodies(windows)
        body, joint = torch.full((2, len(windows)), float("inf"))
        by_body = torch.zeros(len(windows), bodies.shape[2])
        for clip_id in range(len(self._library.clips)):
            check(clip_id)
            frames = self._clip_joints(clip_id)
            clip_bodies = self._bodies(frames)
            distance, path = warped_path(bodies, clip_bodies)
            nearer = distance < body
            gaps = torch.linalg.vector_norm(bodies[nearer] - clip_bodies[path[nearer]], dim=-1)
            by_body[nearer] = gaps.mean(1)
            body = torch.minimum(body, distance)
            joint = torch.minimum(joint, warped_distance(windows[..., None], frames[..., None]))
        rows = torch.cat((100.0 * body[:, None], joint[:, None], 100.0 * by_body), dim=1)
        count = torch.zeros(len(joints)).index_add_(0, env_ids, torch.ones(len(env_ids)))
        means = torch.zeros(len(joints), rows.shape[1]).index_add_(0, env_ids, rows) / count[:, None]
        return means[:, 0].numpy(), means[:, 1].numpy(), means[:, 2:].numpy()

    def _windows(self, joints: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return windows (B, T, J) and the env (B,) of each."""
        length, skip = round(WINDOW_S / self._env.step_dt), round(SKIP_S / self._env.step_dt)
        rows, env_ids = [], []
        for env_id, steps in enumerate(self._lengths.tolist()):
            starts = list(range(skip, steps - length + 1, length)) or [steps - length]
            for start in starts:  # of a shorter episode the first pose is repeated in front
                rows.append(joints[env_id, torch.arange(start, start + length).clamp_min(0)])
                env_ids.append(env_id)
        return torch.stack(rows), torch.tensor(env_ids)

    def _clip_joints(self, clip_id: int) -> torch.Tensor:
        """Return the joints (R, J) of a clip at the control step; of a cyclic clip as many cycles as a window needs."""
        library, dt = self._library, self._library.step_dt
        duration = float(library.durations[clip_id])
        wanted = max(duration, 2 * WINDOW_S + dt) if bool(library.cyclic[clip_id]) else duration
        times = torch.arange(0.0, wanted + 1e-9, dt, dtype=torch.float64)
        times = times.remainder(duration) if bool(library.cyclic[clip_id]) else times
        ids = torch.full((len(times),), clip_id, dtype=torch.long, device=library.device)
        return library.at(ids, times.to(library.device)).joint_pos.cpu()

    def _bodies(self, joints: torch.Tensor) -> torch.Tensor:
        """Return all bodies (…, B, 3) m in the base frame at joints (…, J)."""
        bodies = self._kinematics.positions(joints.reshape(-1, joints.shape[-1]))
        return bodies.reshape(*joints.shape[:-1], -1, 3)
