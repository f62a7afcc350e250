"""Places of a height scan around the robot. Nothing here imports torch: preflight counts them before a run starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SIZE, SPACING = (1.6, 1.0), 0.1
"""Length and width in m, and distance between two places in m: 187 of them, as in Isaac Lab's rough velocity tasks."""


@dataclass(frozen=True)
class ScanGrid:
    """A rectangle of places that turns with the heading of the robot.

    Attributes:
        size: length along the robot's x axis and width along its y axis, m.
        spacing: distance between neighbouring places, m.
    """

    size: Sequence[float] = SIZE
    spacing: float = SPACING

    @classmethod
    def of(cls, params: dict[str, Any]) -> ScanGrid:
        """Return the grid of the parameters of an observation term `height_scan`."""
        return cls(params.get("size", SIZE), params.get("spacing", SPACING))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of places along x and along y."""
        x, y = (int(side / self.spacing + 1e-6) + 1 for side in self.size)
        return x, y

    @property
    def count(self) -> int:
        """Number of places."""
        return self.shape[0] * self.shape[1]

    def places(self) -> list[tuple[float, float]]:
        """Return x and y of each place in m, relative to the robot; y changes first."""
        along, across = ([(i - (n - 1) / 2) * self.spacing for i in range(n)] for n in self.shape)
        return [(x, y) for x in along for y in across]

    def mirrored(self) -> list[int]:
        """Return for each place the index of the one on the other side of the robot's x axis."""
        x, y = self.shape
        return [i * y + (y - 1 - j) for i in range(x) for j in range(y)]

    def problems(self) -> list[str]:
        """Return one line for each value that describes no grid."""
        if len(self.size) != 2 or not all(0 <= side < float("inf") for side in self.size):
            return [f"size={list(self.size)}: expected [length, width] in m"]
        if not self.spacing > 0:
            return [f"spacing={self.spacing:g}: expected m, more than 0"]
        return []
