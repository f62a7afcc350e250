"""The reading every term shares: the World's state plus what many terms derive from it, computed once a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from regimen.envs.rotations import rotate_inverse

if TYPE_CHECKING:
    from regimen.sims.world import WorldState


class RobotState:
    """One reading of N robots in the frames terms ask for.

    Attributes:
        world: the raw reading; its fields are also reachable here.
        lin_vel: (N, 3) m/s, base frame.
        ang_vel: (N, 3) rad/s, base frame.
        gravity: (N, 3) unit vector of gravity in the base frame.
        yaw_lin_vel: (N, 2) m/s, horizontal velocity in the frame that only turns with the heading.
        world_yaw_rate: (N,) rad/s about the vertical.
    """

    def __init__(self, world: WorldState) -> None:
        """Derive the shared quantities."""
        self.world = world
        quat = world.root_quat
        down = torch.zeros_like(world.root_pos)
        down[:, 2] = -1.0
        self.gravity = rotate_inverse(quat, down)
        self.lin_vel = rotate_inverse(quat, world.root_lin_vel)
        self.ang_vel = world.root_ang_vel
        # Rotation by the heading alone, from the quaternion without trigonometry.
        w, x, y, z = quat.unbind(1)
        cos, sin = 1.0 - 2.0 * (y * y + z * z), 2.0 * (w * z + x * y)
        norm = torch.sqrt(cos * cos + sin * sin).clamp_min(1e-9)
        cos, sin = cos / norm, sin / norm
        vx, vy = world.root_lin_vel[:, 0], world.root_lin_vel[:, 1]
        self.yaw_lin_vel = torch.stack((cos * vx + sin * vy, cos * vy - sin * vx), dim=1)
        self.world_yaw_rate = -(self.gravity * world.root_ang_vel).sum(1)
        self.joint_pos, self.joint_vel = world.joint_pos, world.joint_vel
        self.joint_acc, self.joint_torque = world.joint_acc, world.joint_torque
        self.root_pos, self.root_quat = world.root_pos, quat
        self.contact_force, self.site_pos, self.site_vel = world.contact_force, world.site_pos, world.site_vel
