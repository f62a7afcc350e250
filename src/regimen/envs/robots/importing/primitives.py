"""Primitive shapes around points: the smallest sphere, capsule, cylinder or box along the axes of given frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SIDES = 32
"""Points on the rim of a cylinder, for its lowest point."""


TURN = 10
"""Degrees between the frames in which a shape is tried."""


@dataclass(frozen=True)
class Primitive:
    """A shape in some frame.

    Attributes:
        kind: `sphere`, `capsule`, `cylinder`, `box` or `ellipsoid`.
        size: radius; radius and half length; half lengths: as MuJoCo has them, in m.
        centre: (3,) m.
        axes: (3, 3), columns are the axes of the shape.
    """

    kind: str
    size: tuple[float, ...]
    centre: np.ndarray
    axes: np.ndarray

    @property
    def volume(self) -> float:
        """Volume in m³."""
        r, *more = self.size
        if self.kind == "sphere":
            return float(4 / 3 * np.pi * r**3)
        if self.kind == "capsule":
            return float(np.pi * r**2 * (2 * more[0] + 4 / 3 * r))
        if self.kind == "cylinder":
            return float(np.pi * r**2 * 2 * more[0])
        return float((8.0 if self.kind == "box" else 4 / 3 * np.pi) * np.prod(self.size))

    def core(self) -> tuple[np.ndarray, float]:
        """Return points (k, 3) whose convex hull, widened by a radius, is the shape; a round rim has `SIDES` points."""
        r, *more = self.size
        if self.kind == "sphere":
            return self.centre[None], r
        if self.kind == "capsule":
            return self.centre + np.outer([-more[0], more[0]], self.axes[:, 2]), r
        if self.kind == "box":
            corners = np.array(list(itertools.product((-1, 1), repeat=3))) * self.size
            return self.centre + corners @ self.axes.T, 0.0
        turn = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
        rim = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        if self.kind == "cylinder":
            local = np.concatenate([np.c_[rim * r, np.full(SIDES, z)] for z in (-more[0], more[0])])
        else:
            tilt = np.linspace(-np.pi / 2, np.pi / 2, SIDES // 2 + 1)
            local = np.concatenate([np.c_[rim * np.cos(a), np.full(SIDES, np.sin(a))] for a in tilt]) * self.size
        return self.centre + local @ self.axes.T, 0.0


def smallest(points: np.ndarray, frames: Sequence[np.ndarray], kinds: Sequence[str] | None = None) -> Primitive:
    """Return the primitive of the least volume that contains all points.

    Args:
        points: (k, 3) m, at least one.
        frames: (3, 3) each, columns are axes along which shapes are laid.
        kinds: names of primitives; None for sphere, capsule, cylinder and box.
    """
    found = [p for frame in frames for p in _along(points, frame)]
    return min((p for p in found if kinds is None or p.kind in kinds), key=lambda p: p.volume)


def _along(points: np.ndarray, frame: np.ndarray) -> Iterator[Primitive]:
    """Yield each kind of primitive around `points` with its axes along `frame`."""
    local = points @ frame
    low, high = local.min(0), local.max(0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-4)
    centre = frame @ middle
    local = local - middle
    yield Primitive("box", tuple(half.tolist()), centre, frame)
    yield Primitive("sphere", (max(float(np.linalg.norm(local, axis=1).max()), 1e-4),), centre, frame)
    for axis in range(3):
        turned = frame[:, [(axis + 1) % 3, (axis + 2) % 3, axis]]
        across, along = np.delete(local, axis, axis=1), np.abs(local[:, axis])
        distance = np.linalg.norm(across, axis=1)
        r = max(float(distance.max()), 1e-4)
        yield Primitive("cylinder", (r, float(half[axis])), centre, turned)
        reach = along - np.sqrt(np.maximum(r**2 - distance**2, 0.0))
        yield Primitive("capsule", (r, max(float(reach.max()), 1e-4)), centre, turned)


def turned(frame: np.ndarray, axes: Sequence[int] = (0, 1, 2)) -> list[np.ndarray]:
    """Return `frame` (3, 3) and what it becomes by turns of less than 90 degrees, in steps, about its own `axes`."""
    found = [frame]
    for axis in axes:
        one, other = (axis + 1) % 3, (axis + 2) % 3
        for angle in np.deg2rad(np.arange(TURN, 90, TURN)):
            turn = np.eye(3)
            turn[one, one] = turn[other, other] = np.cos(angle)
            turn[other, one], turn[one, other] = np.sin(angle), -np.sin(angle)
            found.append(frame @ turn)
    return found


def hull_corners(points: np.ndarray) -> np.ndarray:
    """Return those of points (k, 3) that are corners of their convex hull; all of them if they lie in a plane."""
    from scipy.spatial import ConvexHull, QhullError  # type: ignore[import-untyped]

    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except (QhullError, ValueError):
        return points


def hull_volume(points: np.ndarray) -> float:
    """Return the volume of the convex hull of points (k, 3), in m³; 0 for points in a plane."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return float(ConvexHull(points).volume)
    except (QhullError, ValueError):
        return 0.0
