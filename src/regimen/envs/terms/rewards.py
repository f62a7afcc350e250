"""Reward terms: functions of the env that return (N,); the manager multiplies by weight and step time.

Names and formulas follow Isaac Lab 2.3 `isaaclab.envs.mdp.rewards` and its velocity task where they exist there; the
gait-clock terms follow Siekmann et al. 2021 (periodic reward composition) in the simplest form, contact against phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from regimen.envs.term_env import TermEnv

CONTACT_N = 1.0
"""Contact force in N above which a foot is on the ground."""


def is_alive(env: TermEnv) -> torch.Tensor:
    """1 while the episode has not been terminated."""
    return (~env.terminated).float()


def is_terminated(env: TermEnv) -> torch.Tensor:
    """1 in the step that terminates the episode; time-outs do not count."""
    return env.terminated.float()


def track_lin_vel_xy_exp(env: TermEnv, std: float, command: str = "base_velocity") -> torch.Tensor:
    """exp(-|v_xy - command|² / std²), velocities in the base frame in m/s."""
    error = (env.commands[command].value[:, :2] - env.state.lin_vel[:, :2]).square().sum(1)
    return torch.exp(-error / std**2)


def track_lin_vel_xy_yaw_frame_exp(env: TermEnv, std: float, command: str = "base_velocity") -> torch.Tensor:
    """As `track_lin_vel_xy_exp`, velocities in the frame that only turns with the heading."""
    error = (env.commands[command].value[:, :2] - env.state.yaw_lin_vel).square().sum(1)
    return torch.exp(-error / std**2)


def track_ang_vel_z_exp(env: TermEnv, std: float, command: str = "base_velocity") -> torch.Tensor:
    """exp(-(w_z - command)² / std²), rate about the base's own z axis in rad/s."""
    return torch.exp(-(env.commands[command].value[:, 2] - env.state.ang_vel[:, 2]).square() / std**2)


def track_ang_vel_z_world_exp(env: TermEnv, std: float, command: str = "base_velocity") -> torch.Tensor:
    """As `track_ang_vel_z_exp`, rate about the vertical."""
    return torch.exp(-(env.commands[command].value[:, 2] - env.state.world_yaw_rate).square() / std**2)


def track_velocity_relative(
    env: TermEnv, turning_std: float = 0.5, sideways_weight: float = 0.2, command: str = "base_velocity"
) -> torch.Tensor:
    """Share of the commanded forward speed that is reached, times how well the turning rate is.

    (1 - |v_x - c_x| / c_x) in [-0.5, 1] times exp(-(w_z - c_z)² / std²), minus `sideways_weight` |v_y|; in the base
    frame, c_x at least 0.1 m/s. An exponential of the speed error pays nearly half of its most for standing still, and
    robots stand for a long time; here standing pays nothing.
    """
    value, speed = env.commands[command].value, env.state.lin_vel
    share = 1.0 - (speed[:, 0] - value[:, 0]).abs() / value[:, 0].clamp_min(0.1)
    turning = torch.exp(-(env.state.ang_vel[:, 2] - value[:, 2]).square() / turning_std**2)
    return share.clamp(-0.5, 1.0) * turning - sideways_weight * speed[:, 1].abs()


def progress_along(env: TermEnv, command: str) -> torch.Tensor:
    """Speed along a direction in the plane, a command of unit vectors in the world frame, m/s."""
    return (env.state.world.root_lin_vel[:, :2] * env.commands[command].value).sum(1)


def lin_vel_z_l2(env: TermEnv) -> torch.Tensor:
    """Squared vertical velocity of the base, (m/s)²."""
    return env.state.lin_vel[:, 2].square()


def ang_vel_xy_l2(env: TermEnv) -> torch.Tensor:
    """Squared roll and pitch rates of the base, (rad/s)²."""
    return env.state.ang_vel[:, :2].square().sum(1)


def flat_orientation_l2(env: TermEnv) -> torch.Tensor:
    """Squared horizontal part of gravity in the base frame: sin² of the tilt."""
    return env.state.gravity[:, :2].square().sum(1)


def base_height_l2(env: TermEnv, target_height: float) -> torch.Tensor:
    """Squared distance of the base's height above the ground from `target_height`, m²."""
    return (env.height_above_ground(env.state.root_pos) - target_height).square()


