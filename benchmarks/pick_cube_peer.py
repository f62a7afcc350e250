"""Pick-cube of gym-hil as a task of Gymnasium that `task=gym` opens: `env.id=pick_cube_peer:PickCube-v0`.

gym-hil 0.1.14 is not part of this repository. It declares an older MuJoCo and packages for gamepads that this task
never imports: `pip install --no-deps --target DIR gym-hil==0.1.14`, and DIR on PYTHONPATH. Changed from outside:

* its controller reads `MjData.qM`, which MuJoCo 4 does not have;
* each scene makes a renderer, 160 MB with its meshes: here when it is drawn first;
* `reset(seed=)` is ignored: the cube is drawn from numpy's global generator, which is seeded here;
* positions in the observation are in dm, the hand's from a point above the table and the cube's from the hand (as
  HIL-SERL observes poses: relative), the gripper's command is 1 when it is closed.

Actions are those of its own wrapper: 2.5 cm along x, y and z, and the gripper.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import gym_hil.mujoco_gym_env
import gymnasium
import mujoco
import numpy as np
from gym_hil.envs import PandaPickCubeGymEnv
from gym_hil.wrappers.hil_wrappers import DEFAULT_EE_STEP_SIZE, EEActionWrapper

MIDDLE = np.array([0.4, 0.0, 0.1], np.float32)
"""Point from which the position of the hand is measured, in m."""

GRIPPER, HAND = 14, slice(15, 18)
"""Columns of `agent_pos`: 7 joint angles, 7 velocities, the command of the gripper, the place of the hand."""

CLOSED = gym_hil.mujoco_gym_env.MAX_GRIPPER_COMMAND


class _Data:
    """Simulator data with the attribute that the controller passes on to `mj_fullM`."""

    def __init__(self, data: Any) -> None:
        self.data = self.qM = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)


def _mend_controller() -> None:
    """Let the controller of gym-hil run on MuJoCo 4."""
    module, own = sys.modules["gym_hil.controllers.opspace"], gym_hil.mujoco_gym_env.opspace
    module.mujoco = SimpleNamespace(
        mj_jacSite=lambda model, data, *rest: mujoco.mj_jacSite(model, data.data, *rest),
        mj_fullM=lambda model, full, data: mujoco.mj_fullM(model, data, full),
    )
    gym_hil.mujoco_gym_env.opspace = lambda data, **rest: own(data=_Data(data), **rest)


class _LazyRenderer:
    """A renderer that is made for the first picture; the scene draws one before it is set up, which nobody sees."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        self._make = lambda: mujoco.Renderer(model, height=height, width=width)
        self._made: mujoco.Renderer | None = None

    def update_scene(self, data: mujoco.MjData, camera: int) -> None:
        """Take what is to be drawn."""
        self._made = self._made or self._make()
        self._made.update_scene(data, camera=camera)

    def render(self) -> np.ndarray | None:
        """Return the picture."""
        return self._made.render() if self._made is not None else None

    def close(self) -> None:
        """Free the renderer."""
        if self._made is not None:
            self._made.close()


class PickCube(gymnasium.Wrapper):
    """The task, with seeds that count and observations of order 1."""

    def __init__(self, render_mode: str = "rgb_array") -> None:
        """Open the scene."""
        size = gym_hil.mujoco_gym_env.GymRenderingSpec(height=240, width=320)
        inner = PandaPickCubeGymEnv(random_block_position=True, render_mode=render_mode, render_spec=size)
        super().__init__(EEActionWrapper(inner, DEFAULT_EE_STEP_SIZE, use_gripper=True))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        if seed is not None:
            np.random.seed(seed)
        obs, info = self.env.reset(seed=seed)
        return self._scaled(obs), info

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the scene; the info has `succeed`."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._scaled(obs), reward, terminated, truncated, info

    def render(self) -> np.ndarray:
        """Return the picture of the front camera."""
        return self.env.render()[0]

    @staticmethod
    def _scaled(obs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        robot, hand = obs["agent_pos"].copy(), obs["agent_pos"][HAND]
        robot[HAND], robot[GRIPPER] = 10 * (hand - MIDDLE), robot[GRIPPER] / CLOSED
        return {"agent_pos": robot, "environment_state": 10 * (obs["environment_state"] - hand)}


_mend_controller()
gym_hil.mujoco_gym_env.mujoco = SimpleNamespace(**{**vars(mujoco), "Renderer": _LazyRenderer})
gymnasium.register("PickCube-v0", PickCube, max_episode_steps=100)
