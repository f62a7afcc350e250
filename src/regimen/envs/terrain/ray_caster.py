"""Distances along rays to the ground, for many rays at once: exact on the triangles of a height field.

Rays walk through a pyramid of largest heights (maximum mipmaps: Tevs, Ihrke and Seidel 2008, Maximum Mipmaps for Fast,
Accurate, and Scalable Dynamic Height Field Rendering): a block that lies below a ray is crossed in one step, another
one is divided into four, and in a single cell the ray is compared with its two triangles. A ray that has come down to
small blocks stays with them, because the ground is near.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch.nn.functional import max_pool2d, pad

from regimen.envs.terrain.height_field import HeightField

LEVELS = 4
"""Levels of the pyramid; a block of the highest, at which rays start, has 8 x 8 cells."""

NUDGE = 1e-4
"""Cells by which a place on the edge of a cell is moved forwards to find the cell behind the edge."""

STEEPEST = 1e-9
"""Least speed of a ray along x and y, in cells for each m, so that it can be divided by."""


class RayCaster:
    """Rays against the ground: a height field, or the plane at height 0. Robots and other things do not stop them.

    Attributes:
        max_distance: m, at which rays end.
    """

    def __init__(self, ground: HeightField | None, max_distance: float) -> None:
        """Build the pyramid.

        Args:
            ground: heights; None for flat ground at height 0.
            max_distance: m.
        """
        self._ground, self.max_distance = ground, max_distance
        if ground is None:
            return
        h = ground.heights
        top = torch.maximum(torch.maximum(h[:-1, :-1], h[1:, :-1]), torch.maximum(h[:-1, 1:], h[1:, 1:]))
        block = 2 ** (LEVELS - 1)
        # Around the ground are cells without height, as far as a ray reaches, and all levels fill their blocks.
        self._border = block * math.ceil((max_distance / ground.cell + 2) / block)
        right, below = (self._border + -n % block for n in top.shape)
        tops = [pad(top, (self._border, below, self._border, right), value=-math.inf)]
        for _ in range(LEVELS - 1):
            tops.append(max_pool2d(tops[-1][None, None], 2)[0, 0])
        sizes = [level.numel() for level in tops]
        self._heights, self._tops = h.flatten(), torch.cat([level.flatten() for level in tops])
        self._first = torch.tensor([sum(sizes[:k]) for k in range(LEVELS)], dtype=torch.int32, device=h.device)
        self._width = torch.tensor([level.shape[1] for level in tops], dtype=torch.int32, device=h.device)
        self._size = torch.tensor([2.0**k for k in range(LEVELS)], device=h.device)

    def cast(self, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Return the distance to the ground.

        Args:
            origins: (N, 3) m, world frame.
            directions: (N, R, 3), unit length, world frame.

        Returns:
            (N, R) m: `max_distance` where there is no ground before it, 0 where the origin is below the ground. Beyond
            the edges of a height field there is none.
        """
        far = self.max_distance
        if self._ground is None:
            down = -directions[..., 2]
            distance = origins[:, 2:].clamp_min(0.0) / down.clamp_min(1e-9)
            return torch.where(down > 0.0, distance, far).clamp_max(far)
        count, rays = directions.shape[:2]
        walk = self._start(self._ground, origins, directions)
        distance = torch.full_like(walk.t, far)
        rows = torch.arange(len(distance), device=distance.device)
        while True:
            left = (walk.t < far).nonzero().squeeze(1)
            if len(left) < len(rows):
                if not len(left):
                    return distance.clamp_(0.0, far).view(count, rays)
                rows, walk = rows[left], walk.only(left)
            ids, hits = self._advance(walk)
            distance[rows[ids]] = hits

    def _start(self, ground: HeightField, origins: torch.Tensor, directions: torch.Tensor) -> _Walk:
        per_cell, rays = 1.0 / ground.cell, directions.shape[1]
        place = (origins[:, :2] - torch.tensor(ground.start, device=origins.device)) * per_cell
        inside = (place >= 0.0).all(1) & (place[:, 0] < ground.heights.shape[0] - 1)
        inside &= place[:, 1] < ground.heights.shape[1] - 1
        cell = place.floor()
        share = place - cell
        cell = torch.where(inside[:, None], cell + self._border, 0.0)

        def each(values: torch.Tensor) -> torch.Tensor:
            return values[:, None].expand(-1, rays).reshape(-1)

        speed = [directions[..., k].reshape(-1) * per_cell for k in range(2)]
        du, dv = (torch.where(s.abs() < STEEPEST, STEEPEST, s) for s in speed)
        return _Walk(
            u=each(share[:, 0]),
            v=each(share[:, 1]),
            z=each(origins[:, 2]),
            du=du,
            dv=dv,
            dz=directions[..., 2].reshape(-1),
            i=each(cell[:, 0]),
            j=each(cell[:, 1]),
            t=each(torch.where(inside, 0.0, self.max_distance)),
            level=torch.full_like(du, LEVELS - 1, dtype=torch.int32),
        )

    def _advance(self, walk: _Walk) -> tuple[torch.Tensor, torch.Tensor]:
        """Move each ray over one block or to smaller blocks; return which (n,) hit the ground, and where (n,) in m.

        A ray that hits is moved to the end.
        """
        up, right = (walk.du > 0.0).float(), (walk.dv > 0.0).float()
        i = torch.addcmul(walk.u, walk.du, walk.t).add_(up, alpha=2.0 * NUDGE).sub_(NUDGE).floor_().add_(walk.i)
        j = torch.addcmul(walk.v, walk.dv, walk.t).add_(right, alpha=2.0 * NUDGE).sub_(NUDGE).floor_().add_(walk.j)
        size = self._size.index_select(0, walk.level)
        bi, bj = (i / size).floor_(), (j / size).floor_()
        place = bi.int().mul_(self._width.index_select(0, walk.level)).add_(bj.int())
        top = self._tops.index_select(0, place.add_(self._first.index_select(0, walk.level)))
        out = bi.add_(up).mul_(size).sub_(walk.i).sub_(walk.u).div_(walk.du)
        out_v = bj.add_(right).mul_(size).sub_(walk.j).sub_(walk.v).div_(walk.dv)
        out = torch.minimum(out, out_v, out=out).clamp_(max=self.max_distance)
        out = torch.maximum(out, walk.t, out=out)
        lowest = torch.addcmul(walk.z, walk.dz, torch.where(walk.dz < 0.0, out, walk.t))
        above, single = lowest > top, walk.level == 0
        ids = (single & ~above).nonzero().squeeze(1)
        start, walk.t = walk.t, torch.where(above | single, out, walk.t)
        walk.level = torch.where(above | single, walk.level, walk.level - 1)
        hit, place_m = self._in_cell(walk, ids, i[ids], j[ids], start[ids], out[ids])
        ids = ids[hit]
        walk.t[ids] = self.max_distance
        return ids, place_m[hit]

    def _in_cell(
        self, walk: _Walk, ids: torch.Tensor, i: torch.Tensor, j: torch.Tensor, start: torch.Tensor, out: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare rays `ids` (n,) with the triangles of their cells; return where they hit, and the distance there."""
        assert self._ground is not None
        columns = self._ground.heights.shape[1]
        first = (i - self._border).long() * columns + (j - self._border).long()
        low, high = self._heights[first], self._heights[first + columns + 1]
        along, across = self._heights[first + columns], self._heights[first + 1]
        du, dv, z, dz = walk.du[ids], walk.dv[ids], walk.z[ids], walk.dz[ids]
        u, v = walk.u[ids] - (i - walk.i[ids]), walk.v[ids] - (j - walk.j[ids])

        def gap(at: torch.Tensor) -> torch.Tensor:
            """Return the height (n,) of the rays above the ground, at distances (n,)."""
            x, y = torch.addcmul(u, du, at).clamp_(0.0, 1.0), torch.addcmul(v, dv, at).clamp_(0.0, 1.0)
            far, near = torch.maximum(x, y), torch.minimum(x, y)
            corner = torch.where(x >= y, along, across)
            return torch.addcmul(z, dz, at) - (low + far * (corner - low) + near * (high - corner))

        across_by = du - dv
        turn = (v - u) / torch.where(across_by == 0.0, 1.0, across_by)  # where the ray crosses the diagonal
        turn = torch.minimum(torch.maximum(turn, start), out)
        before, middle, after = gap(start), gap(turn), gap(out)
        early = middle <= 0.0
        near, far = torch.where(early, start, turn), torch.where(early, turn, out)
        near_gap, far_gap = torch.where(early, before, middle), torch.where(early, middle, after)
        share = (near_gap / (near_gap - far_gap).clamp_min(1e-12)).clamp(0.0, 1.0)
        place = torch.where(before <= 0.0, start, near + (far - near) * share)
        return (before <= 0.0) | early | (after <= 0.0), place


@dataclass
class _Walk:
    """M rays on their way.

    Attributes:
        u, v: (M,) cells along x and y from the corner of the cell of the origin to the origin.
        z: (M,) m, height of the origin.
        du, dv: (M,) cells for each m of the way.
        dz: (M,) m, likewise.
        i, j: (M,) float, cell of the origin, counted with the border.
        t: (M,) m, way behind.
        level: (M,) int32, of the pyramid.
    """

    u: torch.Tensor
    v: torch.Tensor
    z: torch.Tensor
    du: torch.Tensor
    dv: torch.Tensor
    dz: torch.Tensor
    i: torch.Tensor
    j: torch.Tensor
    t: torch.Tensor
    level: torch.Tensor

    def only(self, ids: torch.Tensor) -> _Walk:
        """Return the rays `ids` (m,)."""
        return _Walk(**{f.name: getattr(self, f.name).index_select(0, ids) for f in fields(self)})
