"""Collision shapes of a robot: primitives of the file, and primitives fitted to its meshes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.robots.importing.anatomy import Anatomy, Posture
from regimen.envs.robots.importing.primitives import Primitive, hull_corners, hull_volume, smallest, turned

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mujoco


@dataclass(frozen=True)
class Shape:
    """A collision shape of a body.

    Attributes:
        body: id in the model of the file.
        primitive: in the frame of the body.
        source: `file`, or the mesh or shapes that it replaces.
        excess: volume over that of the convex hull of what it replaces, less 1; None for a shape of the file.
        overhang: m by which it reaches lower than what it replaces, upright; None for a shape of the file.
    """

    body: int
    primitive: Primitive
    source: str
    excess: float | None = None
    overhang: float | None = None


@dataclass(frozen=True)
class VisualMesh:
    """A mesh for pictures.

    Attributes:
        body: id in the model of the file.
        name: of the mesh.
        points: (k, 3) m in the frame of the body.
        faces: (f, 3) rows of `points`.
        colour: red, green, blue, opacity.
    """

    body: int
    name: str
    points: np.ndarray
    faces: np.ndarray
    colour: tuple[float, ...]


def collision_shapes(
    anatomy: Anatomy, upright: Posture, feet: Sequence[int] = (), foot_boxes: bool = False
) -> tuple[list[Shape], str]:
    """Return the shapes of all bodies, and a note if visual geometry has to serve.

    A colliding mesh is replaced by the primitive of the least volume around it. In a file in which nothing collides,
    what is visible collides.

    Args:
        anatomy: of the robot.
        upright: its kinematics, in which soles are level.
        feet: bodies whose meshes become shapes that are level.
        foot_boxes: whether all shapes of a foot become one box.
    """
    model = anatomy.model
    colliding = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    own = np.isin(model.geom_bodyid, anatomy.bodies)
    note = ""
    if not (colliding & own).any():
        colliding, note = np.ones_like(colliding), "nothing collides in the file: shapes are those of what is visible"
    found = [
        shape
        for body in anatomy.bodies
        for g in np.flatnonzero(colliding & (model.geom_bodyid == body))
        if (shape := _shape(anatomy, int(g), upright, level=body in feet)) is not None
    ]
    for body in feet if foot_boxes else ():
        if parts := [shape for shape in found if shape.body == body]:
            found = [shape for shape in found if shape.body != body] + [_one_box(parts, upright)]
    return found, note


def _shape(anatomy: Anatomy, geom: int, upright: Posture, level: bool) -> Shape | None:
    """Return the collision shape for a geom, None for one that is neither a primitive nor a mesh."""
    import mujoco

    model, kinds = anatomy.model, mujoco.mjtGeom
    body, kind = int(model.geom_bodyid[geom]), model.geom_type[geom]
    sizes = {
        int(kinds.mjGEOM_SPHERE): ("sphere", 1),
        int(kinds.mjGEOM_CAPSULE): ("capsule", 2),
        int(kinds.mjGEOM_CYLINDER): ("cylinder", 2),
        int(kinds.mjGEOM_BOX): ("box", 3),
        int(kinds.mjGEOM_ELLIPSOID): ("ellipsoid", 3),
    }
    axes = _matrix(model.geom_quat[geom])
    if int(kind) in sizes:
        name, count = sizes[int(kind)]
        size = tuple(float(x) for x in model.geom_size[geom, :count])
        return Shape(body, Primitive(name, size, model.geom_pos[geom].copy(), axes), "file")
    if kind != kinds.mjGEOM_MESH:
        return None
    points, _ = mesh_of(model, geom)
    level_frames = turned(upright.rotations[body].T, axes=(2,))
    frames = level_frames if level else [*turned(axes), np.eye(3), *level_frames]
    fitted = smallest(hull_corners(points), frames)
    return _replacing(body, fitted, points, f"mesh {model.mesh(model.geom_dataid[geom]).name}", upright)


def _one_box(parts: Sequence[Shape], upright: Posture) -> Shape:
    """Return a level box around the shapes of one body."""
    body = parts[0].body
    cloud = np.concatenate([_widened(*part.primitive.core()) for part in parts])
    box = smallest(hull_corners(cloud), turned(upright.rotations[body].T, axes=(2,)), kinds=("box",))
    return _replacing(body, box, cloud, f"{len(parts)} shapes", upright)


def _widened(points: np.ndarray, radius: float) -> np.ndarray:
    """Return points (k, 3) of the surface of spheres of `radius` around `points`."""
    if radius == 0:
        return points
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    tilt = np.linspace(-np.pi / 2, np.pi / 2, 13)
    sphere = np.stack(
        [np.outer(np.cos(tilt), np.cos(turn)), np.outer(np.cos(tilt), np.sin(turn)), np.outer(np.sin(tilt), turn**0)],
        axis=-1,
    ).reshape(-1, 3)
    return (points[:, None] + radius * sphere).reshape(-1, 3)


def _replacing(body: int, primitive: Primitive, points: np.ndarray, source: str, upright: Posture) -> Shape:
    volume = hull_volume(points)
    lowest = upright.place(body, points)[:, 2].min()
    excess = primitive.volume / volume - 1 if volume > 0 else float("inf")
    return Shape(body, primitive, source, excess, float(lowest - lowest_point(primitive, body, upright)))


def lowest_point(primitive: Primitive, body: int, posture: Posture) -> float:
    """Return the height of the lowest point of a shape of a body, m above the origin of spawning."""
    points, radius = primitive.core()
    return float(posture.place(body, points)[:, 2].min() - radius)


def mesh_of(model: mujoco.MjModel, geom: int) -> tuple[np.ndarray, np.ndarray]:
    """Return vertices (k, 3) of a mesh geom in the frame of its body, and faces (f, 3)."""
    mesh = int(model.geom_dataid[geom])
    start, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    first, faces = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    points = model.mesh_vert[start : start + count] @ _matrix(model.geom_quat[geom]).T + model.geom_pos[geom]
    return points.astype(np.float64), model.mesh_face[first : first + faces].copy()


def visual_meshes(anatomy: Anatomy) -> list[VisualMesh]:
    """Return the meshes that are visible: those that do not collide, or all in a body that has no other."""
    import mujoco

    model = anatomy.model
    meshes = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    passive = (model.geom_contype == 0) & (model.geom_conaffinity == 0)
    found = []
    for body in anatomy.bodies:
        here = meshes & (model.geom_bodyid == body)
        for g in np.flatnonzero(here & passive if (here & passive).any() else here):
            material = int(model.geom_matid[g])
            colour = model.geom_rgba[g] if material < 0 else model.mat_rgba[material]
            name = model.mesh(int(model.geom_dataid[g])).name or f"mesh_{int(model.geom_dataid[g])}"
            found.append(VisualMesh(body, name, *mesh_of(model, int(g)), tuple(float(c) for c in colour)))
    return found


def _matrix(quat: np.ndarray) -> np.ndarray:
    import mujoco

    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quat, np.float64))
    return matrix.reshape(3, 3)
