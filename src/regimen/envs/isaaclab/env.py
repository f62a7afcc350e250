"""A task of Isaac Lab as a `VecEnv`."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.isaaclab import assets, settings, state, task_cfg
from regimen.envs.isaaclab.catalogue import CACHE
from regimen.envs.isaaclab.config import IsaacLabEnvCfg
from regimen.envs.isaaclab.meaning import io_of
from regimen.envs.isaaclab.quiet import quiet
from regimen.envs.isaaclab.random_state import RandomState
from regimen.envs.vec_env import Obs, StepInfo
from regimen.system.errors import CheckpointError, ConfigError, PreflightError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

    from regimen.config.schema import Config
    from regimen.runs.checkpoint_header import StateDict

__all__ = ["IsaacLabEnv", "IsaacLabEnvCfg"]

KERNELS = "WARP_CACHE_PATH"
"""Environment variable with the folder of compiled kernels."""

EYE = (3.0, -3.0, 1.5)
"""Position of the camera relative to the robot of env 0, in m."""


class IsaacLabEnv:
    """N copies of a task of Isaac Lab. See `regimen.envs.vec_env.VecEnv` for the meaning of each method.

    The task's managers, or the task itself if it is a direct one, compute observations, rewards and ends, and reset the
    environments that ended. What they draw comes from generators of the environment's own. Metrics are the reward terms
    of the step, labels the terminations, each by its name.
    """

    def __init__(self, cfg: IsaacLabEnvCfg, seed: int, render: bool = False) -> None:
        """Start the simulator and build the task.

        Args:
            cfg: the task.
            seed: of everything random.
            render: whether `render` will be called.

        Raises:
            ConfigError: a setting that does not fit, or a task whose observations are no vectors.
            PreflightError: files of the task that cannot be reached, or something that is not installed.
        """
        self.cfg, self.num_envs, self.drawn = cfg, cfg.num_envs, render
        assets.prepare(cfg.assets)
        os.environ.setdefault(KERNELS, str(CACHE.expanduser() / "warp"))
        self.device = torch.device("cuda:0" if cfg.device == "cuda" else cfg.device)
        with quiet():
            self.task = task_cfg.load_registered(cfg.id)
            self.task_cfg = self._configured(seed)
        self.random = RandomState(self.device)
        self._opened = contextlib.ExitStack()
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
        self._complete = state.newton_manager(self.inner) is not None
        self._make_buffers()
        self._opened_state = state.read(self.inner) if self._complete else None

    @classmethod
    def open(cls, config: Config) -> IsaacLabEnv:
        """Open the task of a run, and write the episode length into `config`, where the stages read it."""
        env = cls(config.env, config.seed, config.video)
        config.env.episode_length_s = env.max_episode_length * env.step_dt
        return env

    def _make_buffers(self) -> None:
        """Reset and step once: assets make many buffers at their first use, which a state has to find."""
        with self.random.own(), quiet():
            self.inner.reset()
            self.inner.step(torch.zeros(self.num_envs, self.io.num_actions, device=self.device))
        self.kinematics()
        self.inner.common_step_counter = self.inner._sim_step_counter = 0

    def _configured(self, seed: int) -> Any:
        """Return the task's configuration with the values of the run."""
        cfg = task_cfg.load_cfg(self.cfg.id, self.cfg.presets)
        settings.apply(cfg, self.cfg.isaac)
        cfg.scene.num_envs, cfg.seed, cfg.sim.device = self.num_envs, seed, str(self.device)
        cfg.compute_final_obs = True
        if self.cfg.episode_length_s is not None:
            cfg.episode_length_s = self.cfg.episode_length_s
        if not self.cfg.observation_noise:
            _remove_noise(cfg)
        if self.drawn:
            cfg.sim.visualizer_cfgs = [_visualizer(self.cfg.render_size)]
        return cfg

    def _open(self) -> Any:
        import gymnasium
        from isaaclab.app import launch_simulation

        try:
            self._opened.enter_context(launch_simulation(self.task_cfg, {"device": str(self.device)}))
            return gymnasium.make(self.task, cfg=self.task_cfg).unwrapped
        except FileNotFoundError as error:
            self._opened.close()
            where = assets.root_of(self.cfg.assets) or "NVIDIA's server"
            raise PreflightError(
                f"{self.cfg.id} needs a file that cannot be read from {where}: {error}. Name a folder with Isaac Sim's "
                f"assets: env.assets=<folder> or {assets.ROOT}=<folder>."
            ) from error
        except BaseException:
            self._opened.close()
            raise

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs; with a seed, from the state in which they were opened: it always gives the same start.

        Isaac Lab's own reset leaves efforts of the last step, the solver's warm start and a curriculum as they are.
        """
        if seed is not None and self._opened_state is not None:
            state.write(self.inner, self._opened_state)
        with self.random.own():
            observed, _ = self.inner.reset(seed=seed)
        return _obs(observed)

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, A). See `VecEnv.step`."""
        with self.random.own():
            observed, reward, terminated, timed_out, extras = self.inner.step(action.to(self.device))
        obs, terminal = _obs(observed), terminated.clone()
        truncated = timed_out & ~terminal
        ended = bool((terminal | truncated).any())
        final = _obs(extras["final_obs"]) if ended else obs
        log = _floats(extras.get("log", {})) if ended else {}
        info: StepInfo = {"final_obs": final, "log": log, "labels": self._labels(), "metrics": self._metrics()}
        return obs, reward.float().clone(), terminal, truncated, info

    def _metrics(self) -> dict[str, torch.Tensor]:
        """Return the reward terms of the last step, per second and weighted, name -> (N,)."""
        manager = getattr(self.inner, "reward_manager", None)
        if manager is None:
            return {}
        rows = manager._step_reward.float().T.clone()
        return dict(zip(manager.active_terms, rows, strict=True))

    def _labels(self) -> dict[str, torch.Tensor]:
        """Return what ended an episode in the last step, name -> (N,) bool."""
        manager = getattr(self.inner, "termination_manager", None)
        if manager is None:
            return {}
        rows = manager._term_dones.T.clone()
        return dict(zip(manager.active_terms, rows, strict=True))

    def stagger(self) -> None:
        """Set the envs to random times of their episodes, so that they do not all time out in the same step."""
        with self.random.own():
            drawn = torch.randint(self.max_episode_length, (self.num_envs,), device=self.device)
        self.inner.episode_length_buf[:] = drawn

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Hold a command at `values` (N, k): whatever the task draws is replaced by them.

        Raises:
            ConfigError: there is no such command, it is computed at each reading, or has another width.
        """
        manager: Any = getattr(self.inner, "command_manager", None)
        names = manager.active_terms if manager is not None else []
        if name not in names:
            raise ConfigError(f"{self.cfg.id} has no command `{name}`. {did_you_mean(name, names)}")
        term = manager.get_term(name)
        command = term.command
        if term.command.data_ptr() != command.data_ptr() or tuple(values.shape) != tuple(command.shape):
            raise ConfigError(
                f"command `{name}` of {self.cfg.id} cannot be held at values of shape {tuple(values.shape)}: it has "
                f"{tuple(command.shape)}, and must be stored by its term."
            )
        if name not in self._held:
            for method in ("_update_command", "_resample_command"):
                setattr(term, method, self._then_hold(getattr(term, method), term, name))
        self._held[name] = values.to(self.device, term.command.dtype).clone()
        term.command.copy_(self._held[name])

    def _then_hold(self, method: Any, term: Any, name: str) -> Any:
        def call(*arguments: Any) -> None:
            method(*arguments)
            term.command.copy_(self._held[name])

        return call

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Hold an event at values (N,) each, from the next reset on: its class has a method `fix` that takes them.

        Raises:
            ConfigError: there is no such event, or it cannot be held.
        """
        manager: Any = getattr(self.inner, "event_manager", None)
        modes = manager.active_terms if manager is not None else {}
        names = [term for terms in modes.values() for term in terms]
        if name not in names:
            raise ConfigError(f"{self.cfg.id} has no event `{name}`. {did_you_mean(name, names)}")
        term = manager.get_term_cfg(name).func
        if not hasattr(term, "fix"):
            raise ConfigError(
                f"event `{name}` of {self.cfg.id} cannot be held: its function has no method `fix`, which a "
                "`ManagerTermBase` of yours may have."
            )
        term.fix(**values)

    def state_dict(self) -> StateDict:
        """Return the full state; `values` is None where the simulator is not Newton, whose state alone is complete."""
        kept = state.read(self.inner) if self._complete else None
        return {"random": self.random.state_dict(), "values": kept}

    def restores(self, state: StateDict) -> bool:
        """Return whether `load_state_dict` can restore a state."""
        return state["values"] is not None and self._complete

    def restart(self, state: StateDict) -> Obs:
        """Begin new episodes at random times, with the generators of a state; return the observations."""
        self.random.load_state_dict(state["random"])
        obs = self.reset()
        self.stagger()
        return obs

    def load_state_dict(self, kept: StateDict) -> None:
        """Restore `state_dict`.

        Raises:
            CheckpointError: the simulator's state cannot be restored, or is that of another task.
        """
        if not self.restores(kept):
            raise CheckpointError(f"{self.cfg.id} cannot be restored: only Newton's state is complete.")
        self.random.load_state_dict(kept["random"])
        state.write(self.inner, kept["values"])

    def kinematics(self) -> dict[str, torch.Tensor]:
        """Return positions and velocities of the joints and roots of all robots, name -> (N, ...)."""
        found = {}
        for name, robot in self.inner.scene.articulations.items():
            for kind in ("joint_pos", "joint_vel", "root_pos_w", "root_quat_w"):
                found[f"{name}/{kind}"] = getattr(robot.data, kind).torch.clone()
        return found

    def render(self) -> np.ndarray:
        """Return an image of env 0, (H, W, 3) uint8.

        Raises:
            PreflightError: the environment was opened without pictures, or there is no renderer.
        """
        visualizers = getattr(self.inner.sim, "visualizers", ())
        if not self.drawn or not visualizers:
            raise PreflightError(
                f"{self.cfg.id} cannot be drawn: no picture is possible on this machine without Newton's OpenGL viewer "
                "(pyglet, libegl1). Leave video=true away."
            )
        if robots := list(self.inner.scene.articulations.values()):
            x, y, z = (float(v) for v in robots[0].data.root_pos_w.torch[0])
            visualizers[0].set_camera_view((x + EYE[0], y + EYE[1], z + EYE[2]), (x, y, z))
        if not self.inner.sim.is_rendering:
            self.inner.sim.forward()
        picture: np.ndarray = visualizers[0].render_rgb_array()
        return picture

    def close(self) -> None:
        """End the simulator."""
        with quiet():
            self.inner.close()
            self._opened.close()