def joint_torques_l2(env: TermEnv, joints: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """Sum of squared torques, (N·m)²."""
    return env.state.joint_torque[:, joints].square().sum(1)


def joint_acc_l2(env: TermEnv, joints: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """Sum of squared joint accelerations, (rad/s²)²."""
    return env.state.joint_acc[:, joints].square().sum(1)


def action_rate_l2(env: TermEnv) -> torch.Tensor:
    """Sum of squared changes of the action since the last step."""
    return (env.action - env.previous_action).square().sum(1)


def joint_pos_limits(env: TermEnv, joints: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """Sum of the joints' distances from their soft limits, outside of these, rad."""
    low, high = env.soft_joint_range[joints].unbind(1)
    position = env.state.joint_pos[:, joints]
    return ((low - position).clamp_min(0.0) + (position - high).clamp_min(0.0)).sum(1)


def joint_deviation_l1(env: TermEnv, joints: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """Sum of absolute distances from the default pose, rad."""
    return env.state.joint_offset[:, joints].abs().sum(1)


def stand_still_joint_deviation_l1(
    env: TermEnv, command: str = "base_velocity", joints: torch.Tensor | slice = slice(None)
) -> torch.Tensor:
    """As `joint_deviation_l1`, only while the command is to stand still."""
    return joint_deviation_l1(env, joints) * (~env.commands[command].moving).float()


def feet_slide(env: TermEnv) -> torch.Tensor:
    """Sum of horizontal speeds of feet that are on the ground, m/s."""
    contact = env.foot_force > CONTACT_N
    return (torch.linalg.vector_norm(env.foot_vel[:, :, :2], dim=-1) * contact).sum(1)


class feet_air_time:  # noqa: N801 - a term is named as in Isaac Lab
    """Reward for steps longer than `threshold` s, paid when the foot lands; nothing while standing."""

    def __init__(self, env: TermEnv, threshold: float, command: str = "base_velocity") -> None:
        """Start with all feet on the ground."""
        self.env, self.threshold, self.command = env, threshold, command
        self.air_time = torch.zeros_like(env.foot_force)

    def __call__(self) -> torch.Tensor:
        """Return (N,) s, and advance the timers."""
        env = self.env
        contact = env.foot_force > CONTACT_N
        self.air_time += env.step_dt
        landed = contact & (self.air_time > env.step_dt)
        reward = ((self.air_time - self.threshold) * landed).sum(1) * env.commands[self.command].moving
        self.air_time *= ~contact
        return reward

    def reset(self, env_ids: torch.Tensor) -> None:
        """Reset the timers of `env_ids`."""
        self.air_time[env_ids] = 0.0


def gait_contact(env: TermEnv, command: str = "gait") -> torch.Tensor:
    """Share of feet whose contact matches the gait clock: on the ground in stance, off it in swing."""
    contact = env.foot_force > CONTACT_N
    return (contact == env.commands[command].stance).float().mean(1)


def feet_height_exp(env: TermEnv, height: float, std: float, command: str = "gait") -> torch.Tensor:
    """Mean over feet of exp(-(z - z*)² / std²), z above ground; z* is a half sine of `height` m in swing, else 0."""
    target = height * env.commands[command].swing_height
    return torch.exp(-(env.height_above_ground(env.foot_pos) - target).square() / std**2).mean(1)


def site_distance(env: TermEnv, command: str) -> torch.Tensor:
    """Distance of the first tracked site from the commanded position, m."""
    return torch.linalg.vector_norm(env.state.site_pos[:, 0] - env.commands[command].position, dim=1)


def site_distance_exp(env: TermEnv, command: str, std: float) -> torch.Tensor:
    """exp(-distance² / std²) of the first tracked site from the commanded position."""
    return torch.exp(-(site_distance(env, command) / std).square())


def motion_joint_pos_exp(env: TermEnv, std: float, command: str = "motion") -> torch.Tensor:
    """exp(-mean squared joint error / std²) against the tracked motion, rad."""
    return torch.exp(-(env.state.joint_pos - env.commands[command].joint_pos).square().mean(1) / std**2)


def motion_joint_vel_exp(env: TermEnv, std: float, command: str = "motion") -> torch.Tensor:
    """exp(-mean squared joint velocity error / std²) against the tracked motion, rad/s."""
    return torch.exp(-(env.state.joint_vel - env.commands[command].joint_vel).square().mean(1) / std**2)


def motion_body_pos_exp(env: TermEnv, std: float, command: str = "motion") -> torch.Tensor:
    """exp(-mean squared distance / std²) of the key bodies from the tracked ones, each in its base frame, m."""
    return torch.exp(-env.commands[command].body_error().square().mean(1) / std**2)


def motion_anchor_pos_exp(env: TermEnv, std: float, command: str = "motion") -> torch.Tensor:
    """exp(-distance² / std²) of the base from that of the tracked motion, m."""
    return torch.exp(-(env.commands[command].root_error() / std).square())


def motion_anchor_ori_exp(env: TermEnv, std: float, command: str = "motion") -> torch.Tensor:
    """exp(-angle² / std²) between the base and that of the tracked motion, rad."""
    return torch.exp(-(env.commands[command].root_turn() / std).square())
