"""Robot state shared by all terms: the simulator's state and quantities derived from it once a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from regimen.envs.rotations import to_matrix

if TYPE_CHECKING:
    from regimen.envs.sims.world import WorldState


GRAVITY = (0.0, 0.0, -9.81)
"""m/s² in the world frame, unless an event draws it."""


class RobotState:
    """State of N robots in the frames that terms use.

    Attributes:
        world: the raw reading; its fields are also reachable here.
        lin_vel: (N, 3) m/s, base frame.
        ang_vel: (N, 3) rad/s, base frame.
        gravity: (N, 3) unit vector of gravity in the base frame, zeros without gravity.
        yaw_lin_vel: (N, 2) m/s, horizontal velocity in the frame that only turns with the heading.
        world_yaw_rate: (N,) rad/s about the vertical.
        joint_offset: (N, J) rad, joint positions relative to the default pose.
    """

    def __init__(self, world: WorldState, default_joint_pos: torch.Tensor) -> None:
        """Derive the shared quantities.

        Args:
            world: the raw reading.
            default_joint_pos: (J,) rad.
        """
        self.world = world
        self.joint_pos, self.joint_vel = world.joint_pos, world.joint_vel
        self.joint_acc, self.joint_torque = world.joint_acc, world.joint_torque
        self.root_pos, self.root_quat = world.root_pos, world.root_quat
        self.contact_force, self.site_pos, self.site_vel = world.contact_force, world.site_pos, world.site_vel
        self.ang_vel = world.root_ang_vel
        self.joint_offset = world.joint_pos - default_joint_pos
        rotation = to_matrix(world.root_quat)  # (3, 3, N)
        down, velocity = rotation[2], world.root_lin_vel.t().contiguous()
        self.gravity = -down.t() if world.gravity is None else _direction(rotation, world.gravity)
        self.lin_vel = (rotation * velocity[:, None]).sum(0).t()
        self.world_yaw_rate = (down * world.root_ang_vel.t()).sum(0)
        cos, sin = rotation[0, 0], rotation[1, 0]
        scale = torch.rsqrt((cos * cos + sin * sin).clamp_min(1e-12))
        vx, vy = velocity[0] * scale, velocity[1] * scale
        self.yaw_lin_vel = torch.stack((cos * vx + sin * vy, cos * vy - sin * vx)).t()

    def update(self, env_ids: torch.Tensor, rows: RobotState) -> None:
        """Replace the rows `env_ids` (n,) by those of a reading of n robots."""
        if self.world.gravity is None and rows.world.gravity is not None:
            self.world.gravity = rows.world.gravity.new_tensor(GRAVITY).repeat(len(self.gravity), 1)
        for name, tensor in rows.world.tensors().items():
            getattr(self.world, name)[env_ids] = tensor
        for name in ("lin_vel", "gravity", "yaw_lin_vel", "world_yaw_rate", "joint_offset"):
            getattr(self, name)[env_ids] = getattr(rows, name)


def _direction(rotation: torch.Tensor, gravity: torch.Tensor) -> torch.Tensor:
    """Return the unit vectors (N, 3) of gravity (N, 3) in the frames of rotation matrices (3, 3, N)."""
    unit = gravity / torch.linalg.vector_norm(gravity, dim=1, keepdim=True).clamp_min(1e-12)
    return (rotation * unit.t()[:, None]).sum(0).t()
