"""The default pose: a keyframe of the file, or zero with bent knees; and the height at which it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from regimen.envs.robots.importing.anatomy import Anatomy, Posture
from regimen.envs.robots.importing.feet import Foot
from regimen.envs.robots.importing.settings import ImportSettings
from regimen.envs.robots.importing.shapes import Shape, lowest_point

KEYFRAMES = ("home", "stand", "standing", "knees_bent", "default")
"""Names of keyframes that are a pose for standing, the first one counts."""

KNEE = {2: 0.6}
"""Feet -> angle in rad by which knees are bent."""

KNEE_OF_MANY = 1.4
"""The same for more than two feet."""

PITCH = 0.9
"""Least y component of the axis of a joint that bends a leg forward."""

CLEARANCE = 0.01
"""m between the soles and the ground at the spawn."""

STEPS, PASSES = 41, 3
"""Angles that are tried for a hip or an ankle, and how often: each time between the neighbours of the best before."""


def zero_pose(anatomy: Anatomy) -> np.ndarray:
    """Return the angles (J,) rad of the pose zero, as far as the ranges contain it."""
    return np.clip(np.zeros(len(anatomy.joints)), anatomy.ranges[:, 0], anatomy.ranges[:, 1])


def default_pose(
    anatomy: Anatomy, feet: Sequence[Foot], keyframes: Mapping[str, Mapping[str, float]], settings: ImportSettings
) -> tuple[np.ndarray, str]:
    """Return the default angles (J,) rad, rounded to 1 mrad, and where they come from."""
    key = next((name for name in KEYFRAMES if name in keyframes), None)
    if key is not None:
        angles = np.array([keyframes[key].get(name, 0.0) for name in anatomy.names])
        source = f"keyframe `{key}` of the file"
    else:
        angles, bent = bend_knees(anatomy, feet, zero_pose(anatomy))
        source = "assumed: zero within the ranges" + (f", with bent knees ({', '.join(bent)})" if bent else "")
    given = [settings.given("pose", name) for name in anatomy.names]
    if any(value is not None for value in given):
        source += "; angles by --pose"
    chosen = [a if value is None else value for a, value in zip(angles, given, strict=True)]
    rounded, (low, high) = np.round(chosen, 3), anatomy.ranges.T
    inside = np.clip(rounded, np.ceil(low * 1e4) / 1e4, np.floor(high * 1e4) / 1e4)
    return np.where(abs(inside - rounded) < 1e-3, inside, rounded), source


def bend_knees(anatomy: Anatomy, feet: Sequence[Foot], angles: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Bend the knee of each leg, with the ankle below the hip and the foot as level as before.

    A leg is bent if two or three of its joints turn about the y axis: hip, knee, and ankle. Without an ankle its sole
    is below the hip.

    Args:
        anatomy: of the robot.
        feet: with their soles.
        angles: (J,) rad, the pose that is bent.

    Returns:
        Angles (J,) rad, and the names of the knees.
    """
    angles, start, knees = angles.copy(), Posture(anatomy, angles), []
    for foot in feet:
        pitch = [i for i in anatomy.path(foot.body) if abs(start.axes[i, 1]) > PITCH]
        if len(pitch) not in (2, 3):
            continue
        hip, knee, *ankle = pitch
        low, high = anatomy.ranges[knee]
        bend = KNEE.get(len(feet), KNEE_OF_MANY)
        angles[knee] = np.clip(bend if high + low > 0 else -bend, low, high)

        def offset(posture: Posture, hip: int = hip, ankle: list[int] = ankle, foot: Foot = foot) -> float:
            end = posture.anchors[ankle[0]] if ankle else posture.place(foot.body, foot.sole[None])[0]
            return float(abs(end[0] - posture.anchors[hip][0]))

        def tilt(posture: Posture, body: int = foot.body) -> float:
            return float(np.linalg.norm(posture.rotations[body] - start.rotations[body]))

        near = np.clip(angles[hip] - angles[knee], *anatomy.ranges[hip])  # beyond that, a leg is folded over
        _search(anatomy, angles, hip, offset, (angles[hip], near))
        if ankle:
            _search(anatomy, angles, ankle[0], tilt, anatomy.ranges[ankle[0]])
        knees.append(anatomy.names[knee])
    return angles, knees


def _search(
    anatomy: Anatomy, angles: np.ndarray, joint: int, cost: Callable[[Posture], float], bounds: Sequence[float]
) -> None:
    """Set the angle of a joint between two `bounds` to the one of the least cost."""
    low, high = bounds
    for _ in range(PASSES):
        tried, costs = np.linspace(low, high, STEPS), []
        for angle in tried:
            angles[joint] = angle
            costs.append(cost(Posture(anatomy, angles)))
        best = int(np.argmin(costs))
        low, high = tried[max(best - 1, 0)], tried[min(best + 1, STEPS - 1)]
        angles[joint] = tried[best]


def spawn_height(shapes: Sequence[Shape], posture: Posture) -> float:
    """Return the height of the base in m at which the lowest shape is `CLEARANCE` above the ground, rounded to 1 mm."""
    return round(CLEARANCE - min(lowest_point(s.primitive, s.body, posture) for s in shapes), 3)
