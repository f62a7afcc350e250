"""The whole import: from the settings of a user to an `ImportedRobot`."""

from __future__ import annotations

import numpy as np

from regimen.envs.robots.importing.anatomy import Anatomy, Posture, read_anatomy
from regimen.envs.robots.importing.feet import fall_bodies, find_feet, soles
from regimen.envs.robots.importing.figures import joint_figures
from regimen.envs.robots.importing.mirror import find_mirror
from regimen.envs.robots.importing.pose import default_pose, spawn_height, zero_pose
from regimen.envs.robots.importing.refusals import compile_simulated, drop
from regimen.envs.robots.importing.result import ImportedRobot
from regimen.envs.robots.importing.settings import ImportSettings
from regimen.envs.robots.importing.shapes import VisualMesh, collision_shapes, visual_meshes
from regimen.envs.robots.importing.source import open_source
from regimen.system.errors import ConfigError, raise_if_any

MOST_FACES = 500_000
"""Triangles of all visual meshes together; beyond it they are left away, because pictures become slow."""


MOST_FACES_OF_ONE = 200_000
"""Triangles that MuJoCo reads of one STL file."""


def import_robot(settings: ImportSettings) -> ImportedRobot:
    """Read a robot from a file; nothing is written.

    Raises:
        ConfigError: the file cannot be read or simulated, or a setting does not fit it; all problems are named.
    """
    source = open_source(settings)
    drop(source, settings.drop)
    anatomy = read_anatomy(source, compile_simulated(source, settings), settings)
    raise_if_any(settings.pattern_problems(anatomy.names))
    zero = Posture(anatomy, zero_pose(anatomy))
    shapes, note = collision_shapes(anatomy, zero)
    if anatomy.floating and not shapes:
        raise ConfigError("The file has no shape that could touch the ground, and the robot floats.")
    feet = find_feet(anatomy, shapes, zero, settings)
    shapes, _ = collision_shapes(anatomy, zero, feet, settings.foot_boxes)
    angles, pose_source = default_pose(anatomy, soles(anatomy, feet, shapes, zero), source.keyframes, settings)
    _require_within(anatomy, angles)
    pose = Posture(anatomy, angles)
    height = spawn_height(shapes, pose) if anatomy.floating else 0.0
    found = soles(anatomy, feet, shapes, pose)
    figures = joint_figures(anatomy, pose, feet, height, source.speeds, settings)
    mirror, mirror_source = find_mirror(anatomy, [foot.name for foot in found], zero)
    visuals, left_away = _visuals(anatomy, settings.meshes)
    notes = [*source.notes, *anatomy.notes, *([note] if note else []), *left_away]
    if anatomy.unlimited:
        notes.append(f"range: assumed: ± 2π, because the file has none: {', '.join(anatomy.unlimited)}")
    return ImportedRobot(
        name=settings.name,
        file_name=settings.file.name,
        kind=source.kind,
        anatomy=anatomy,
        figures=figures,
        pose=[float(angle) for angle in angles],
        pose_source=pose_source,
        shapes=shapes,
        visuals=visuals,
        feet=found,
        tip=None if found else _tip(anatomy, pose),
        fall_bodies=[anatomy.body_name(b) for b in fall_bodies(anatomy, feet, shapes)] if found else [],
        mirror=mirror if found else None,
        mirror_source=mirror_source,
        spawn_height=height,
        notes=notes,
    )


def _require_within(anatomy: Anatomy, angles: np.ndarray) -> None:
    """Raise if an angle of the default pose is outside of its range; only --pose and a keyframe lead there."""
    units = ["m" if anatomy.is_slide(i) else "rad" for i in range(len(anatomy.names))]
    raise_if_any(
        [
            f"joint {name}: the default pose {angle:g} {unit} is outside its range {low:g} to {high:g}. Type --pose "
            f"{name}=<{unit}>"
            for name, unit, angle, (low, high) in zip(anatomy.names, units, angles, anatomy.ranges, strict=True)
            if not low <= angle <= high
        ]
    )


def _visuals(anatomy: Anatomy, wanted: bool) -> tuple[list[VisualMesh], list[str]]:
    """Return the visual meshes, none if they are not wanted or too large, and a note on that."""
    all_meshes = visual_meshes(anatomy)
    found = [visual for visual in all_meshes if len(visual.faces) <= MOST_FACES_OF_ONE]
    large = [visual.name for visual in all_meshes if len(visual.faces) > MOST_FACES_OF_ONE]
    faces = sum(len(visual.faces) for visual in found)
    if not wanted:
        return [], ["visual meshes left away by --no-meshes"]
    if faces > MOST_FACES:
        return [], [f"visual meshes left away: {faces} triangles, more than {MOST_FACES}"]
    return found, [
        f"visual meshes of more than {MOST_FACES_OF_ONE} triangles left away: {', '.join(large)}"
    ] if large else []


def _tip(anatomy: Anatomy, pose: Posture) -> tuple[int, np.ndarray]:
    """Return the body at the end of the longest chain of joints, and the point that is its tip.

    It is a site of that body in the file, the last one, or its centre of mass.
    """
    body = max(anatomy.bodies, key=lambda b: (len(anatomy.path(b)), b))
    if not anatomy.path(body):
        raise ConfigError("The robot has no joint below its base.")
    sites = np.flatnonzero(anatomy.model.site_bodyid == body)
    point = anatomy.model.site_pos[sites[-1]] if len(sites) else anatomy.model.body_ipos[body]
    return body, np.array(point, float)
