"""The part of a height field around one robot, for pictures: the whole ground has millions of triangles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.robots.model_check import compile_model
from regimen.envs.terrain.height_field import HeightField

if TYPE_CHECKING:
    import mujoco

    from regimen.envs.robots.robot import Robot

SIDE_M, MARGIN_M = 24.0, 6.0
"""Side length of the part, and how far from its middle a robot walks before the part moves."""


class GroundWindow:
    """A model of the robot on a part of the ground, which follows the robot.

    Attributes:
        model: what is drawn.
        moved: whether the heights of the model have changed since the caller last set this to False.
    """

    def __init__(self, robot: Robot, ground: HeightField) -> None:
        """Compile the model.

        Args:
            robot: names the MJCF.
            ground: the whole ground.
        """
        import mujoco

        self._ground = HeightField(ground.heights.cpu(), ground.cell, ground.start)
        self.model = compile_model(robot, ground=self._ground.window(ground.start, SIDE_M))
        self._low, high = float(ground.heights.min()), float(ground.heights.max())
        self._range = max(high - self._low, 1e-3)
        self._geom = int(np.flatnonzero(self.model.geom_type == mujoco.mjtGeom.mjGEOM_HFIELD)[0])
        self.model.hfield_size[0, 2] = self._range
        self._data = mujoco.MjData(self.model)
        self._middle = np.full(2, np.inf)
        self.moved = False

    def at(self, data: mujoco.MjData) -> mujoco.MjData:
        """Return a state of `model` with the positions of another model of the same robot, kinematics up to date."""
        import mujoco

        place = np.nan_to_num(data.qpos[:2])
        if np.abs(place - self._middle).max() > MARGIN_M:
            self._move(place)
        self._data.qpos[:] = data.qpos
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_comPos(self.model, self._data)
        mujoco.mj_camlight(self.model, self._data)
        return self._data

    def _move(self, place: np.ndarray) -> None:
        part = self._ground.window(place.tolist(), SIDE_M)
        self.model.hfield_data[:] = ((part.heights.numpy().T - self._low) / self._range).ravel()
        middle = [(start + end) / 2 for start, end in zip(part.start, part.end, strict=True)]
        self.model.geom_pos[self._geom] = [*middle, self._low]
        self._middle = place
        self.moved = True
