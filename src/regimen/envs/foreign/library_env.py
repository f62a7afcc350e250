"""An environment built by the managers of a library, as a `VecEnv`: what every library has in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from regimen.envs.foreign.held_terms import HeldTerms
from regimen.envs.foreign.library import Library
from regimen.envs.foreign.output import quiet, vectors
from regimen.envs.foreign.random_state import RandomState
from regimen.envs.vec_env import IOSpec, Obs
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.checkpoint_header import StateDict

KERNELS = "WARP_CACHE_PATH"
"""Environment variable with the folder of compiled kernels."""


class LibraryEnv(HeldTerms, ABC):
    """Base of N copies of a task of a library. A library adds `step`, `kinematics`, `render` and the methods below.

    What the task draws comes from random generators of the environment's own.

    Attributes:
        LIBRARY: whose task it is.
        inner: the library's own environment, open.
    """

    LIBRARY: ClassVar[Library]

    def __init__(self, cfg: Any, seed: int, render: bool = False) -> None:
        """Start the simulator and build the task.

        Args:
            cfg: the task, a `LibraryTaskCfg`.
            seed: of everything random.
            render: whether `render` will be called.

        Raises:
            ConfigError: a setting that does not fit, or a task whose observations are no vectors.
            PreflightError: something that the task needs and this machine does not have.
        """
        self.cfg, self.num_envs, self.drawn = cfg, cfg.num_envs, render
        os.environ.setdefault(KERNELS, str(self.LIBRARY.cache.expanduser() / "warp"))
        self.device = torch.device("cuda:0" if cfg.device == "cuda" else cfg.device)
        with quiet():
            self.task_cfg = self._configured(seed)
        self.random = RandomState(self.device)
        with self.random.own(), quiet():
            self.inner = self._open()
        self.step_dt = float(self.inner.step_dt)
        self.max_episode_length = int(self.inner.max_episode_length)
        try:
            self.io = self._io()
        except ConfigError:
            self.close()
            raise
        self._held: dict[str, torch.Tensor] = {}
        self._held_events: dict[str, dict[str, torch.Tensor]] = {}
        with self.random.own(), quiet():
            self._make_buffers()
        self._opened_state = self._read_state()

    @classmethod
    def open(cls, config: Config) -> Self:
        """Open the task of a run, and write the episode length into `config`, where the stages read it."""
        env = cls(config.env, config.seed, config.video)
        config.env.episode_length_s = env.max_episode_length * env.step_dt
        return env

    @abstractmethod
    def _configured(self, seed: int) -> Any:
        """Return the task's configuration with the values of the run."""

    @abstractmethod
    def _open(self) -> Any:
        """Return the library's environment for `task_cfg`."""

    @abstractmethod
    def _io(self) -> IOSpec:
        """Return the names of the observations and actions of `inner`."""

    @abstractmethod
    def _make_buffers(self) -> None:
        """Reset and step once: terms make some buffers at their first use, which a state has to find."""

    @abstractmethod
    def _read_state(self) -> StateDict | None:
        """Return path -> value of all that `inner` holds; None where that is not complete."""

    @abstractmethod
    def _write_state(self, values: StateDict) -> None:
        """Restore `_read_state` in place.

        Raises:
            CheckpointError: it is the state of another task.
        """

    @abstractmethod
    def close(self) -> None:
        """End the simulator."""

    def _obs(self, observed: dict[str, Any]) -> Obs:
        """Return group -> (N, d) float32 of what the library observed."""
        return vectors(observed)

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs; with a seed, from the state in which they were opened: it always gives the same start.

        A library's own reset leaves parts of the state as they are: the solver's, a curriculum, generators of a term.
        """
        if seed is not None and self._opened_state is not None:
            self._write_state(self._opened_state)
            self.hold_events_again()
        with self.random.own(), quiet():
            observed, _ = self.inner.reset(seed=seed)
        return self._obs(observed)

    def _metrics(self) -> dict[str, torch.Tensor]:
        """Return the reward terms of the last step, per second and weighted, name -> (N,); none without managers."""
        manager = getattr(self.inner, "reward_manager", None)
        if manager is None:
            return {}
        return dict(zip(manager.active_terms, manager._step_reward.float().T.clone(), strict=True))

    def _labels(self) -> dict[str, torch.Tensor]:
        """Return what ended an episode in the last step, name -> (N,) bool; none without managers."""
        manager = getattr(self.inner, "termination_manager", None)
        if manager is None:
            return {}
        return {name: manager.get_term(name).clone() for name in manager.active_terms}

    def stagger(self) -> None:
        """Set the envs to random times of their episodes, so that they do not all time out in the same step."""
        with self.random.own():
            drawn = torch.randint(self.max_episode_length, (self.num_envs,), device=self.device)
        self.inner.episode_length_buf[:] = drawn

    def state_dict(self) -> StateDict:
        """Return the full state; `values` is None where it is not complete."""
        return {"random": self.random.state_dict(), "values": self._read_state()}

    def load_state_dict(self, kept: StateDict) -> None:
        """Restore `state_dict`.

        Raises:
            CheckpointError: it is the state of another task.
        """
        self.random.load_state_dict(kept["random"])
        self._write_state(kept["values"])
