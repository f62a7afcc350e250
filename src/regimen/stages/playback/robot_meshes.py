"""Meshes of a robot by body, read from its MJCF, and the pose of each body in many envs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.envs.robots.model_check import compile_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mujoco
    import trimesh

    from regimen.envs.robots.robot import Robot

HIDDEN_GROUP = 3
"""First group of shapes that MuJoCo's own viewer hides."""


@dataclass(frozen=True)
class BodyMesh:
    """All shapes of one colour that move with one body.

    Attributes:
        name: unique among the meshes of the robot.
        body: row of the body in `BodyPoses`.
        vertices: (V, 3) m, in the frame of the body.
        faces: (F, 3).
        color: red, green and blue, 0 to 255.
        opacity: 0 to 1.
    """

    name: str
    body: int
    vertices: np.ndarray
    faces: np.ndarray
    color: tuple[int, int, int]
    opacity: float


class BodyPoses:
    """Forward kinematics of a robot for the joints and bases of many envs, by MuJoCo on its MJCF.

    It needs the state of the joints alone, so it serves every simulator.

    Attributes:
        names: of the B bodies, the base first.
    """

    def __init__(self, robot: Robot, joints: Sequence[str]) -> None:
        """Compile the model.

        Args:
            robot: of the task.
            joints: names in the order of the columns that `at` receives.

        Raises:
            ConfigError: the model does not match the robot.
        """
        import mujoco

        self.model = compile_model(robot)
        self._data, self._floating = mujoco.MjData(self.model), robot.floating_base
        first = int(self.model.body(robot.base_body).id)
        self._ids = np.arange(first, self.model.nbody)
        self.names = [self.model.body(i).name for i in self._ids]
        self._columns = [int(self.model.joint(name).qposadr[0]) for name in joints]

    def row(self, name: str) -> int:
        """Return the row of a body."""
        return self.names.index(name)

    def at(self, root_pos: np.ndarray, root_quat: np.ndarray, joint_pos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return positions (N, B, 3) m and orientations (N, B, 4), w x y z, of all bodies in the world.

        Args:
            root_pos: (N, 3) m; not read for a fixed base.
            root_quat: (N, 4) w x y z; not read for a fixed base.
            joint_pos: (N, J) rad.
        """
        import mujoco

        count, data = len(joint_pos), self._data
        positions = np.empty((count, len(self._ids), 3), np.float32)
        turns = np.empty((count, len(self._ids), 4), np.float32)
        for i in range(count):
            if self._floating:
                data.qpos[:3], data.qpos[3:7] = root_pos[i], root_quat[i]
            data.qpos[self._columns] = joint_pos[i]
            mujoco.mj_kinematics(self.model, data)
            positions[i], turns[i] = data.xpos[self._ids], data.xquat[self._ids]
        return positions, turns

    def meshes(self) -> list[BodyMesh]:
        """Return the shapes of the bodies, one mesh for each body and colour; none of hidden groups."""
        parts: dict[tuple[int, tuple[float, ...]], list[trimesh.Trimesh]] = {}
        for geom in range(self.model.ngeom):
            body = int(self.model.geom_bodyid[geom])
            if body < self._ids[0] or self.model.geom_group[geom] >= HIDDEN_GROUP:
                continue
            shape = _shape(self.model, geom)
            if shape is not None:
                color = tuple(np.round(_rgba(self.model, geom), 3).tolist())
                parts.setdefault((body - int(self._ids[0]), color), []).append(shape)
        return [
            _joined(f"{self.names[body]}_{i}", body, color, shapes)
            for i, ((body, color), shapes) in enumerate(parts.items())
        ]


def _joined(name: str, body: int, color: tuple[float, ...], shapes: list[trimesh.Trimesh]) -> BodyMesh:
    import trimesh

    mesh: Any = trimesh.util.concatenate(shapes)
    red, green, blue = (round(255 * value) for value in color[:3])
    return BodyMesh(
        name,
        body,
        np.asarray(mesh.vertices, np.float32),
        np.asarray(mesh.faces, np.uint32),
        (red, green, blue),
        color[3],
    )


def _rgba(model: mujoco.MjModel, geom: int) -> np.ndarray:
    material = int(model.geom_matid[geom])
    return np.asarray(model.geom_rgba[geom] if material < 0 else model.mat_rgba[material])


def _shape(model: mujoco.MjModel, geom: int) -> trimesh.Trimesh | None:
    """Return the mesh of a shape in the frame of its body; None of planes and height fields, which do not move."""
    import mujoco
    import trimesh

    size, kind = model.geom_size[geom], mujoco.mjtGeom(int(model.geom_type[geom]))
    kinds = mujoco.mjtGeom
    if kind == kinds.mjGEOM_BOX:
        shape = trimesh.creation.box(extents=2 * size)
    elif kind == kinds.mjGEOM_SPHERE:
        shape = trimesh.creation.icosphere(subdivisions=2, radius=size[0])
    elif kind == kinds.mjGEOM_ELLIPSOID:
        shape = trimesh.creation.icosphere(subdivisions=2, radius=1.0)
        shape.apply_scale(size)
    elif kind == kinds.mjGEOM_CAPSULE:
        shape = trimesh.creation.capsule(height=2 * size[1], radius=size[0], count=[12, 12])
        shape.apply_translation([0.0, 0.0, -shape.bounds.mean(axis=0)[2]])
    elif kind == kinds.mjGEOM_CYLINDER:
        shape = trimesh.creation.cylinder(radius=size[0], height=2 * size[1], sections=24)
    elif kind == kinds.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
        start, faces = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
        shape = trimesh.Trimesh(
            model.mesh_vert[first : first + count], model.mesh_face[start : start + faces], process=False
        )
    else:
        return None
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    place = np.eye(4)
    place[:3, :3], place[:3, 3] = turn.reshape(3, 3), model.geom_pos[geom]
    return shape.apply_transform(place)
