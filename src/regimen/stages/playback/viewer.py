"""MuJoCo's own window on env 0, to look at from all sides while the policy acts."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.envs.sims.mujoco import MujocoWorld
from regimen.stages.playback.observer import RolloutObserver
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import VecEnv

CLOSING_S = 10.0
"""How long the window's thread may take to end: a process that ends before it crashes in the driver."""


class Viewer(RolloutObserver):
    """Shows env 0 after each step, until somebody closes the window; the evaluation goes on all the same."""

    def __init__(self, env: VecEnv) -> None:
        """Take the env.

        Raises:
            ConfigError: it is not simulated by MuJoCo.
        """
        task: Any = getattr(env, "env", env)
        world = getattr(task, "world", None)
        if not isinstance(world, MujocoWorld):
            raise ConfigError("stage.viewer=true shows what sim=mujoco simulates. For a film of it: video=true.")
        self._base = world.model.body(task.robot.base_body).id
        self._world, self._threads = world, set[threading.Thread]()
        self._viewer: Any = None
        self._data: Any = None

    def __enter__(self) -> Viewer:
        import mujoco
        import mujoco.viewer

        self._data = mujoco.MjData(self._world.model)
        self._copy()
        there = set(threading.enumerate())
        self._viewer = mujoco.viewer.launch_passive(
            self._world.model, self._data, show_left_ui=False, show_right_ui=False
        )
        self._threads = set(threading.enumerate()) - there
        camera = self._viewer.cam  # goes along with the robot; the mouse turns it
        camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, self._base
        return self

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Show the new state."""
        if self._viewer.is_running():
            with self._viewer.lock():
                self._copy()
            self._viewer.sync()

    def _copy(self) -> None:
        """Put the state of env 0 into what the window draws."""
        import mujoco

        now = self._world.batch.get_data(0)
        for name in ("qpos", "qvel", "ctrl"):
            np.copyto(getattr(self._data, name), getattr(now, name))
        self._data.time = now.time
        mujoco.mj_forward(self._world.model, self._data)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the window."""
        if self._viewer is not None:
            self._viewer.close()
        for thread in self._threads:
            thread.join(CLOSING_S)
