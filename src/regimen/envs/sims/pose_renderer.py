"""Pictures of one robot in a pose, on its floor or on uneven ground, drawn by MuJoCo's renderer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regimen.envs.sims.ground_window import GroundWindow
from regimen.envs.sims.render import Renderer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mujoco
    import numpy as np

    from regimen.envs.robots.robot import Robot
    from regimen.envs.terrain.height_field import HeightField


class PoseRenderer:
    """Draws a robot. The simulator whose robot it is need not be MuJoCo."""

    def __init__(
        self, robot: Robot, model: mujoco.MjModel, size: Sequence[int], ground: HeightField | None = None
    ) -> None:
        """Open an OpenGL context.

        Args:
            robot: names the MJCF.
            model: of the robot, compiled.
            size: width and height of an image in pixels.
            ground: heights that take the place of the floor; None leaves it as it is.
        """
        import mujoco

        self._model, self._data = model, mujoco.MjData(model)
        self._window = None if ground is None else GroundWindow(robot, ground)
        width, height = size
        self._renderer = Renderer(model if self._window is None else self._window.model, width, height)

    def render(self, qpos: np.ndarray) -> np.ndarray:
        """Return an image (H, W, 3) uint8.

        Args:
            qpos: (nq,) in MuJoCo's order: of a floating base position and quaternion w x y z, then the joints in rad.
        """
        import mujoco

        self._data.qpos[:] = qpos
        if self._window is None:
            mujoco.mj_forward(self._model, self._data)
            return self._renderer.render(self._data)
        data = self._window.at(self._data)
        if self._window.moved:
            self._renderer.upload_heights()
            self._window.moved = False
        return self._renderer.render(data)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()
