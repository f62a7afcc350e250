"""An imported robot: all that is written into its folder and its report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from regimen.envs.robots.importing.anatomy import Anatomy
from regimen.envs.robots.importing.feet import Foot
from regimen.envs.robots.importing.figures import JointFigures
from regimen.envs.robots.importing.shapes import Shape, VisualMesh
from regimen.envs.robots.robot import Mirror


@dataclass(frozen=True)
class ImportedRobot:
    """An imported robot.

    Attributes:
        name: of the robot.
        file_name: file that was read.
        kind: `MJCF` or `URDF`.
        anatomy: tree of the file.
        figures: of each joint.
        pose: default angles in rad.
        pose_source: where they come from.
        shapes: collision shapes.
        visuals: meshes for pictures.
        feet: with their soles.
        tip: body and point (3,) m of the end of an arm; None for a robot with feet.
        fall_bodies: names.
        mirror: left and right.
        mirror_source: what was found of it.
        spawn_height: m.
        notes: what was changed, assumed or left away.
    """

    name: str
    file_name: str
    kind: str
    anatomy: Anatomy
    figures: list[JointFigures]
    pose: list[float]
    pose_source: str
    shapes: list[Shape]
    visuals: list[VisualMesh]
    feet: list[Foot]
    tip: tuple[int, np.ndarray] | None
    fall_bodies: list[str]
    mirror: Mirror | None
    mirror_source: str
    spawn_height: float
    notes: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Name of the base."""
        return self.anatomy.body_name(self.anatomy.base)

    @property
    def floating(self) -> bool:
        """Whether the base floats."""
        return self.anatomy.floating

    @property
    def total_mass(self) -> float:
        """Mass in kg of the base and all below it."""
        return round(float(self.anatomy.model.body_mass[self.anatomy.bodies].sum()), 6)

    @property
    def legs(self) -> list[int]:
        """Positions of the joints between the base and a foot."""
        return sorted({i for foot in self.feet for i in self.anatomy.path(foot.body)})
