"""Observation terms: functions of the env, and classes with parameters, that return (N, d) float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from regimen.envs.rotations import heading, inverse, multiply, rotate, to_matrix
from regimen.envs.symmetry import mirrors
from regimen.envs.term_env import require_motion
from regimen.envs.terms.sensors import depth_image as depth_image
from regimen.envs.terms.sensors import foot_air_time as foot_air_time
from regimen.envs.terms.sensors import foot_contact as foot_contact
from regimen.envs.terms.sensors import foot_contact_force as foot_contact_force
from regimen.envs.terms.sensors import imu_acceleration as imu_acceleration
from regimen.envs.terms.sensors import ray_distances as ray_distances
from regimen.envs.terrain.scan_grid import SIZE, SPACING, ScanGrid
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.term_env import TermEnv


@mirrors("vector")
def base_lin_vel(env: TermEnv) -> torch.Tensor:
    """Linear velocity of the base in its own frame, (N, 3) m/s."""
    return env.state.lin_vel


def base_heading(env: TermEnv) -> torch.Tensor:
    """Cosine and sine of the heading of the base in the world frame, (N, 2)."""
    angle = heading(env.state.root_quat)
    return torch.stack((angle.cos(), angle.sin()), dim=1)


def base_planar_vel_w(env: TermEnv) -> torch.Tensor:
    """Horizontal velocity of the base in the world frame, (N, 2) m/s."""
    return env.state.world.root_lin_vel[:, :2]


def base_displacement(env: TermEnv) -> torch.Tensor:
    """Horizontal position of the base relative to the start of the episode, world frame, (N, 2) m."""
    return env.state.root_pos[:, :2] - env.reset_root_pose[:, :2]


@mirrors("axial")
def base_ang_vel(env: TermEnv) -> torch.Tensor:
    """Angular velocity of the base in its own frame, (N, 3) rad/s."""
    return env.state.ang_vel


@mirrors("vector")
def projected_gravity(env: TermEnv) -> torch.Tensor:
    """Direction of gravity in the base frame, (N, 3), unit length."""
    return env.state.gravity


@mirrors("command")
def generated_commands(env: TermEnv, command: str) -> torch.Tensor:
    """Value of a command, (N, k)."""
    return env.commands[command].value


@mirrors("joints")
def joint_pos_rel(env: TermEnv, joints: torch.Tensor | slice = slice(None), measured: bool = True) -> torch.Tensor:
    """Joint positions relative to the default pose, (N, J) rad, as the encoders read them.

    Args:
        env: the task.
        joints: columns.
        measured: whether errors of the encoders are in them; false: true angles, for a critic.
    """
    angles = env.state.joint_offset
    return (env.joint_errors.measured(angles) if measured else angles)[:, joints]


@mirrors("joints")
def joint_vel_rel(env: TermEnv, joints: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """Joint velocities, (N, J) rad/s."""
    return env.state.joint_vel[:, joints]


@mirrors("joints")
def joint_effort(env: TermEnv, joints: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """Torques the actuators applied, (N, J) N·m."""
    return env.state.joint_torque[:, joints]


@mirrors("action")
def last_action(env: TermEnv) -> torch.Tensor:
    """The action of the last step, (N, A)."""
    return env.action


@mirrors("command")
def gait_phase(env: TermEnv, command: str = "gait") -> torch.Tensor:
    """Sine and cosine of the gait clock, (N, 2); zeros while the clock rests."""
    return env.commands[command].value


def site_position(env: TermEnv, sites: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """Positions of tracked sites in the world frame, (N, 3 F) m."""
    return env.state.site_pos[:, sites].flatten(1)


@mirrors("scalar")
def base_pos_z(env: TermEnv) -> torch.Tensor:
    """Height of the base above the ground, (N, 1) m."""
    return env.height_above_ground(env.state.root_pos)[:, None]


@mirrors("scan")
class height_scan:  # noqa: N801 - a term is named as in Isaac Lab
    """Height of the base above the ground at places around the robot, minus `offset`, (N, P) m.

    The places are a grid that turns with the heading. On flat ground all of them are the height of the base.
    """

    def __init__(
        self,
        env: TermEnv,
        size: list[float] | tuple[float, float] = SIZE,
        spacing: float = SPACING,
        offset: float = 0.5,
        drop_out: float = 0.0,
    ) -> None:
        """Prepare the grid.

        Args:
            env: the task.
            size: length along the robot's x axis and width along its y axis in m.
            spacing: distance between neighbouring places in m.
            offset: subtracted, so that values are around 0; about the height of the base in m.
            drop_out: share of the values that are missing in a step, which reads as 0.

        Raises:
            ConfigError: the values describe no grid.
        """
        grid = ScanGrid(size, spacing)
        if problems := grid.problems():
            raise ConfigError(f"height_scan: {'; '.join(problems)}.")
        self.env, self.offset, self.drop_out = env, offset, drop_out
        self.x, self.y = torch.tensor(grid.places(), device=env.device).unbind(1)
        none = torch.zeros(env.num_envs, len(self.x), dtype=torch.bool, device=env.device)
        self._missing = none if drop_out > 0.0 else None

    def __call__(self) -> torch.Tensor:
        """Return (N, P)."""
        state, terrain = self.env.state, self.env.terrain
        height = state.root_pos[:, 2:3] - self.offset
        if terrain is None:
            scan = height.expand(-1, len(self.x)).clone()
        else:
            w, x, y, z = state.root_quat.unbind(1)
            forward, left = 1.0 - 2.0 * (y * y + z * z), 2.0 * (w * z + x * y)
            length = torch.sqrt(forward * forward + left * left).clamp_min(1e-6)
            cos, sin = (forward / length)[:, None], (left / length)[:, None]
            places_x = torch.addcmul(state.root_pos[:, 0:1] + cos * self.x, sin, self.y, value=-1.0)
            places_y = torch.addcmul(state.root_pos[:, 1:2] + sin * self.x, cos, self.y)
            scan = height - terrain.ground.at_xy(places_x, places_y)
        return scan if self._missing is None else scan.masked_fill_(self._missing, 0.0)

    def step(self) -> None:
        """Draw which values are missing; nothing is drawn without `drop_out`."""
        if self._missing is not None:
            self._missing = self.env.rand(*self._missing.shape) < self.drop_out

    def reset(self, env_ids: torch.Tensor) -> None:
        """Draw which values are missing at the start of the episodes of `env_ids` (n,)."""
        if self._missing is not None:
            self._missing[env_ids] = self.env.rand(len(env_ids), len(self.x)) < self.drop_out


@mirrors("key_bodies")
def key_body_pos(env: TermEnv) -> torch.Tensor:
    """Positions of the bodies `env.motion.key_bodies` in the base frame, (N, 3 K) m."""
    return require_motion(env, "key_body_pos").key_body_pos(env.state.joint_pos).flatten(1)


@mirrors("pose")
def motion_pose(env: TermEnv) -> torch.Tensor:
    """Pose of the robot as that of a motion clip, (N, 7 + J + 3 K), see `MotionLibrary.pose`."""
    state = env.state
    return require_motion(env, "motion_pose").pose(state.root_pos, state.root_quat, state.joint_pos)


def motion_anchor_pos_b(env: TermEnv, command: str = "motion") -> torch.Tensor:
    """Where the base of the tracked motion is, in the frame of the robot's base, (N, 3) m."""
    return rotate(inverse(env.state.root_quat), env.commands[command].root_pos - env.state.root_pos)


def motion_anchor_ori_b(env: TermEnv, command: str = "motion") -> torch.Tensor:
    """Orientation of the tracked motion in the robot's base frame: first two columns of the matrix, (N, 6)."""
    return to_matrix(multiply(inverse(env.state.root_quat), env.commands[command].root_quat))[:, :2].flatten(0, 1).t()
