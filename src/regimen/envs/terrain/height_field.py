"""Heights of the ground on a regular grid, and their value at any place, for many places at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch.nn.functional import grid_sample


@dataclass(frozen=True)
class HeightField:
    """The ground.

    Each cell between four points consists of two triangles, as in MuJoCo's `hfield`: the diagonal leads from the point
    with the lowest x and y to the one with the highest. Beyond its edges the ground has their height.

    Attributes:
        heights: (X, Y) float32 in m; the first index counts along x.
        cell: distance between neighbouring points in m.
        start: x and y of the first point in m, world frame.
    """

    heights: torch.Tensor
    cell: float
    start: tuple[float, float]

    def to(self, device: torch.device) -> HeightField:
        """Return the same ground on another device."""
        return HeightField(self.heights.to(device), self.cell, self.start)

    @property
    def end(self) -> tuple[float, float]:
        """Place (x, y) of the last point in m."""
        x, y = ((n - 1) * self.cell for n in self.heights.shape)
        return self.start[0] + x, self.start[1] + y

    def window(self, place: Sequence[float], side: float) -> HeightField:
        """Return the square part around a place, as large everywhere and within the ground, as far as that is.

        Args:
            place: x and y in m.
            side: length of a side in m.
        """
        size = [min(n, round(side / self.cell) + 1) for n in self.heights.shape]
        middle = [round((p - start) / self.cell) for p, start in zip(place, self.start, strict=True)]
        x, y = (
            min(max(m - n // 2, 0), total - n) for m, n, total in zip(middle, size, self.heights.shape, strict=True)
        )
        part = self.heights[x : x + size[0], y : y + size[1]]
        return HeightField(part, self.cell, (self.start[0] + x * self.cell, self.start[1] + y * self.cell))

    @cached_property
    def _twist(self) -> torch.Tensor:
        """(X - 1, Y - 1) m, how far each cell is from a plane: the sum of its ends on the diagonal minus the others."""
        h = self.heights
        return h[:-1, :-1] + h[1:, 1:] - h[:-1, 1:] - h[1:, :-1]

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """Return the height of the ground.

        Args:
            places: (..., 2) or (..., 3), x and y in m, world frame.

        Returns:
            (...) m.
        """
        x, y = places[..., 0].contiguous(), places[..., 1].contiguous()
        return self.at_xy(x, y)

    def at_xy(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the height of the ground; faster than `at` for many places.

        Args:
            x: (...) m, world frame.
            y: (...) m.

        Returns:
            (...) m.
        """
        (x_unit, x_share), (y_unit, y_share) = self._place(x, 0), self._place(y, 1)
        grid = torch.stack((y_unit.flatten(), x_unit.flatten()), dim=1)[None, None]  # the last axis of a picture first
        sample = partial(grid_sample, grid=grid, padding_mode="border")
        curved = sample(self.heights[None, None], mode="bilinear", align_corners=True)
        twist = sample(self._twist[None, None], mode="nearest", align_corners=False)
        # In a cell, with shares a and b of the way along x and y, two triangles are the bilinear surface and
        # (min(a, b) - a b) times the twist, which is 0 on all edges of the cell.
        bend = torch.minimum(x_share, y_share).sub_(x_share.mul_(y_share))
        return bend.mul_(twist.view(x.shape)).add_(curved.view(x.shape))

    def _place(self, values: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return values scaled to -1 to 1 from the first to the last point, and the share of the way through a cell."""
        cells = self.heights.shape[axis] - 1
        place = ((values - self.start[axis]) * (1.0 / self.cell)).clamp_(0.0, float(cells))
        return place * (2.0 / cells) - 1.0, place.frac_()
