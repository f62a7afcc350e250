"""The motion to track, as a command: the reference runs on in clips while the robot follows it.

Peng et al. 2018 (DeepMimic) start episodes in all of a clip and end them early; Liao et al. 2025 (BeyondMimic, arXiv
2508.08241) start them more often where they fail. Both are here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch

from regimen.envs.rotations import from_euler, multiply, rotate
from regimen.envs.term_env import require_motion

if TYPE_CHECKING:
    from regimen.envs.motion.library import MotionFrames
    from regimen.envs.term_env import TermEnv

DECAY = 0.001
"""Share of the counted failures that is taken off in a control step."""


class MotionCommand:
    """The pose that the robot is to have after the next action, from the task's motion clips.

    Cyclic clips are repeated from where they end; others rest at their last frame, where the termination
    `motion_finished` may end the episode. The clips are divided into sections; an episode that is terminated counts as
    a failure of the section it ends in, and starts are drawn from there and from the section before.

    Attributes:
        value: (N, 2 J) joint angles relative to the default pose in rad, and joint velocities in rad/s.
        clip: (N,) int64, the clip of each env.
        time: (N,) float64, s in the clip.
        origin: (N, 3) m, m, rad: where the origin of the clip lies in the world, and its heading.
        root_pos: (N, 3) m, world frame, of the reference.
        root_quat: (N, 4) w x y z, of the reference.
        root_lin_vel: (N, 3) m/s, world frame, of the reference.
        root_ang_vel: (N, 3) rad/s, base frame of the reference.
        joint_pos: (N, J) rad, of the reference.
        joint_vel: (N, J) rad/s, of the reference.
        bodies: (N, K, 3) m, key bodies of the reference in its base frame.
        failures: (S,) failures of each section, older ones fading out; a checkpoint keeps them.
    """

    READS_CLIPS: ClassVar[bool] = True
    COMPUTED: ClassVar[str] = (
        "Begin with the robot in the pose of a clip at a time t. At each control step, before the observation, t grows "
        "by step_dt; beyond duration_s a cyclic clip continues at t - duration_s, another one rests at its last frame. "
        "The reference at t is linear between the two frames around t * fps, its quaternion normalised. The value is "
        "joint_pos minus the robot's default_joint_pos, then joint_vel, by joint_names. For terms that read its base: "
        "root_pos and root_quat are turned by a heading about the vertical and shifted by (x, y), chosen at the "
        "beginning such that the reference at the first t has place and heading of the robot; with each further cycle "
        "(x, y) grows by cycle_shift turned by the heading, then the heading by cycle_turn."
    )

    def __init__(self, env: TermEnv, section_s: float = 0.25, uniform_share: float = 0.25) -> None:
        """Divide the clips into sections.

        Args:
            env: the task; its section `motion` names the clips.
            section_s: length of a section in s.
            uniform_share: share of starts that are drawn regardless of failures; 1 for no adaptation.
        """
        self.env, self._library, self._uniform = env, require_motion(env, "MotionCommand"), uniform_share
        library, n, device = self._library, env.num_envs, env.device
        counts = (library.durations / section_s).ceil().long().clamp_min(1)
        self._section_clip = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
        self._first_section = counts.cumsum(0) - counts
        self._sections, self._section_s = counts, library.durations / counts
        self._even = (library.weights / counts)[self._section_clip]
        self.failures = torch.zeros(len(self._section_clip), dtype=torch.float64, device=device)
        self.clip = torch.zeros(n, dtype=torch.long, device=device)
        self.time = torch.zeros(n, dtype=torch.float64, device=device)
        self.origin = torch.zeros(n, 3, device=device)
        self._drawn = torch.zeros(n, dtype=torch.bool, device=device)
        self._drawn_for: list[torch.Tensor] = []  # ids of the draw that the coming reset begins with
        self._repeats = bool(library.cyclic.any())
        self._forward = torch.tensor([1.0, 0.0, 0.0], device=device)
        self._follow()

    def draw(self, env_ids: torch.Tensor, heading: torch.Tensor) -> MotionFrames:
        """Draw a moment of a clip for episodes of `env_ids` (n,), above the start position of the env.

        Args:
            env_ids: (n,).
            heading: (n,) rad about the vertical by which the clip is turned.

        Returns:
            The frames at that moment, in the world.
        """
        env, library = self.env, self._library
        if env.common_step_counter == 0:  # a seeded reset restarts the task
            self.failures.zero_()
        draws = env.rand(2, len(env_ids)).double()
        chances = self.start_chances().cumsum(0)
        section = torch.searchsorted(chances, draws[0] * chances[-1]).clamp(max=len(chances) - 1)
        clip = self._section_clip[section]
        self.clip[env_ids] = clip
        self.time[env_ids] = (section - self._first_section[clip] + draws[1]) * self._section_s[clip]
        frames = library.at(clip, self.time[env_ids])
        self.origin[env_ids, 2] = heading
        self.origin[env_ids, :2] = env.reset_root_pose[env_ids, :2] - _turned(frames.root_pos[:, :2], heading)
        self._drawn[env_ids] = True
        self._drawn_for = [env_ids]
        return self._in_world(frames, env_ids)

    def start_chances(self) -> torch.Tensor:
        """Return the probability (S,) that an episode starts in each section."""
        later = torch.zeros_like(self.failures)
        same_clip = self._section_clip[1:] == self._section_clip[:-1]
        later[:-1] = self.failures[1:] * same_clip
        wanted = (self.failures + later) * (self._even > 0)
        total = wanted.sum()
        adapted = self._uniform * self._even + (1.0 - self._uniform) * wanted / total
        return torch.where(total > 0, adapted, self._even)

    def _section(self, env_ids: torch.Tensor) -> torch.Tensor:
        clip = self.clip[env_ids]
        within = (self.time[env_ids] / self._section_s[clip]).long()
        return self._first_section[clip] + torch.minimum(within, self._sections[clip] - 1)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin the reference of `env_ids`: where `draw` put it, or at a moment of its own with the robot's heading."""
        all_drawn = bool(self._drawn_for) and self._drawn_for[0] is env_ids
        other = env_ids[:0] if all_drawn else env_ids[~self._drawn[env_ids]]
        if len(other):
            forward = rotate(self.env.reset_root_pose[other, 3:], self._forward)
            self.draw(other, torch.atan2(forward[:, 1], forward[:, 0]))
        self._drawn[env_ids] = False
        self._drawn_for = []
        self._advance(env_ids)
        self._follow()

    def step(self) -> None:
        """Advance the reference by one control step."""
        self.failures.mul_(1.0 - DECAY)
        every = torch.arange(self.env.num_envs, device=self.env.device)
        self.failures.index_add_(0, self._section(every), self.env.terminated.double())
        self._advance(every)
        self._follow()

    def _advance(self, env_ids: torch.Tensor) -> None:
        library = self._library
        time, clip = self.time[env_ids] + self.env.step_dt, self.clip[env_ids]
        over = (time > library.durations[clip]) & library.cyclic[clip]
        self.time[env_ids] = time - torch.where(over, library.durations[clip], 0.0)
        if self._repeats:  # the next cycle starts where this one ends
            origin = self.origin[env_ids]
            place = origin[:, :2] + _turned(library.cycle_shift[clip], origin[:, 2])
            heading = (origin[:, 2] + library.cycle_turn[clip] + math.pi).remainder(2 * math.pi) - math.pi
            moved = torch.cat((place, heading[:, None]), dim=1)
            self.origin[env_ids] = torch.where(over[:, None], moved, origin)

    def _follow(self) -> None:
        """Read the reference of all envs."""
        frames = self._in_world(self._library.at(self.clip, self.time), slice(None))
        self.root_pos, self.root_quat = frames.root_pos, frames.root_quat
        self.root_lin_vel, self.root_ang_vel = frames.root_lin_vel, frames.root_ang_vel
        self.joint_pos, self.joint_vel = frames.joint_pos, frames.joint_vel
        self.bodies = self._library.key_body_pos(frames.joint_pos)
        self.value = torch.cat((frames.joint_pos - self.env.default_joint_pos, frames.joint_vel), dim=1)

    def _in_world(self, frames: MotionFrames, env_ids: torch.Tensor | slice) -> MotionFrames:
        """Move frames of a clip by the origin of the envs `env_ids`, in place."""
        origin = self.origin[env_ids]
        zero = torch.zeros_like(origin[:, 2])
        turn = from_euler(zero, zero, origin[:, 2])
        frames.root_pos = rotate(turn, frames.root_pos)
        frames.root_pos[:, :2] += origin[:, :2]
        frames.root_quat = multiply(turn, frames.root_quat)
        frames.root_lin_vel = rotate(turn, frames.root_lin_vel)
        return frames

    @property
    def finished(self) -> torch.Tensor:
        """Whether the reference rests at the end of its clip, (N,) bool."""
        return self.time > self._library.durations[self.clip]

    def body_error(self) -> torch.Tensor:
        """Return the distance (N, K) m of each key body from the reference, both in their base frames."""
        bodies = self._library.key_body_pos(self.env.state.joint_pos)
        return torch.linalg.vector_norm(bodies - self.bodies, dim=-1)

    def root_error(self) -> torch.Tensor:
        """Return the distance (N,) m of the base from the reference."""
        return torch.linalg.vector_norm(self.env.state.root_pos - self.root_pos, dim=1)

    def root_turn(self) -> torch.Tensor:
        """Return the angle (N,) rad between the base and the reference."""
        cosine = (self.env.state.root_quat * self.root_quat).sum(1).abs().clamp(max=1.0)
        return 2.0 * torch.acos(cosine)

    def metrics(self) -> dict[str, torch.Tensor]:
        """Return the mean errors of joints in rad and of key bodies in m, and the errors of the base, each (N,)."""
        state = self.env.state
        errors = {
            "joint_error": (state.joint_pos - self.joint_pos).abs().mean(1),
            "root_error": self.root_error(),
            "root_turn_error": self.root_turn(),
            "forward_speed": state.yaw_lin_vel[:, 0].clone(),
        }
        return errors | ({"body_error": self.body_error().mean(1)} if self._library.key_bodies else {})


def _turned(points: torch.Tensor, heading: torch.Tensor) -> torch.Tensor:
    """Return points (n, 2) turned by angles (n,) rad."""
    cos, sin = heading.cos(), heading.sin()
    x, y = points.unbind(1)
    return torch.stack((cos * x - sin * y, sin * x + cos * y), dim=1)
