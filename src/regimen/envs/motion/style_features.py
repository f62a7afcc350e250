"""Style features of two successive poses: one function for clips and robots.

Velocities are differences of the two poses and nothing else: by velocities that are computed in two ways, differences
for the clip and the simulator's for the robot, a discriminator separates the two even if their motion is the same.
"""

from __future__ import annotations

import torch

from regimen.envs.rotations import to_matrix


def style_features(pose: torch.Tensor, next_pose: torch.Tensor, step_dt: float, num_joints: int) -> torch.Tensor:
    """Return the features of transitions; they do not change with place and heading.

    Args:
        pose: (N, 7 + J + 3 K): root position in m in the world frame, unit quaternion w x y z, joints in rad, and key
            bodies in m in the root frame, as the observation term `motion_pose` and
            `regimen.envs.motion.library.MotionLibrary.pose` give them.
        next_pose: the same one control step later.
        step_dt: control step in s.
        num_joints: J.

    Returns:
        (N, 14 + 3 J + 6 K): of both poses the height, gravity in the root frame and the joints; displacement and turn
        of the root in its first frame and changes of the joints, each over `step_dt`; the key bodies of both poses.
    """
    joints = slice(7, 7 + num_joints)
    first, second = to_matrix(pose[:, 3:7]), to_matrix(next_pose[:, 3:7])  # (3, 3, N)
    moved = (next_pose[:, :3] - pose[:, :3]).t() / step_dt
    lin_vel = (first * moved[:, None]).sum(0).t()
    turn = torch.einsum("kin,kjn->ijn", first, second)
    ang_vel = torch.stack((turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]), 1)
    parts = [
        *(
            part
            for x, frame in ((pose, first), (next_pose, second))
            for part in (x[:, 2:3], -frame[2].t(), x[:, joints])
        ),
        lin_vel,
        ang_vel / (2.0 * step_dt),
        (next_pose[:, joints] - pose[:, joints]) / step_dt,
        pose[:, joints.stop :],
        next_pose[:, joints.stop :],
    ]
    return torch.cat(parts, dim=1)


def style_size(num_joints: int, num_key_bodies: int) -> int:
    """Return the width of `style_features`."""
    return 14 + 3 * num_joints + 6 * num_key_bodies
