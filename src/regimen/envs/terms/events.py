"""Event terms: changes of the simulation. Arguments of a function are the env and the ids (n,) of the envs to change.

A class is a stateful event: `reset(env_ids)` is called at the start of an episode, `step()` before every control step,
and `labels()` returns ground truth for `info["labels"]`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import torch

from regimen.envs.rotations import from_euler, multiply, rotate
from regimen.envs.term_env import require_motion
from regimen.envs.terms.randomization import apply_wrench as apply_wrench
from regimen.envs.terms.randomization import randomize as randomize
from regimen.envs.terms.randomization import with_ranges
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.envs.term_env import TermEnv

_POSE = ("x", "y", "z", "roll", "pitch", "yaw")


def _uniform(env: TermEnv, n: int, ranges: dict[str, tuple[float, float]], where: str) -> torch.Tensor:
    """Draw (n, 6) for x y z roll pitch yaw; an axis without a range stays 0.

    Raises:
        ConfigError: an axis is none of the six; `where` is the subject of the message.
    """
    for axis in ranges:
        if axis not in _POSE:
            raise ConfigError(f"{where}: no axis `{axis}`. {did_you_mean(axis, _POSE)}")
    low, high = _limits(tuple(tuple(ranges.get(k, (0.0, 0.0))) for k in _POSE), env.device)
    return low + env.rand(n, 6) * (high - low)


@lru_cache
def _limits(ranges: tuple[tuple[float, ...], ...], device: torch.device) -> torch.Tensor:
    """Return (2, 6) lower and upper limits on a device, to which they are copied once."""
    with torch.inference_mode(False):  # kept, and may be used in a training
        return torch.tensor(ranges, device=device).t().contiguous()


def reset_root_state_uniform(
    env: TermEnv,
    env_ids: torch.Tensor,
    pose_range: dict[str, tuple[float, float]],
    velocity_range: dict[str, tuple[float, float]],
) -> None:
    """Set the base to its spawn pose plus draws from `pose_range` (m, rad), with `velocity_range` (m/s, rad/s).

    Args:
        env: the task.
        env_ids: (n,).
        pose_range: of x, y, z, roll, pitch and yaw; an axis without one has no offset.
        velocity_range: likewise; an axis without one begins at rest.

    Raises:
        ConfigError: an axis is none of the six.
    """
    n, func = len(env_ids), "reset_root_state_uniform"
    offset = _uniform(env, n, pose_range, f"{func}: pose_range")
    pose = env.default_root_pose.repeat(n, 1)
    pose[:, :3] += offset[:, :3]
    pose[:, 3:] = multiply(pose[:, 3:], from_euler(*offset[:, 3:].unbind(1)))
    env.reset_root_pose[env_ids] = pose
    env.reset_root_vel[env_ids] = _uniform(env, n, velocity_range, f"{func}: velocity_range")


def _between(env: TermEnv, env_ids: torch.Tensor, limits: tuple[float, float]) -> torch.Tensor:
    """Draw (n, J) uniform between two limits."""
    return limits[0] + env.rand(len(env_ids), len(env.joints)) * (limits[1] - limits[0])


def reset_joints_by_scale(
    env: TermEnv, env_ids: torch.Tensor, position_range: tuple[float, float], velocity_range: tuple[float, float]
) -> None:
    """Start joints at the default pose times a draw from `position_range`, at speeds from `velocity_range` rad/s."""
    position = env.default_joint_pos * _between(env, env_ids, position_range)
    env.reset_joint_pos[env_ids] = position.clamp(*env.soft_joint_range.unbind(1))
    env.reset_joint_vel[env_ids] = _between(env, env_ids, velocity_range)


def reset_joints_by_offset(
    env: TermEnv, env_ids: torch.Tensor, position_range: tuple[float, float], velocity_range: tuple[float, float]
) -> None:
    """Start joints at the default pose plus a draw from `position_range` rad, at speeds from `velocity_range`."""
    position = env.default_joint_pos + _between(env, env_ids, position_range)
    env.reset_joint_pos[env_ids] = position.clamp(*env.soft_joint_range.unbind(1))
    env.reset_joint_vel[env_ids] = _between(env, env_ids, velocity_range)


def reset_from_motion(
    env: TermEnv, env_ids: torch.Tensor, probability: float = 1.0, random_heading: bool = True
) -> None:
    """Start from a random moment of a motion clip with a probability, else as the reset events before left it.

    The events before decide x and y, the clip the height, the tilt and the velocities. A policy that starts from clips
    alone never learns to start from standing.

    Args:
        env: the task; its section `motion` names the clips.
        env_ids: (n,).
        probability: share of starts from a clip.
        random_heading: whether the clip is turned by a random angle about the vertical.
    """
    library, n = require_motion(env, "reset_from_motion"), len(env_ids)
    chosen = env.rand(n) < probability
    heading = (env.rand(n) - 0.5) * (2.0 * math.pi if random_heading else 0.0)
    frames = library.at(*library.sample(n, env.generator))
    zero = torch.zeros_like(heading)
    turn = from_euler(zero, zero, heading)
    pose = torch.cat((frames.root_pos[:, 2:], multiply(turn, frames.root_quat)), dim=1)
    velocity = torch.cat((rotate(turn, frames.root_lin_vel), frames.root_ang_vel), dim=1)
    starts = {"root_vel": velocity, "joint_pos": frames.joint_pos, "joint_vel": frames.joint_vel}
    # All rows are computed: which of them are chosen is read from no device.
    env.reset_root_pose[env_ids, 2:] = torch.where(chosen[:, None], pose, env.reset_root_pose[env_ids, 2:])
    for name, values in starts.items():
        start: torch.Tensor = getattr(env, f"reset_{name}")
        start[env_ids] = torch.where(chosen[:, None], values, start[env_ids])


def reset_to_motion_command(env: TermEnv, env_ids: torch.Tensor, command: str = "motion") -> None:
    """Start at a moment of a clip that `MotionCommand` draws, turned by a random heading, above the start position.

    Args:
        env: the task.
        env_ids: (n,).
        command: a `MotionCommand`.
    """
    heading = (env.rand(len(env_ids)) - 0.5) * 2.0 * math.pi
    frames = env.commands[command].draw(env_ids, heading)
    env.reset_root_pose[env_ids] = torch.cat((frames.root_pos, frames.root_quat), dim=1)
    env.reset_root_vel[env_ids] = torch.cat((frames.root_lin_vel, frames.root_ang_vel), dim=1)
    env.reset_joint_pos[env_ids], env.reset_joint_vel[env_ids] = frames.joint_pos, frames.joint_vel


def randomize_rigid_body_material(env: TermEnv, env_ids: torch.Tensor, friction_range: tuple[float, float]) -> None:
    """Draw the sliding friction of floor and robot together: a contact has the larger of the two."""
    draws = env.rand(len(env_ids))
    env.world.set_friction(env_ids, friction_range[0] + draws * (friction_range[1] - friction_range[0]))


def randomize_rigid_body_mass(
    env: TermEnv, env_ids: torch.Tensor, mass_distribution_params: tuple[float, float]
) -> None:
    """Add a draw from the range, in kg, to the nominal mass of the base."""
    low, high = mass_distribution_params
    env.world.add_base_mass(env_ids, low + env.rand(len(env_ids)) * (high - low))


def randomize_actuator_gains(
    env: TermEnv,
    env_ids: torch.Tensor,
    stiffness_distribution_params: tuple[float, float],
    damping_distribution_params: tuple[float, float],
) -> None:
    """Draw each joint's gains: the robot's own times a draw from the range (Isaac Lab's `operation: scale`)."""
    stiffness = env.stiffness * _between(env, env_ids, stiffness_distribution_params)
    damping = env.damping * _between(env, env_ids, damping_distribution_params)
    env.world.set_gains(env_ids, stiffness, damping)


class push_by_setting_velocity:  # noqa: N801 - as in Isaac Lab
    """Push the base: add draws from `velocity_range` (m/s, rad/s) to its velocity, within an episode.

    The velocity with which an episode starts is that of `reset_root_state_uniform`.

    Attributes:
        ranges: (6, 2) limits of x y z in m/s and roll pitch yaw in rad/s.
    """

    MODES: ClassVar[tuple[str, ...]] = ("interval",)

    def __init__(self, env: TermEnv, velocity_range: dict[str, tuple[float, float]]) -> None:
        """Read the ranges.

        Args:
            env: the task.
            velocity_range: of x, y, z, roll, pitch and yaw; an axis without one is not pushed.
        """
        self.env = env
        self.ranges = torch.zeros(len(_POSE), 2, device=env.device)
        self.ranges = self.ranges_of(velocity_range=velocity_range)

    def __call__(self, env_ids: torch.Tensor) -> None:
        """Push `env_ids` (n,)."""
        low, high = self.ranges.unbind(1)
        self.env.world.push(env_ids, low + self.env.rand(len(env_ids), len(_POSE)) * (high - low))

    def ranges_of(self, velocity_range: dict[str, tuple[float, float]]) -> torch.Tensor:
        """Return `ranges` with those of `velocity_range` in their place.

        Raises:
            ConfigError: an axis is none of the six.
        """
        return with_ranges(self.ranges, velocity_range, _POSE, "push_by_setting_velocity: velocity_range")


@dataclass(frozen=True)
class _Foreseen:
    """What `change_joint_torque.ahead` was answered.

    Attributes:
        ended: (n,) ids of the envs whose episode ended, as `reset` gets them.
        faulty: (n,) those of them with a fault.
        due: (n,) ids where a fault begins with the next step.
        restarts: see `DeviceReads`.
    """

    ended: torch.Tensor
    faulty: torch.Tensor
    due: torch.Tensor
    restarts: int


class change_joint_torque:  # noqa: N801 - a term is named as in the original task
    """At most one joint fails in an episode; joint, onset and severity are drawn for each env independently.

    At the reset of an env its fault of the last episode is cleared and a new one is drawn: with `probability` a fault,
    the joint uniform over `joints`, the onset uniform over `onset_s`, the severity uniform over its range. The fault is
    applied before the physics of the first step at or after the onset, and is in the labels of that step. It changes
    this joint alone: what `randomize` drew of the robot holds before, during and after the fault.

    Modes:
        absolute: the effort limit becomes `severity` N·m.
        scale: the effort limit becomes `severity` times the one that the joint has, nominal or drawn.
        lock: the joint stays within `LOCK_WIDTH_RAD` of where it was.
        free: the joint has no torque.

    Labels (`info["labels"]`), each (N,): `fault_joint` int16, -1 while healthy; `fault_onset_step` int32, the drawn
    step, also in an episode that ends before it, -1 if none is drawn; `fault_limit` float32 N·m, the faulty joint's
    effort limit, NaN while healthy.
    """

    LOCK_WIDTH_RAD = 0.01

    def __init__(
        self,
        env: TermEnv,
        joints: torch.Tensor,
        probability: float,
        onset_s: tuple[float, float],
        mode: str = "absolute",
        severity: float | list[float] | dict[str, float | list[float]] | None = None,
    ) -> None:
        """Prepare the draws.

        Args:
            env: the environment.
            joints: candidates, (C,) joint ids.
            probability: share of episodes with a fault.
            onset_s: range of the onset, in s after the reset.
            mode: absolute, scale, lock or free.
            severity: a value or a range, for all joints or by regular expression of the joint's name; N·m or factor.

        Raises:
            ConfigError: for an unknown mode, a severity that is missing or does not cover the candidates, or a
                simulator of an earlier version, where NaN gives no joint its limit back.
        """
        if not hasattr(env.world, "effort_limits"):
            raise ConfigError(
                f"change_joint_torque: {type(env.world).__name__} has no `effort_limits`. Add it, and let NaN in "
                "`set_effort_limits` and `set_joint_ranges` give a joint its own value back: docs/add_a_simulator.md."
            )
        if mode not in ("absolute", "scale", "lock", "free"):
            known = ("absolute", "scale", "lock", "free")
            raise ConfigError(f"change_joint_torque: no mode `{mode}`. {did_you_mean(mode, known)}")
        if not 0.0 <= probability <= 1.0:
            raise ConfigError(f"change_joint_torque: probability={probability:g} must be between 0 and 1.")
        if len(onset_s) != 2 or not 0.0 <= onset_s[0] <= onset_s[1]:
            raise ConfigError(f"change_joint_torque: onset_s={onset_s} must be [earliest, latest] in seconds.")
        self.env, self.mode, self.probability = env, mode, probability
        self.candidates = joints
        self.onset_steps = [round(t / env.step_dt) for t in onset_s]
        self.severity_range = _severity_table(env.joints, joints.tolist(), severity, mode).to(env.device)
        n, device = env.num_envs, env.device
        self.joint = torch.full((n,), -1, dtype=torch.int16, device=device)
        self.onset = torch.full((n,), -1, dtype=torch.int32, device=device)
        self.severity = torch.zeros(n, device=device)
        self.active = torch.zeros(n, dtype=torch.bool, device=device)
        self.limit = torch.full((n,), torch.nan, device=device)
        self._answer: _Foreseen | None = None
        self.fixed_joint: torch.Tensor | None = None
        self.fixed_onset = torch.zeros_like(self.onset)
        self.fixed_severity = torch.zeros_like(self.severity)

    def fix(self, joint: torch.Tensor, onset_s: torch.Tensor, severity: torch.Tensor) -> None:
        """Use the same fault in every later episode of an env, for evaluation.

        Args:
            joint: (N,) number of the joint, -1 for none.
            onset_s: (N,) s after the reset.
            severity: (N,) in the unit of the mode.

        Raises:
            ConfigError: for another number of envs, or a joint that the robot does not have.
        """
        for name, given in {"joint": joint, "onset_s": onset_s, "severity": severity}.items():
            if given.shape != self.joint.shape:
                raise ConfigError(f"change_joint_torque: {name} fixed for {len(given)} envs, not {len(self.joint)}.")
        if int(joint.min()) < -1 or int(joint.max()) >= len(self.env.joints):
            raise ConfigError(f"change_joint_torque: joints are numbered 0 to {len(self.env.joints) - 1}, -1 is none.")
        self._answer = None
        self.fixed_joint = joint.to(torch.int16)
        self.fixed_onset = (onset_s / self.env.step_dt).round().int().masked_fill(joint < 0, -1)
        self.fixed_severity = severity.float().clone()

    def start_now(self, joint: int, severity: float) -> None:
        """Begin the same fault in all envs with the next step, in place of any other, and keep it in later episodes.

        Args:
            joint: number of the joint, -1 for none.
            severity: in the unit of the mode.

        Raises:
            ConfigError: the robot does not have the joint.
        """
        n, device = len(self.joint), self.joint.device
        severities = torch.full((n,), severity, device=device)
        self.fix(torch.full((n,), joint, device=device), torch.zeros(n, device=device), severities)
        self._clear(self.active.nonzero().squeeze(1))
        self.joint.fill_(joint)
        self.severity.copy_(severities)
        self.onset.copy_(self.env.episode_length if joint >= 0 else self.fixed_onset)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Clear the faults of `env_ids` and draw the next ones."""
        answer = self._answer
        foreseen = answer is not None and answer.ended is env_ids and answer.restarts == self.env.reads.restarts
        self._clear(answer.faulty if answer is not None and foreseen else env_ids[self.active[env_ids]])
        if not foreseen or self.fixed_joint is not None or self.onset_steps[0] < 1:
            self._answer = None  # a fault may begin with the coming step
        if self.fixed_joint is not None:
            self.joint[env_ids] = self.fixed_joint[env_ids]
            self.onset[env_ids] = self.fixed_onset[env_ids]
            self.severity[env_ids] = self.fixed_severity[env_ids]
            return
        draws = self.env.rand(len(env_ids), 4)
        fails = draws[:, 0] < self.probability
        which = (draws[:, 1] * len(self.candidates)).long().clamp_max(len(self.candidates) - 1)
        first, last = self.onset_steps
        onset = first + (draws[:, 2] * (last - first + 1)).int()
        low, high = self.severity_range[which].unbind(1)
        self.joint[env_ids] = torch.where(fails, self.candidates[which], -1).to(torch.int16)
        self.onset[env_ids] = torch.where(fails, onset, -1).to(torch.int32)
        self.severity[env_ids] = low + draws[:, 3] * (high - low)

    def _clear(self, ids: torch.Tensor) -> None:
        if len(ids):
            none = torch.full((len(ids), len(self.env.joints)), torch.nan, device=ids.device)
            if self.mode == "lock":
                self.env.world.set_joint_ranges(ids, none[..., None].repeat(1, 1, 2))
            else:
                self.env.world.set_effort_limits(ids, none)
            self.active[ids] = False
            self.limit[ids] = torch.nan

    def _due(self) -> torch.Tensor:
        return ~self.active & (self.joint >= 0) & (self.env.episode_length >= self.onset)

    def ahead(self, ended: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return which of the `ended` (N,) have a fault, and in which other envs one begins with the next step."""
        return self.active & ended, self._due() & ~ended

    def receive(self, ended_ids: torch.Tensor, ids: tuple[torch.Tensor, ...]) -> None:
        """Take the ids of `ahead` for the coming reset of `ended_ids` and the coming step."""
        faulty, due = ids
        self._answer = _Foreseen(ended_ids, faulty, due, self.env.reads.restarts)

    def stagger(self) -> None:
        """Drop the faults whose onset is before the new time of their env."""
        self._answer = None
        past = ~self.active & (self.joint >= 0) & (self.env.episode_length > self.onset)
        self.joint, self.onset = self.joint.masked_fill(past, -1), self.onset.masked_fill(past, -1)

    def step(self) -> None:
        """Apply the faults that are due."""
        answer, self._answer = self._answer, None
        foreseen = answer is not None and answer.restarts == self.env.reads.restarts
        ids = answer.due if answer is not None and foreseen else self._due().nonzero().squeeze(1)
        if not len(ids):
            return
        joint, rows = self.joint[ids].long(), torch.arange(len(ids), device=ids.device)
        own = self.env.world.effort_limits(ids)[rows, joint]
        limit = {
            "absolute": self.severity[ids],
            "scale": own * self.severity[ids],
            "lock": own,
            "free": torch.zeros_like(own),
        }[self.mode]
        imposed = torch.full((len(ids), len(self.env.joints)), torch.nan, device=ids.device)
        if self.mode == "lock":
            ranges = imposed[..., None].repeat(1, 1, 2)
            here = self.env.state.joint_pos[ids, joint]
            half = self.LOCK_WIDTH_RAD / 2
            ranges[rows, joint] = torch.stack((here - half, here + half), dim=1)
            self.env.world.set_joint_ranges(ids, ranges)
        else:
            imposed[rows, joint] = limit
            self.env.world.set_effort_limits(ids, imposed)
        self.active[ids] = True
        self.limit[ids] = limit

    def labels(self) -> dict[str, torch.Tensor]:
        """Return the labels of the present step."""
        return {
            "fault_joint": self.joint.masked_fill(~self.active, -1),
            "fault_onset_step": self.onset.clone(),
            "fault_limit": self.limit.clone(),
        }


def _severity_table(
    names: list[str],
    candidates: list[int],
    severity: float | list[float] | dict[str, float | list[float]] | None,
    mode: str,
) -> torch.Tensor:
    """Return (C, 2): lowest and highest severity of each candidate."""
    if mode in ("lock", "free"):
        return torch.zeros(len(candidates), 2)
    if severity is None:
        raise ConfigError(f"change_joint_torque: mode={mode} needs `severity`, a value or a range.")
    table = severity if isinstance(severity, dict) else {".*": severity}
    rows: list[list[float]] = []
    for joint in candidates:
        severities = [v for pattern, v in table.items() if re.fullmatch(pattern, names[joint])]
        if len(severities) != 1:
            many = f"{len(severities) or 'no'} {'severities' if severities else 'severity'} for joint {names[joint]}"
            raise ConfigError(f"change_joint_torque: {many} in {list(table)}; give exactly one.")
        value = severities[0]
        rows.append([float(value), float(value)] if isinstance(value, int | float) else [float(v) for v in value])
    return torch.tensor(rows)
