"""Feet of a robot with their soles, and bodies that touch the ground only in a fall."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regimen.envs.robots.importing.anatomy import Anatomy, Posture
from regimen.envs.robots.importing.settings import ImportSettings
from regimen.envs.robots.importing.shapes import Shape, lowest_point
from regimen.system.errors import ConfigError, did_you_mean

LEVEL = 0.03
"""Bodies whose lowest points differ by at most this share of the robot's height stand on the same ground."""

SOLE = 0.01
"""m above its lowest point within which a foot's points are its sole."""

MOST = 8


@dataclass(frozen=True)
class Foot:
    """A foot.

    Attributes:
        body: id in the model of the file.
        name: of the body.
        sole: (3,) m in the frame of the body, the centre of the sole.
    """

    body: int
    name: str
    sole: np.ndarray


def find_feet(anatomy: Anatomy, shapes: Sequence[Shape], posture: Posture, settings: ImportSettings) -> list[int]:
    """Return the bodies that are feet, in the order of the model.

    Without `settings.feet` they are the last bodies of different limbs, two to `MOST` of them, that reach lowest, with
    soles at one height; on a terminal the user is asked where that is not so.

    Raises:
        ConfigError: a name is no body with collision shapes; or the guess is ambiguous and there is no terminal.
    """
    if not anatomy.floating:
        return []
    touching = {anatomy.body_name(shape.body): shape.body for shape in shapes}
    if settings.feet is not None:
        return _named(settings.feet, touching, anatomy)
    lowest = {b: min(lowest_point(s.primitive, b, posture) for s in shapes if s.body == b) for b in touching.values()}
    height = max(lowest.values()) - min(lowest.values())
    feet = sorted(b for b in lowest if lowest[b] - min(lowest.values()) <= max(LEVEL * height, 0.005))
    limbs = {tuple(anatomy.path(b)) for b in feet}
    if 2 <= len(feet) <= MOST and len(limbs) == len(feet) and all(_is_last(anatomy, b) for b in feet):
        return feet
    names = sorted(touching, key=lambda name: lowest[touching[name]])[:MOST]
    shown = ", ".join(f"{name} ({lowest[touching[name]] - min(lowest.values()):.3f} m)" for name in names)
    question = f"The feet are not clear. Bodies by the height of their lowest point over the lowest of all: {shown}."
    if anatomy.turned:
        question += f" Their heights depend on what is up. {anatomy.turned}."
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Name them: --feet <body>,<body>; --feet '' for a robot without feet.")
    answer = input(f"{question}\nFeet, separated by commas (empty for none): ")
    return _named(tuple(word.strip() for word in answer.split(",") if word.strip()), touching, anatomy)


def _named(names: Sequence[str], touching: dict[str, int], anatomy: Anatomy) -> list[int]:
    for name in names:
        if name not in touching:
            everything = [anatomy.body_name(b) for b in anatomy.bodies]
            why = "it has no collision shape" if name in everything else "there is no such body"
            raise ConfigError(f"--feet {name}: {why}. {did_you_mean(name, touching)}")
    return sorted(touching[name] for name in names)


def _is_last(anatomy: Anatomy, body: int) -> bool:
    """Return whether no joint is below a body."""
    return not any(anatomy.joints_of(b) for b in anatomy.below(body) if b != body)


def soles(anatomy: Anatomy, feet: Sequence[int], shapes: Sequence[Shape], posture: Posture) -> list[Foot]:
    """Return each foot with the centre of its sole."""
    found = []
    for body in feet:
        cloud = []
        for shape in (s for s in shapes if s.body == body):
            points, radius = shape.primitive.core()
            cloud.append(posture.place(body, points) - [0, 0, radius])
        points = np.concatenate(cloud)
        bottom = points[:, 2].min()
        sole = points[points[:, 2] <= bottom + SOLE]
        centre = np.array([*(sole[:, :2].min(0) + sole[:, :2].max(0)) / 2, bottom])
        local = (centre - posture.positions[body]) @ posture.rotations[body]
        found.append(Foot(body, anatomy.body_name(body), local))
    return found


def fall_bodies(anatomy: Anatomy, feet: Sequence[int], shapes: Sequence[Shape]) -> list[int]:
    """Return the base and the heaviest body that no leg contains, as far as they have collision shapes."""
    legs = {i for foot in feet for i in anatomy.path(foot)}
    trunk = [b for b in anatomy.bodies if not legs & set(anatomy.path(b))]
    heaviest = max(trunk, key=lambda b: anatomy.model.body_mass[b])
    touching = {shape.body for shape in shapes}
    return [b for b in dict.fromkeys((anatomy.base, heaviest)) if b in touching]