def _obs(observed: dict[str, Any]) -> Obs:
    """Return group -> (N, d) float32, the terms of a group that is not concatenated one after the other."""
    return {
        name: (torch.cat(list(group.values()), dim=1) if isinstance(group, dict) else group).float()
        for name, group in observed.items()
    }


def _floats(log: dict[str, Any]) -> dict[str, float]:
    """Return the scalars of a log, read from the device at once."""
    names = [name for name, value in log.items() if isinstance(value, torch.Tensor) and value.numel() == 1]
    read = torch.stack([log[name].detach().float().reshape(()) for name in names]).tolist() if names else []
    plain = {name: float(value) for name, value in log.items() if isinstance(value, int | float)}
    return plain | dict(zip(names, read, strict=True))


def _remove_noise(cfg: Any) -> None:
    for group in vars(cfg.observations).values() if hasattr(cfg, "observations") else ():
        if hasattr(group, "enable_corruption"):
            group.enable_corruption = False
    if hasattr(cfg, "observation_noise_model"):
        cfg.observation_noise_model = None


def _visualizer(size: tuple[int, int]) -> Any:
    """Return the configuration of Newton's viewer without a window.

    Raises:
        PreflightError: it is not installed.
    """
    try:
        import pyglet  # noqa: F401
        from isaaclab_visualizers.newton import NewtonGLVisualizerCfg
    except ImportError as error:
        raise PreflightError(f"pictures need Newton's OpenGL viewer: {error}. Leave video=true away.") from error
    return NewtonGLVisualizerCfg(headless=True, window_width=size[0], window_height=size[1])
