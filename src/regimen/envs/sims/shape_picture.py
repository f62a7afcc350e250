"""A picture of the collision shapes of a robot over its meshes, from the front and from the side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.robots.robot import Robot
from regimen.envs.sims.render import Renderer

if TYPE_CHECKING:
    import mujoco

SHAPE = (0.10, 0.55, 0.25, 0.45)
"""Colour of a collision shape, through which the mesh below is seen."""

SIZE = (560, 640)
"""Width and height of each of the two images in px."""

VIEWS = {"side": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)), "front": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0))}
"""Name of a camera -> what is right in its image, and the direction from the robot to it; up is up."""

DISTANCE = 1.1
"""Of a camera from the middle of the robot, in diagonals of the robot."""


def draw_shapes(robot: Robot, path: Path) -> None:
    """Write the picture of a robot in its default pose.

    Args:
        robot: names the MJCF.
        path: PNG file.

    Raises:
        PreflightError: this machine cannot render.
    """
    import mujoco
    from PIL import Image

    spec = mujoco.MjSpec.from_file(os.fspath(robot.mjcf))
    for geom in spec.geoms:
        if geom.conaffinity and geom.type != mujoco.mjtGeom.mjGEOM_PLANE:
            geom.group, geom.rgba = 2, SHAPE
    for name in VIEWS:
        spec.worldbody.add_camera(name=name)
    model = spec.compile()
    data = mujoco.MjData(model)
    for name, angle in zip(robot.joints, robot.default_joint_pos, strict=True):
        data.joint(name).qpos[0] = angle
    mujoco.mj_forward(model, data)
    low, high = _extent(model, data)
    for name, (right, back) in VIEWS.items():
        camera = model.camera(name)
        axes = np.stack([right, np.cross(back, right), back], axis=1)
        mujoco.mju_mat2Quat(camera.quat, axes.ravel())
        camera.pos[:] = (low + high) / 2 + DISTANCE * np.linalg.norm(high - low) * np.array(back)
    mujoco.mj_forward(model, data)
    with Renderer(model, *SIZE, camera=None) as renderer:
        images = renderer.render_cameras(data, list(VIEWS))
    Image.fromarray(np.concatenate(images, axis=1)).save(path)


def _extent(model: mujoco.MjModel, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners (3,) m of a box around the robot."""
    robot = model.geom_bodyid > 0
    centres, radii = data.geom_xpos[robot], model.geom_rbound[robot, None]
    return (centres - radii).min(0), (centres + radii).max(0)
