"""Quaternion arithmetic on batches, w x y z."""

from __future__ import annotations

import torch


def rotate_inverse(quat: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Express world vectors (N, 3) in the frames of `quat` (N, 4)."""
    w, xyz = quat[:, :1], quat[:, 1:]
    t = 2.0 * torch.linalg.cross(xyz, vector)
    return vector - w * t + torch.linalg.cross(xyz, t)


def yaw(quat: torch.Tensor) -> torch.Tensor:
    """Return the heading (N,) of `quat` (N, 4) in rad."""
    w, x, y, z = quat.unbind(1)
    return torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def from_euler(roll: torch.Tensor, pitch: torch.Tensor, heading: torch.Tensor) -> torch.Tensor:
    """Return quaternions (N, 4) of rotations about x, then y, then z (N,) in rad."""
    cr, sr, cp, sp = torch.cos(roll / 2), torch.sin(roll / 2), torch.cos(pitch / 2), torch.sin(pitch / 2)
    cy, sy = torch.cos(heading / 2), torch.sin(heading / 2)
    w, x = cr * cp * cy + sr * sp * sy, sr * cp * cy - cr * sp * sy
    y, z = cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy
    return torch.stack((w, x, y, z), dim=1)


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the products (N, 4) of two batches of quaternions."""
    aw, ax, ay, az = a.unbind(1)
    bw, bx, by, bz = b.unbind(1)
    w, x = aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by
    y, z = aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw
    return torch.stack((w, x, y, z), dim=1)
