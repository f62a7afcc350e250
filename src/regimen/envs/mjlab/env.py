"""A task of mjlab as a `VecEnv`."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.foreign import settings
from regimen.envs.foreign.library_env import LibraryEnv
from regimen.envs.foreign.output import quiet, scalars, vectors
from regimen.envs.mjlab import state, task_cfg
from regimen.envs.mjlab.config import MjlabEnvCfg
from regimen.envs.mjlab.groups import renamed
from regimen.envs.mjlab.library import MJLAB
from regimen.envs.mjlab.meaning import io_of
from regimen.envs.vec_env import IOSpec, Obs, StepInfo
from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    import numpy as np

    from regimen.runs.checkpoint_header import StateDict

__all__ = ["MjlabEnv", "MjlabEnvCfg"]

ENDS = "Episode_Termination/"
"""Beginning of the names under which mjlab counts the ends of episodes."""


class MjlabEnv(LibraryEnv):
    """N copies of a task of mjlab. See `regimen.envs.vec_env.VecEnv` for the meaning of each method.

    The task's managers compute observations, rewards and ends. mjlab is opened with `auto_reset=False`: its step then
    returns the observation at the end of an episode, and the envs that ended are reset after it, as mjlab's
    documentation says. Metrics are the reward terms of the step, labels the terminations, each by its name. The
    observation group `actor` is named `policy`.
    """

    LIBRARY = MJLAB

    def __init__(self, cfg: MjlabEnvCfg, seed: int, render: bool = False) -> None:
        """Start the simulator and build the task. See `LibraryEnv`.

        Raises:
            PreflightError: `render` without an OpenGL library.
        """
        if render:
            _open_contexts_offscreen()
        super().__init__(cfg, seed, render)

    def _configured(self, seed: int) -> Any:
        """Return the task's configuration with the values of the run."""
        cfg = task_cfg.load_cfg(self.cfg.id)
        settings.apply(cfg, self.cfg.mjlab, f"env.{MJLAB.settings}")
        cfg.scene.num_envs, cfg.seed, cfg.auto_reset = self.num_envs, seed, False
        cfg.viewer.width, cfg.viewer.height = self.cfg.render_size
        if self.cfg.episode_length_s is not None:
            cfg.episode_length_s = self.cfg.episode_length_s
        if not self.cfg.observation_noise:
            for group in (group for group in cfg.observations.values() if group is not None):
                group.enable_corruption = False
        return cfg

    def _open(self) -> Any:
        from mjlab.envs import ManagerBasedRlEnv

        return ManagerBasedRlEnv(
            self.task_cfg, device=str(self.device), render_mode="rgb_array" if self.drawn else None
        )

    def _io(self) -> IOSpec:
        return io_of(self.inner, self.cfg.id)

    def _make_buffers(self) -> None:
        self.inner.reset()
        self.inner.step(torch.zeros(self.num_envs, self.io.num_actions, device=self.device))
        self.inner.common_step_counter = self.inner._sim_step_counter = 0
        self.inner.reset()

    def _read_state(self) -> StateDict:
        return state.read(self.inner)

    def _write_state(self, values: StateDict) -> None:
        state.write(self.inner, values)

    def _obs(self, observed: dict[str, Any]) -> Obs:
        return {renamed(name, observed): rows for name, rows in vectors(observed).items()}

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, A). See `VecEnv.step`."""
        with self.random.own():
            observed, reward, terminated, timed_out, extras = self.inner.step(action.to(self.device))
            obs, reward, terminal = self._obs(observed), reward.float().clone(), terminated.clone()
            ended = terminal | timed_out
            if self.inner.cfg.is_finite_horizon:  # the time limit belongs to the task: there is no value after it
                terminal = ended
            info: StepInfo = {"final_obs": obs, "log": {}, "labels": self._labels(), "metrics": self._metrics()}
            if bool(ended.any()):
                obs, info["log"] = self._begin(ended, obs, dict(extras["log"]))
        return obs, reward, terminal, ended & ~terminal, info

    def _begin(self, ended: torch.Tensor, obs: Obs, log: dict[str, Any]) -> tuple[Obs, dict[str, float]]:
        """Reset the envs that ended, (N,) bool; return the observations with theirs replaced, and the log.

        Args:
            ended: whose episode ended.
            obs: the observations of the step.
            log: what the terms logged in the step.
        """
        ids = ended.nonzero().flatten()
        terms = [self.inner.command_manager.get_term(name) for name in self.inner.command_manager.active_terms]
        kept = [(term.metrics, name, rows.clone()) for term in terms for name, rows in term.metrics.items()]
        self.inner.recorder_manager.record_pre_reset(ids)
        observed, extras = self.inner.reset(env_ids=ids)
        for metrics, name, rows in kept:  # a reset of some envs adds this step to the metrics of all a second time
            metrics[name][~ended] = rows[~ended]
        found = scalars(log | extras["log"])
        counts = {name: value / len(ids) for name, value in found.items() if name.startswith(ENDS)}
        new = self._obs(observed)
        mask = ended[:, None]
        return {name: torch.where(mask, new[name], rows) for name, rows in obs.items()}, found | counts

    def kinematics(self) -> dict[str, torch.Tensor]:
        """Return positions and velocities of the joints and roots of all entities, name -> (N, ...)."""
        found = {}
        for name, entity in self.inner.scene.entities.items():
            kinds = ["joint_pos", "joint_vel"] if entity.is_articulated else []
            kinds += [] if entity.is_fixed_base else ["root_link_pose_w", "root_link_vel_w"]
            for kind in kinds:
                found[f"{name}/{kind}"] = getattr(entity.data, kind).clone()
        return found

    def render(self) -> np.ndarray:
        """Return an image of the scene, (H, W, 3) uint8.

        Raises:
            PreflightError: the environment was opened without pictures.
        """
        if not self.drawn:
            raise PreflightError(f"{self.cfg.id} was opened without pictures: type video=true.")
        picture: np.ndarray = self.inner.render()
        return picture

    def close(self) -> None:
        """End the simulator."""
        with quiet():
            self.inner.close()


def _open_contexts_offscreen() -> None:
    """Let MuJoCo draw without a display. It chooses a library when it is imported, which a worker does early.

    Raises:
        PreflightError: no OpenGL library works.
    """
    from regimen.envs.sims.render import pick_backend

    os.environ["MUJOCO_GL"] = pick_backend()
    from mujoco.rendering.classic import gl_context

    gl_context.GLContext = importlib.import_module(f"mujoco.{os.environ['MUJOCO_GL']}").GLContext
