"""A task of Isaac Lab as a `VecEnv`."""

from __future__ import annotations

import contextlib
import math
import os
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.foreign.held_terms import HeldTerms
from regimen.envs.foreign.output import quiet
from regimen.envs.foreign.output import scalars as _floats
from regimen.envs.foreign.output import vectors as _obs
from regimen.envs.foreign.random_state import RandomState
from regimen.envs.isaaclab import assets, settings, state, task_cfg
from regimen.envs.isaaclab.config import IsaacLabEnvCfg
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.envs.isaaclab.meaning import io_of
from regimen.envs.vec_env import Obs, StepInfo
from regimen.system.errors import CheckpointError, ConfigError, PreflightError

if TYPE_CHECKING:
    import numpy as np

    from regimen.config.schema import Config
    from regimen.runs.checkpoint_header import StateDict

__all__ = ["IsaacLabEnv", "IsaacLabEnvCfg"]

KERNELS = "WARP_CACHE_PATH"
"""Environment variable with the folder of compiled kernels."""

LONGEST_S = 0.005
"""Longest step in s of Newton in a task that has no settings for it."""

EYE = (3.0, -3.0, 1.5)
"""Position of the camera relative to the robot of env 0, in m."""


class IsaacLabEnv(HeldTerms):
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
        os.environ.setdefault(KERNELS, str(ISAAC_LAB.cache.expanduser() / "warp"))
        self.device = torch.device("cuda:0" if cfg.device == "cuda" else cfg.device)
        with quiet():
            self.task = task_cfg.load_registered(cfg.id)
            self.task_cfg = self._configured(seed)
        self.random = RandomState(self.device)
        self._opened = contextlib.ExitStack()
        with self.random.own(), quiet():
            self.inner = self._open()
        self._final: dict[str, Any] | None = None
        self._keep_final_observation()
        self.step_dt = float(self.inner.step_dt)
        self.max_episode_length = int(self.inner.max_episode_length)
        try:
            self.io = io_of(self.inner, cfg.id)
        except ConfigError:
            self.close()
            raise
        self._held: dict[str, torch.Tensor] = {}
        self._held_events: dict[str, dict[str, torch.Tensor]] = {}
        self._complete = state.newton_manager(self.inner) is not None
        self._make_buffers()
        self._labelling = self._events_with("labels")
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

    def _keep_final_observation(self) -> None:
        """Keep the observation before a reset where a direct task replaces `extras`, in which Isaac Lab puts it."""
        reset: Any = getattr(self.inner, "_reset_envs_from_buffer", None)
        if reset is None:
            return

        def reset_and_keep() -> Any:
            ids = reset()
            self._final = self.inner.extras.get("final_obs")
            return ids

        self.inner._reset_envs_from_buffer = reset_and_keep

    def _configured(self, seed: int) -> Any:
        """Return the task's configuration with the values of the run."""
        cfg = task_cfg.load_cfg(self.cfg.id, self.cfg.presets)
        settings.apply(cfg, self.cfg.isaac)
        if self.cfg.physics is not None:
            cfg.sim.physics = _physics(self.cfg.physics, float(cfg.sim.dt))
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
            _share_host_memory()
            return gymnasium.make(self.task, cfg=self.task_cfg).unwrapped
        except FileNotFoundError as error:
            self._opened.close()
            where = assets.root_of(self.cfg.assets) or "NVIDIA's server"
            raise PreflightError(
                f"{self.cfg.id} needs a file that cannot be read from {where}: {error}. Name a folder with Isaac Sim's "
                f"assets: env.assets=<folder> or {assets.ROOT}=<folder>."
            ) from error
        except SystemExit as error:  # how the launcher refuses a part that is not installed
            self._opened.close()
            raise PreflightError(f"Isaac Lab cannot start {self.cfg.id}; its reason is printed above.") from error
        except BaseException:
            self._opened.close()
            raise

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs; with a seed, from the state in which they were opened: it always gives the same start.

        Isaac Lab's own reset leaves efforts of the last step, the solver's warm start and a curriculum as they are.
        """
        if seed is not None and self._opened_state is not None:
            state.write(self.inner, self._opened_state)
            self.hold_events_again()
        with self.random.own():
            observed, _ = self.inner.reset(seed=seed)
        return _obs(observed)

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, A). See `VecEnv.step`."""
        labels: dict[str, torch.Tensor] = {}  # of the physics that follows: a reset at the end of the step clears them
        for term in self._labelling:
            labels |= term.labels()
        with self.random.own():
            observed, reward, terminated, timed_out, extras = self.inner.step(action.to(self.device))
        obs, terminal = _obs(observed), terminated.clone()
        truncated = timed_out & ~terminal
        ended = bool((terminal | truncated).any())
        final = _obs(self._final or extras["final_obs"]) if ended else obs
        log = _floats(extras.get("log", {})) if ended else {}
        info: StepInfo = {"final_obs": final, "log": log, "labels": labels | self._labels(), "metrics": self._metrics()}
        return obs, reward.float().clone(), terminal, truncated, info

    def _metrics(self) -> dict[str, torch.Tensor]:
        """Return the reward terms of the last step, per second and weighted, name -> (N,)."""
        manager = getattr(self.inner, "reward_manager", None)
        if manager is None:
            return {}
        rows = manager._step_reward.float().T.clone()
        return dict(zip(manager.active_terms, rows, strict=True))

    def _events_with(self, method: str) -> list[Any]:
        """Return the functions of the event terms that have a method; those of Regimen are objects."""
        manager: Any = getattr(self.inner, "event_manager", None)
        modes = manager.active_terms if manager is not None else {}
        terms = [manager.get_term_cfg(name).func for names in modes.values() for name in names]
        return [term for term in terms if hasattr(term, method)]

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
        for term in self._events_with("stagger"):
            term.stagger()

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


def _physics(name: str, dt: float) -> Any:
    """Return general settings of one of `PHYSICS` for a task that has none for it.

    Newton takes the integrator that Isaac Lab's own tasks take for it, in which stiff actuators are stable, and steps
    of at most 5 ms.
    """
    if name == "newton_mjwarp":
        from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg

        substeps = math.ceil(dt / LONGEST_S - 1e-6)
        return NewtonCfg(solver_cfg=MJWarpSolverCfg(integrator="implicitfast"), num_substeps=substeps)
    if name == "ovphysx":
        from isaaclab_ov.physics import OvPhysxCfg

        return OvPhysxCfg()
    from isaaclab_physx.physics import PhysxCfg

    return PhysxCfg()


def _share_host_memory() -> None:
    """Let OVPhysX take plain memory on a machine without CUDA: pinned memory needs a driver. Not exercised in CI."""
    import warp

    warp.init()
    cpu = warp.get_device("cpu")
    if not warp.is_cuda_available():
        cpu.pinned_allocator = cpu.default_allocator


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
    import torch._dynamo  # noqa: F401  Triton's LLVM, which an optimiser imports, crashes if that of Mesa was first

    try:
        import pyglet  # noqa: F401
        from isaaclab_visualizers.newton import NewtonGLVisualizerCfg
    except ImportError as error:
        raise PreflightError(f"pictures need Newton's OpenGL viewer: {error}. Leave video=true away.") from error
    return NewtonGLVisualizerCfg(headless=True, window_width=size[0], window_height=size[1])
