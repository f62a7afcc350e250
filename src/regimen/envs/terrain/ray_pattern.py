"""Directions of the rays of distance sensors. Nothing here imports torch: preflight counts them before a run starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

WIDTH, HEIGHT, FIELD_OF_VIEW = 16, 9, 87.0
"""Pixels, and horizontal angle in degrees, of a small image with the field of view of a RealSense D435's depth."""

MAX_DISTANCE = 3.0
"""m, beyond which readings are cut off."""

Vector = tuple[float, float, float]


class RayPattern(Protocol):
    """Rays of one sensor in the frame of the base: x forwards, y to the left, z upwards."""

    @property
    def count(self) -> int:
        """Number of rays."""
        ...

    def directions(self) -> list[Vector]:
        """Return the unit vectors of the rays."""
        ...

    def mirrored(self) -> list[int] | None:
        """Return for each ray the index of its image in the x-z plane; None where there is none."""
        ...

    def problems(self) -> list[str]:
        """Return one line for each value that describes no sensor."""
        ...


@dataclass(frozen=True)
class PinholePattern:
    """Rays through the pixels of a pinhole camera with square pixels, row by row from the upper left one.

    Attributes:
        width: pixels.
        height: pixels.
        fov: horizontal field of view, from edge to edge of the image, in degrees.
        pitch: angle by which the camera looks below the x axis of the base, in degrees.
        offset: place of the camera in the frame of the base, in m.
        max_distance: in m.
    """

    width: int = WIDTH
    height: int = HEIGHT
    fov: float = FIELD_OF_VIEW
    pitch: float = 0.0
    offset: Sequence[float] = (0.0, 0.0, 0.0)
    max_distance: float = MAX_DISTANCE

    @property
    def count(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def axis(self) -> Vector:
        """Optical axis."""
        angle = math.radians(self.pitch)
        return math.cos(angle), 0.0, -math.sin(angle)

    def directions(self) -> list[Vector]:
        """Return the unit vectors through the middle of each pixel."""
        half = math.tan(math.radians(self.fov) / 2.0)
        cos, sin = math.cos(math.radians(self.pitch)), math.sin(math.radians(self.pitch))
        rays = []
        for row in range(self.height):
            up = half * (self.height - 1 - 2 * row) / self.width
            for column in range(self.width):
                left = half * (self.width - 1 - 2 * column) / self.width
                rays.append(_unit((cos + sin * up, left, cos * up - sin)))
        return rays

    def mirrored(self) -> list[int] | None:
        """Return for each pixel the one in the same row on the other side."""
        if self.offset[1] != 0.0:
            return None
        return [row * self.width + self.width - 1 - c for row in range(self.height) for c in range(self.width)]

    def problems(self) -> list[str]:
        """Return one line for each value that describes no camera."""
        sizes = {"width": self.width, "height": self.height}
        lines = [f"{name}={value}: expected pixels, 1 or more" for name, value in sizes.items() if value < 1]
        if not 0.0 < self.fov < 180.0:
            lines.append(f"fov={self.fov:g}: expected degrees between 0 and 180")
        return lines + _mount_problems(self.offset, self.max_distance)


@dataclass(frozen=True)
class RayList:
    """Rays in given directions from one place.

    Attributes:
        rays: (x, y, z) of each ray, of any length, in the frame of the base.
        offset: place of the sensor in the frame of the base, in m.
        max_distance: in m.
    """

    rays: Sequence[Sequence[float]] = ()
    offset: Sequence[float] = (0.0, 0.0, 0.0)
    max_distance: float = MAX_DISTANCE

    @property
    def count(self) -> int:
        """Number of rays."""
        return len(self.rays)

    def directions(self) -> list[Vector]:
        """Return the unit vectors."""
        return [_unit((x, y, z)) for x, y, z in self.rays]

    def mirrored(self) -> list[int] | None:
        """Return for each ray the one to the other side; None where one is missing."""
        unit = [tuple(round(v, 6) + 0.0 for v in ray) for ray in self.directions()]
        images = [(x, -y + 0.0, z) for x, y, z in unit]
        return [unit.index(i) for i in images] if set(images) <= set(unit) and self.offset[1] == 0.0 else None

    def problems(self) -> list[str]:
        """Return one line for each value that describes no ray."""
        bad = [ray for ray in self.rays if len(ray) != 3 or not math.hypot(*ray) > 0.0]
        lines = [f"rays={list(map(list, bad))}: expected [x, y, z], not all 0"] if bad else []
        lines += [] if self.rays else ["rays=[]: expected at least one direction [x, y, z]"]
        return lines + _mount_problems(self.offset, self.max_distance)


PATTERNS: dict[str, type[PinholePattern] | type[RayList]] = {"depth_image": PinholePattern, "ray_distances": RayList}
"""Observation term -> its rays, whose attributes are the parameters of the term."""


def pattern_of(func: str, params: dict[str, Any]) -> RayPattern:
    """Return the rays of an observation term of `PATTERNS`."""
    return PATTERNS[func](**params)


def _unit(vector: Vector) -> Vector:
    length = math.hypot(*vector)
    return vector[0] / length, vector[1] / length, vector[2] / length


def _mount_problems(offset: Sequence[float], max_distance: float) -> list[str]:
    lines = [] if len(offset) == 3 else [f"offset={list(offset)}: expected [x, y, z] in m"]
    if not 0.0 < max_distance < math.inf:
        lines.append(f"max_distance={max_distance:g}: expected m, more than 0")
    return lines
