"""Quaternion arithmetic on batches, w x y z."""

from __future__ import annotations

from functools import cache

import torch

# Rotation matrix entries as sums of products of quaternion components: row 3 i + j of the (9, 16) map gives R[i, j]
# from the flattened outer product of (w, x, y, z) with itself. One small matrix product instead of thirty tiny ones.
_PRODUCTS = {(0, 0): "+ww+xx-yy-zz", (0, 1): "+xy+xy-wz-wz", (0, 2): "+xz+xz+wy+wy",
             (1, 0): "+xy+xy+wz+wz", (1, 1): "+ww-xx+yy-zz", (1, 2): "+yz+yz-wx-wx",
             (2, 0): "+xz+xz-wy-wy", (2, 1): "+yz+yz+wx+wx", (2, 2): "+ww-xx-yy+zz"}  # fmt: skip


def _product_map() -> torch.Tensor:
    table = torch.zeros(9, 16)
    for (i, j), terms in _PRODUCTS.items():
        for sign, a, b in zip(terms[::3], terms[1::3], terms[2::3], strict=True):
            table[3 * i + j, 4 * "wxyz".index(a) + "wxyz".index(b)] += 1.0 if sign == "+" else -1.0
    return table


_MAP = _product_map()


@cache
def _map_on(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return the map on a device, to which it is copied once: each copy would wait for a GPU."""
    with torch.inference_mode(False):  # kept, and may be used in a training
        return _MAP.to(device, dtype)


def to_matrix(quat: torch.Tensor) -> torch.Tensor:
    """Return the rotation matrices (3, 3, N), batch last, of unit quaternions (N, 4); `[:, j]` is the body's axis j."""
    q = quat.t().contiguous()
    products = (q[:, None] * q[None]).view(16, -1)
    return (_map_on(quat.device, quat.dtype) @ products).view(3, 3, -1)


def heading(quat: torch.Tensor) -> torch.Tensor:
    """Return the rotation about the vertical (N,) in rad, -pi to pi, of unit quaternions (N, 4)."""
    w, x, y, z = quat.unbind(1)
    return torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def from_euler(roll: torch.Tensor, pitch: torch.Tensor, heading: torch.Tensor) -> torch.Tensor:
    """Return quaternions (N, 4) of rotations about x, then y, then z (N,) in rad."""
    cr, sr, cp, sp = torch.cos(roll / 2), torch.sin(roll / 2), torch.cos(pitch / 2), torch.sin(pitch / 2)
    cy, sy = torch.cos(heading / 2), torch.sin(heading / 2)
    w, x = cr * cp * cy + sr * sp * sy, sr * cp * cy - cr * sp * sy
    y, z = cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy
    return torch.stack((w, x, y, z), dim=1)


def inverse(quat: torch.Tensor) -> torch.Tensor:
    """Return the inverse (..., 4) of unit quaternions (..., 4)."""
    return torch.cat((quat[..., :1], -quat[..., 1:]), dim=-1)


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the products (N, 4) of two batches of quaternions."""
    aw, ax, ay, az = a.unbind(1)
    bw, bx, by, bz = b.unbind(1)
    w, x = aw * bw - ax * bx - ay * by - az * bz, aw * bx + ax * bw + ay * bz - az * by
    y, z = aw * by - ax * bz + ay * bw + az * bx, aw * bz + ax * by - ay * bx + az * bw
    return torch.stack((w, x, y, z), dim=1)


def rotate(quat: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Return vectors (…, 3) turned by unit quaternions (…, 4)."""
    vector = vector.expand(*quat.shape[:-1], 3)
    cross = 2.0 * torch.linalg.cross(quat[..., 1:], vector)
    return vector + quat[..., :1] * cross + torch.linalg.cross(quat[..., 1:], cross)
