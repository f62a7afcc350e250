"""A task of Isaac Lab as a `VecEnv`."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.foreign.library_env import LibraryEnv
from regimen.envs.foreign.output import quiet, scalars
from regimen.envs.isaaclab import assets, settings, state, task_cfg
from regimen.envs.isaaclab.config import IsaacLabEnvCfg
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.envs.isaaclab.meaning import io_of
from regimen.envs.vec_env import IOSpec, Obs, StepInfo
from regimen.system.errors import CheckpointError, PreflightError

if TYPE_CHECKING:
    import numpy as np

    from regimen.runs.checkpoint_header import StateDict

__all__ = ["IsaacLabEnv", "IsaacLabEnvCfg"]

LONGEST_S = 0.005
"""Longest step in s of Newton in a task that has no settings for it."""

EYE = (3.0, -3.0, 1.5)
"""Position of the camera relative to the robot of env 0, in m."""


class IsaacLabEnv(LibraryEnv):
    """N copies of a task of Isaac Lab. See `regimen.envs.vec_env.VecEnv` for the meaning of each method.

    The task's managers, or the task itself if it is a direct one, compute observations, rewards and ends, and reset the
    environments that ended. Metrics are the reward terms of the step, labels the terminations, each by its name.
    """

    LIBRARY = ISAAC_LAB

    def __init__(self, cfg: IsaacLabEnvCfg, seed: int, render: bool = False) -> None:
        """Start the simulator and build the task. See `LibraryEnv`.

        Raises:
            PreflightError: files of the task that cannot be reached, or something that is not installed.
        """
        assets.prepare(cfg.assets)
        self._opened = contextlib.ExitStack()
        self._final: dict[str, Any] | None = None
        super().__init__(cfg, seed, render)
        self._labelling = self._events_with("labels")

    def _io(self) -> IOSpec:
        return io_of(self.inner, self.cfg.id)

    def _make_buffers(self) -> None:
        self.inner.reset()
        self.inner.step(torch.zeros(self.num_envs, self.io.num_actions, device=self.device))
        self.kinematics()
        self.inner.common_step_counter = self.inner._sim_step_counter = 0

    def _read_state(self) -> StateDict | None:
        return state.read(self.inner) if self._complete else None

    def _write_state(self, values: StateDict) -> None:
        state.write(self.inner, values)

    @property
    def _complete(self) -> bool:
        """Whether the simulator is Newton, whose state alone is complete."""
        return state.newton_manager(self.inner) is not None

    def _configured(self, seed: int) -> Any:
        """Return the task's configuration with the values of the run."""
        self.task = task_cfg.load_registered(self.cfg.id)
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
            return self._keeping_final_obs(gymnasium.make(self.task, cfg=self.task_cfg).unwrapped)
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

    def _keeping_final_obs(self, inner: Any) -> Any:
        """Keep the observation before a reset where a direct task replaces `extras`, in which Isaac Lab puts it."""
        reset: Any = getattr(inner, "_reset_envs_from_buffer", None)
        if reset is None:
            return inner

        def reset_and_keep() -> Any:
            ids = reset()
            self._final = inner.extras.get("final_obs")
            return ids

        inner._reset_envs_from_buffer = reset_and_keep
        return inner

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, A). See `VecEnv.step`."""
        labels: dict[str, torch.Tensor] = {}  # of the physics that follows: a reset at the end of the step clears them
        for term in self._labelling:
            labels |= term.labels()
        with self.random.own():
            observed, reward, terminated, timed_out, extras = self.inner.step(action.to(self.device))
        obs, terminal = self._obs(observed), terminated.clone()
        truncated = timed_out & ~terminal
        ended = bool((terminal | truncated).any())
        final = self._obs(self._final or extras["final_obs"]) if ended else obs
        log = scalars(extras.get("log", {})) if ended else {}
        info: StepInfo = {"final_obs": final, "log": log, "labels": labels | self._labels(), "metrics": self._metrics()}
        return obs, reward.float().clone(), terminal, truncated, info

    def _events_with(self, method: str) -> list[Any]:
        """Return the functions of the event terms that have a method; those of Regimen are objects."""
        manager: Any = getattr(self.inner, "event_manager", None)
        modes = manager.active_terms if manager is not None else {}
        terms = [manager.get_term_cfg(name).func for names in modes.values() for name in names]
        return [term for term in terms if hasattr(term, method)]

    def stagger(self) -> None:
        """Set the envs, and events with a time of their own, to random times of their episodes."""
        super().stagger()
        for term in self._events_with("stagger"):
            term.stagger()

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
        super().load_state_dict(kept)

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
