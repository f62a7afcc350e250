"""The motion clips of a task as tensors: interpolated at any time, mirrored, weighted, sampled."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.config.motion_files import resolve_motion
from regimen.envs.motion.clip import MotionClip, read_clip
from regimen.envs.motion.kinematics import Kinematics
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.config.task_schema import MotionCfg
    from regimen.envs.robots.robot import Robot


@dataclass
class MotionFrames:
    """Frames of clips. n frames, J joints.

    Attributes:
        root_pos: (n, 3) m, in the clip's own world frame.
        root_quat: (n, 4) w x y z.
        joint_pos: (n, J) rad.
        root_lin_vel: (n, 3) m/s, world frame.
        root_ang_vel: (n, 3) rad/s, base frame.
        joint_vel: (n, J) rad/s.
    """

    root_pos: torch.Tensor
    root_quat: torch.Tensor
    joint_pos: torch.Tensor
    root_lin_vel: torch.Tensor
    root_ang_vel: torch.Tensor
    joint_vel: torch.Tensor


class MotionLibrary:
    """C clips of one robot.

    Attributes:
        clips: the clips, joints in the robot's order; mirror images follow after the clips themselves.
        weights: (C,) probability that a clip is drawn.
        durations: (C,) s.
        cyclic: (C,) bool, whether a clip ends in the pose it begins with.
        cycle_shift: (C, 2) m, how far the base moves from the first to the last frame, in the clip's frame.
        cycle_turn: (C,) rad, by which the heading turns meanwhile.
        step_dt: control step in s, the time between the two poses of a pair.
        key_bodies: names of the K bodies in a pose.
        num_joints: J.
    """

    def __init__(
        self,
        clips: Sequence[MotionClip],
        weights: Sequence[float],
        robot: Robot,
        key_bodies: Sequence[str],
        step_dt: float,
        device: torch.device,
    ) -> None:
        """Stack the clips.

        Args:
            clips: usable clips of `robot`, joints in its order.
            weights: of the clips, in any unit.
            robot: names and lengths.
            key_bodies: bodies whose positions belong to a pose.
            step_dt: control step in s.
            device: of all tensors.

        Raises:
            ConfigError: no clip or no weight, a clip shorter than two control steps, or an unknown body.
        """
        self.clips, self.step_dt, self.device = list(clips), step_dt, device
        self.key_bodies, self.num_joints = list(key_bodies), len(robot.joints)
        for clip in self.clips:
            if clip.duration < 2 * step_dt:
                raise ConfigError(
                    f"The motion clip {clip.name} lasts {clip.duration:.3g} s, less than two control steps of "
                    f"{step_dt:g} s; choose a longer one."
                )
        total = torch.tensor(list(weights), dtype=torch.float64, device=device)
        if not len(total) or not bool(total.isfinite().all()) or float(total.min()) < 0 or float(total.sum()) <= 0:
            raise ConfigError(f"env.motion: weights {list(weights)}; expected 0 or more each, and one above 0.")
        self.weights = total / total.sum()
        self._kinematics = Kinematics(robot, key_bodies, device)
        self._read_frames()

    @classmethod
    def open(cls, cfg: MotionCfg, robot: Robot, step_dt: float, device: torch.device) -> MotionLibrary | None:
        """Return the library of a task's section `motion`; None if it names no clips.

        Raises:
            ConfigError: a clip is not found, damaged or of another robot; or the robot has no mirror image.
        """
        named = [clip for clip in cfg.clips.values() if clip is not None]
        if not named:
            return None
        clips = [read_clip(resolve_motion(clip.file), robot) for clip in named]
        weights = [clip.weight for clip in named]
        if cfg.mirrored:
            if robot.mirror is None:
                raise ConfigError(f"env.motion.mirrored: the robot `{robot.name}` declares no left and right.")
            clips, weights = clips + [clip.mirrored(robot.mirror) for clip in clips], weights * 2
        return cls(clips, weights, robot, cfg.key_bodies, step_dt, device)

    def _read_frames(self) -> None:
        def stacked(name: str) -> torch.Tensor:
            rows = np.concatenate([getattr(clip, name) for clip in self.clips])
            return torch.from_numpy(rows.astype(np.float32)).to(self.device)

        self._frames = MotionFrames(**{field.name: stacked(field.name) for field in fields(MotionFrames)})
        counts = [clip.frames for clip in self.clips]
        device = self.device
        self._first = torch.tensor([sum(counts[:i]) for i in range(len(counts))], device=device)
        self._last = torch.tensor(counts, device=device) - 1
        self._fps = torch.tensor([clip.fps for clip in self.clips], dtype=torch.float64, device=device)
        self.durations = torch.tensor([clip.duration for clip in self.clips], dtype=torch.float64, device=device)

        self.cyclic = torch.tensor([clip.cyclic for clip in self.clips], device=device)
        cycles = [clip.cycle() for clip in self.clips]
        self.cycle_shift = torch.tensor([list(shift) for shift, _ in cycles], dtype=torch.float32, device=device)
        self.cycle_turn = torch.tensor([turn for _, turn in cycles], dtype=torch.float32, device=device)

    @property
    def pose_size(self) -> int:
        """Width P of a pose: 7 + J + 3 K."""
        return 7 + self.num_joints + 3 * len(self.key_bodies)

    def at(self, clip_ids: torch.Tensor, times: torch.Tensor) -> MotionFrames:
        """Return the frames (n) at `times` (n,) s of the clips `clip_ids` (n,), linear between two frames.

        Before the first and after the last frame a clip rests there.
        """
        position = times.double() * self._fps[clip_ids]
        position = torch.minimum(position.clamp_min(0.0), self._last[clip_ids].double())
        frame = torch.minimum(position.long(), self._last[clip_ids] - 1)
        share = (position - frame).float()[:, None]
        row = self._first[clip_ids] + frame

        def between(rows: torch.Tensor) -> torch.Tensor:
            return torch.lerp(rows[row], rows[row + 1], share)

        found = MotionFrames(
            **{field.name: between(getattr(self._frames, field.name)) for field in fields(MotionFrames)}
        )
        found.root_quat = torch.nn.functional.normalize(found.root_quat, dim=1)
        return found

    def sample(
        self, n: int, generator: torch.Generator | None = None, margin: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw clips by weight, and times uniform in them.

        Args:
            n: how many.
            generator: of the draws.
            margin: s before the end of a clip that are not drawn.

        Returns:
            Clip ids (n,) int64, and times (n,) float64 in s.
        """
        draws = torch.rand(2, n, generator=generator, device=self.device, dtype=torch.float64)
        clip_ids = torch.searchsorted(self.weights.cumsum(0), draws[0]).clamp(max=len(self.clips) - 1)
        return clip_ids, draws[1] * (self.durations[clip_ids] - margin)

    def key_body_pos(self, joint_pos: torch.Tensor) -> torch.Tensor:
        """Return the positions (N, K, 3) m of the key bodies in the root frame, at joint angles (N, J) rad."""
        return self._kinematics.positions(joint_pos)

    def pose(self, root_pos: torch.Tensor, root_quat: torch.Tensor, joint_pos: torch.Tensor) -> torch.Tensor:
        """Return poses (N, P) of robots or clips: root position, quaternion, joints, key bodies in the root frame.

        Args:
            root_pos: (N, 3) m, world frame.
            root_quat: (N, 4) w x y z.
            joint_pos: (N, J) rad.
        """
        parts = [root_pos, root_quat, joint_pos]
        if self.key_bodies:
            parts.append(self.key_body_pos(joint_pos).flatten(1))
        return torch.cat(parts, dim=1)

    def pose_at(self, clip_ids: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Return poses (n, P) at `times` (n,) s of the clips `clip_ids` (n,)."""
        frames = self.at(clip_ids, times)
        return self.pose(frames.root_pos, frames.root_quat, frames.joint_pos)

    def sample_pairs(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw pairs of poses one control step apart, (n, 2, P) float32, clips by weight and times uniform.

        Args:
            n: number of pairs.
            generator: of the draws, on the library's device.
        """
        clip_ids, times = self.sample(n, generator, margin=self.step_dt)
        both = self.pose_at(clip_ids.repeat(2), torch.cat((times, times + self.step_dt)))
        return both.view(2, n, -1).transpose(0, 1)
