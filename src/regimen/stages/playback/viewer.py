"""MuJoCo viewer of env 0 during a rollout."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.envs.sims.mujoco import MujocoWorld
from regimen.envs.vec_env import task_below
from regimen.stages.playback.rollout import RolloutObserver
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import VecEnv

CLOSING_S = 10.0
"""Time limit for the viewer's thread to end, in s; a process that exits earlier crashes in the driver."""


class Viewer(RolloutObserver):
    """Show env 0 after each step; the rollout continues when the window is closed."""

    def __init__(self, env: VecEnv) -> None:
        """Prepare the viewer; the window opens when the context is entered.

        Raises:
            ConfigError: the env is not simulated by MuJoCo.
        """
        task = task_below(env)
        world = getattr(task, "world", None)
        world = getattr(world, "sim", world)  # behind actuators
        if not isinstance(world, MujocoWorld):
            raise ConfigError("stage.viewer=true needs sim=mujoco. For a video: video=true.")
        self._base = world.model.body(task.robot.base_body).id
        self._world, self._threads = world, set[threading.Thread]()
        self._viewer: Any = None
        self._data: Any = None

    def __enter__(self) -> Viewer:
        import mujoco
        import mujoco.viewer

        self._data = mujoco.MjData(self._world.model)
        self._copy()
        before = set(threading.enumerate())
        self._viewer = mujoco.viewer.launch_passive(
            self._world.model, self._data, show_left_ui=False, show_right_ui=False
        )
        self._threads = set(threading.enumerate()) - before
        camera = self._viewer.cam  # tracks the robot; the mouse rotates it
        camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, self._base
        return self

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Show the state after the step."""
        if self.is_running():
            self.show()

    def is_running(self) -> bool:
        """Return whether the window is open."""
        return bool(self._viewer.is_running())

    def show(self) -> None:
        """Show the present state of env 0."""
        with self._viewer.lock():
            self._copy()
        self._viewer.sync()

    def _copy(self) -> None:
        """Copy the state of env 0 into the data of the viewer."""
        import mujoco

        source = self._world.batch.get_data(0)
        for name in ("qpos", "qvel", "ctrl"):
            np.copyto(getattr(self._data, name), getattr(source, name))
        self._data.time = source.time
        mujoco.mj_forward(self._world.model, self._data)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the window."""
        if self._viewer is not None:
            self._viewer.close()
        for thread in self._threads:
            thread.join(CLOSING_S)
