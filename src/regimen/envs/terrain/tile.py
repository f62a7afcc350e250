"""The square that one kind of ground fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """The square that a kind fills.

    Attributes:
        points: n, number of points along one side.
        cell: distance between them in m.
        generator: for what is random; seeded for each tile by itself.
    """

    points: int
    cell: float
    generator: np.random.Generator

    def count(self, length: float) -> int:
        """Return how many cells a length in m has, at least one."""
        return max(1, round(length / self.cell))

    def flat(self, height: float = 0.0) -> np.ndarray:
        """Return (n, n) of one height."""
        return np.full((self.points, self.points), height, dtype=np.float32)

    def rings(self) -> np.ndarray:
        """Return (n, n): how many points each point is away from the nearest edge."""
        along = np.minimum(np.arange(self.points), np.arange(self.points)[::-1])
        return np.minimum(along[:, None], along[None, :])

    def middle(self, length: float) -> tuple[slice, slice]:
        """Return the index of a square of that side length in m in the middle."""
        half = min(self.count(length / 2), self.points // 2)
        part = slice(self.points // 2 - half, self.points // 2 + half + 1)
        return part, part
