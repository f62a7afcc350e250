"""Pictures of the assembly scenes: those of the wrist cameras, with their errors, and the frames of a film."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.envs.assembly.config import CAMERAS
from regimen.envs.assembly.reading import to_quaternion
from regimen.envs.sims.render import Renderer

if TYPE_CHECKING:
    from mujoco.batch import Batch

    from regimen.envs.assembly.config import CameraErrorCfg
    from regimen.runs.checkpoint_header import StateDict

ARM_GROUP = 1
"""Geoms of the arm, which the wrist cameras never see."""


class Pictures:
    """Draws the scenes of a batch, one after the other; OpenGL is opened at the first picture.

    Attributes:
        error: (N, C, 6) displacement in m and rotation vector in rad of each wrist camera from its nominal pose.
    """

    def __init__(self, batch: Batch, cfg: CameraErrorCfg, film_size: tuple[int, int]) -> None:
        """Take the scenes.

        Args:
            batch: N scenes.
            cfg: errors of the cameras.
            film_size: width and height of the third view, in px.
        """
        import mujoco

        self._batch, self._cfg, self._film_size = batch, cfg, film_size
        self._model = copy.copy(batch.model)
        self._data = mujoco.MjData(self._model)
        self._ids = np.array([self._model.camera(name).id for name in CAMERAS])
        self.error = np.zeros((batch.nsim, len(CAMERAS), 6))
        self._renderers: dict[tuple[int, int, str], Renderer] = {}

    def move_cameras(self, ids: np.ndarray, drawn: np.ndarray) -> None:
        """Set the errors of the envs `ids` (n,) by `drawn` (n, C * 6), uniform within ±1."""
        half = [self._cfg.position] * 3 + [self._cfg.rotation] * 3
        self.error[ids] = drawn.reshape(len(ids), len(CAMERAS), 6) * half

    def take(self, cameras: Sequence[str], shape: tuple[int, int], ids: np.ndarray) -> list[np.ndarray]:
        """Return for each of `cameras` the pictures (n, H, W, 3) uint8 of the envs `ids` (n,); `shape` is (H, W)."""
        height, width = shape
        renderer = self._renderer(width, height, cameras[0], (ARM_GROUP,))
        pictures = [np.empty((len(ids), height, width, 3), np.uint8) for _ in cameras]
        for row, env_id in enumerate(ids.tolist()):
            self._show(env_id)
            for stack, picture in zip(pictures, renderer.render_cameras(self._data, cameras), strict=True):
                stack[row] = picture
        return pictures

    def film_frame(self) -> np.ndarray:
        """Return env 0 from the side, with the pictures of the wrist cameras one above the other at its right."""
        width, height = self._film_size
        half = height // 2
        beside = self.take(CAMERAS, (half, half), np.zeros(1, dtype=np.int64))
        side = self._renderer(width, half * 2, "side", ()).render(self._data)
        return np.concatenate((side, np.concatenate([picture[0] for picture in beside])), 1)

    def _renderer(self, width: int, height: int, camera: str, hidden: Sequence[int]) -> Renderer:
        key = (width, height, camera)
        if key not in self._renderers:
            self._renderers[key] = Renderer(self._model, width, height, camera, hidden)
        return self._renderers[key]

    def _show(self, env_id: int) -> None:
        """Put the state and the cameras of an env into the model and data that are drawn."""
        import mujoco

        model, data, nominal, error = self._model, self._data, self._batch.model, self.error[env_id]
        for camera, moved, turned in zip(self._ids, error, to_quaternion(error[:, 3:]), strict=True):
            model.cam_pos[camera] = nominal.cam_pos[camera] + moved[:3]
            mujoco.mju_mulQuat(model.cam_quat[camera], nominal.cam_quat[camera], turned)
        self._batch.get_data(env_id, data)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)

    def state_dict(self) -> StateDict:
        """Return the errors of the cameras."""
        return {"error": torch.from_numpy(self.error.copy())}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.error = state["error"].numpy().copy()

    def close(self) -> None:
        """Free OpenGL."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
