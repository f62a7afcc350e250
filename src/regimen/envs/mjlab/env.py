"""A task of mjlab as a `VecEnv`."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.foreign import settings
from regimen.envs.foreign.held_terms import HeldTerms
from regimen.envs.foreign.output import quiet, scalars, vectors
from regimen.envs.foreign.random_state import RandomState
from regimen.envs.mjlab import state, task_cfg
from regimen.envs.mjlab.config import MjlabEnvCfg
from regimen.envs.mjlab.groups import renamed
from regimen.envs.mjlab.library import MJLAB
from regimen.envs.mjlab.meaning import io_of
from regimen.envs.vec_env import Obs, StepInfo
from regimen.system.errors import ConfigError, PreflightError

if TYPE_CHECKING:
    import numpy as np

    from regimen.config.schema import Config
    from regimen.runs.checkpoint_header import StateDict

__all__ = ["MjlabEnv", "MjlabEnvCfg"]

KERNELS = "WARP_CACHE_PATH"
"""Environment variable with the folder of compiled kernels."""

ENDS = "Episode_Termination/"
"""Beginning of the names under which mjlab counts the ends of episodes."""


class MjlabEnv(HeldTerms):
    """N copies of a task of mjlab. See `regimen.envs.vec_env.VecEnv` for the meaning of each method.

    The task's managers compute observations, rewards and ends. mjlab is opened with `auto_reset=False`: its step then
    returns the observation at the end of an episode, and the envs that ended are reset after it, as mjlab's
    documentation says. What the task draws comes from generators of the environment's own. Metrics are the reward
    terms of the step, labels the terminations, each by its name. The observation group `actor` is named `policy`.
    """

    def __init__(self, cfg: MjlabEnvCfg, seed: int, render: bool = False) -> None:
        """Start the simulator and build the task.

        Args:
            cfg: the task.
            seed: of everything random.
            render: whether `render` will be called.

        Raises:
            ConfigError: a setting that does not fit, or a task whose observations are no vectors.
            PreflightError: `render` without an OpenGL library.
        """
        self.cfg, self.num_envs, self.drawn = cfg, cfg.num_envs, render
        os.environ.setdefault(KERNELS, str(MJLAB.cache.expanduser() / "warp"))
        if render:
            _open_contexts_offscreen()
        self.device = torch.device("cuda:0" if cfg.device == "cuda" else cfg.device)
        with quiet():
            self.task_cfg = self._configured(seed)
        self.random = RandomState(self.device)
        with self.random.own(), quiet():
            self.inner = self._open()
        self.step_dt = float(self.inner.step_dt)
        self.max_episode_length = int(self.inner.max_episode_length)
        try:
            self.io = io_of(self.inner, cfg.id)
        except ConfigError:
            self.close()
            raise
        self._held: dict[str, torch.Tensor] = {}
        self._held_events: dict[str, dict[str, torch.Tensor]] = {}
        self._make_buffers()
        self._opened_state = state.read(self.inner)

    @classmethod
    def open(cls, config: Config) -> MjlabEnv:
        """Open the task of a run, and write the episode length into `config`, where the stages read it."""
        env = cls(config.env, config.seed, config.video)
        config.env.episode_length_s = env.max_episode_length * env.step_dt
        return env

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

    def _make_buffers(self) -> None:
        """Step once between two resets: terms make some buffers at their first use, which a state has to find."""
        with self.random.own(), quiet():
            self.inner.reset()
            self.inner.step(torch.zeros(self.num_envs, self.io.num_actions, device=self.device))
            self.inner.common_step_counter = self.inner._sim_step_counter = 0
            self.inner.reset()

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs; with a seed, from the state in which they were opened: it always gives the same start.

        mjlab's own reset leaves a curriculum and the generators of a term as they are.
        """
        if seed is not None:
            state.write(self.inner, self._opened_state)
            self.hold_events_again()
        with self.random.own(), quiet():
            observed, _ = self.inner.reset(seed=seed)
        return _obs(observed)

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, A). See `VecEnv.step`."""
        with self.random.own():
            observed, reward, terminated, timed_out, extras = self.inner.step(action.to(self.device))
            obs, reward, terminal = _obs(observed), reward.float().clone(), terminated.clone()
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
        new = _obs(observed)
        mask = ended[:, None]
        return {name: torch.where(mask, new[name], rows) for name, rows in obs.items()}, found | counts

    def _metrics(self) -> dict[str, torch.Tensor]:
        """Return the reward terms of the last step, per second and weighted, name -> (N,)."""
        manager = self.inner.reward_manager
        return dict(zip(manager.active_terms, manager._step_reward.float().T.clone(), strict=True))

    def _labels(self) -> dict[str, torch.Tensor]:
        """Return what ended an episode in the last step, name -> (N,) bool."""
        manager = self.inner.termination_manager
        return {name: manager.get_term(name).clone() for name in manager.active_terms}

    def stagger(self) -> None:
        """Set the envs to random times of their episodes, so that they do not all time out in the same step."""
        with self.random.own():
            drawn = torch.randint(self.max_episode_length, (self.num_envs,), device=self.device)
        self.inner.episode_length_buf[:] = drawn

    def state_dict(self) -> StateDict:
        """Return the full state."""
        return {"random": self.random.state_dict(), "values": state.read(self.inner)}

    def load_state_dict(self, kept: StateDict) -> None:
        """Restore `state_dict`.

        Raises:
            CheckpointError: it is the state of another task.
        """
        self.random.load_state_dict(kept["random"])
        state.write(self.inner, kept["values"])

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


def _obs(observed: dict[str, Any]) -> Obs:
    """Return group -> (N, d) float32, by Regimen's names of the groups."""
    return {renamed(name, observed): rows for name, rows in vectors(observed).items()}
