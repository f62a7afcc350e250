"""A `VecEnv` whose simulator is behind a server: the same calls, the same tensors, bit for bit."""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from regimen.config.structured import to_plain
from regimen.envs.remote.config import RemoteEnvCfg, greeting
from regimen.envs.symmetry import Symmetry
from regimen.envs.vec_env import IOSpec
from regimen.system import wire
from regimen.system.errors import RegimenError
from regimen.system.message_client import BusyError, MessageClient, ServerError

if TYPE_CHECKING:
    import numpy as np

    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, StepInfo
    from regimen.runs.checkpoint_header import StateDict

HEARTBEATS = 4
"""Number within the time of a lease."""

CLOSE_S = 2.0
"""Time that the end of a client gives to a server that does not answer."""

BUSY_PAUSE_S = 0.5


class RemoteEnv:
    """N envs in another process. See `regimen.envs.vec_env.VecEnv` for the meaning of each method.

    It has those of the optional methods of a `VecEnv` that the served env has. Each call raises `ServerError` within
    `sim.timeout_s` and `sim.reconnect_s` if the server does not answer; a connection that is lost for a shorter time is
    renewed.

    Attributes:
        discrete_actions, symmetry, curriculum: see `VecEnv`; as the served env has them.
        phases: names of the values of the label `phase`; None for a task without phases.
    """

    def __init__(self, cfg: RemoteEnvCfg, task: str | None, env: dict[str, Any], seed: int, video: bool) -> None:
        """Take envs at the server.

        Args:
            cfg: the server.
            task: option of the group `task`.
            env: plain section `env`.
            seed: of the envs.
            video: whether `render` will be called.

        Raises:
            ConfigError: the server has another version or task, or values that only it may set.
            ServerError: it cannot be reached, or all its envs are taken.
        """
        self._cfg, self._session, self._number = cfg, secrets.token_hex(8), -1
        self._client: MessageClient = cfg.connect()
        self._ended = threading.Event()
        self._last_state: tuple[StateDict, bool] | None = None
        who = f"{socket.gethostname()}:{os.getpid()}"
        wanted = {**greeting(task), "client": who, "env": env, "seed": seed, "video": video, "dt": float(cfg.dt)}
        opened = self._open(wanted)
        self.num_envs, self.device = int(opened["num_envs"]), torch.device("cpu")
        self.step_dt: float = opened["step_dt"]
        self.max_episode_length: int = opened["max_episode_length"]
        self.episode_length_s: float | None = opened["episode_length_s"]
        self.io = IOSpec.from_dict(opened["io"])
        self.discrete_actions: bool = opened["discrete_actions"]
        self.phases: list[str] | None = opened["phases"]
        images = opened["symmetry"]
        self.symmetry = None if images is None else Symmetry(images["observations"], images["action"])
        self.curriculum = RemoteCurriculum(self) if opened["curriculum"] else None
        for name in opened["offers"]:
            setattr(self, name, getattr(self, f"_{name}"))
        atexit.register(self.close)
        beat = threading.Thread(
            target=self._beat, args=(opened["lease_s"] / HEARTBEATS,), name="heartbeat", daemon=True
        )
        beat.start()

    @classmethod
    def open(cls, config: Config) -> RemoteEnv:
        """Take envs for a run, and write the episode length into `config`, where the stages read it."""
        env = cls(config.sim, config.choices.get("task"), to_plain(config.env), config.seed, config.video)
        if env.episode_length_s is not None and hasattr(config.env, "episode_length_s"):
            config.env.episode_length_s = env.episode_length_s
        return env

    def _open(self, wanted: wire.Message) -> wire.Message:
        """Take envs, waiting for some to be free for `reconnect_s`: those of a run that was killed are so soon."""
        end = time.monotonic() + self._cfg.reconnect_s
        while True:
            self._number = -1
            try:
                return self._call("open", **wanted)
            except BusyError:
                if time.monotonic() + BUSY_PAUSE_S > end:
                    self._client.close()
                    raise
                time.sleep(BUSY_PAUSE_S)
            except RegimenError:
                self._client.close()
                raise

    def _call(self, call: str, /, **values: Any) -> wire.Message:
        if self._ended.is_set():
            raise ServerError(f"{self._cfg.url}: this env was closed.")
        self._number += 1
        return self._client.post(f"env/{call}", {**values, "session": self._session, "id": self._number})

    def _beat(self, pause_s: float) -> None:
        """Send heartbeats, so that an update of any length costs no lease."""
        client = self._cfg.connect(pause_s, pause_s)
        while not self._ended.wait(pause_s):
            with suppress(RegimenError):  # the next call says what is wrong
                client.post("env/heartbeat", {"session": self._session, "id": 0})
        client.close()

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs. See `VecEnv.reset`."""
        return self._obs(self._call("reset", seed=seed), "obs")

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, A). See `VecEnv.step`."""
        answer = self._call("step", action=action)
        obs, n = self._obs(answer, "obs"), (self.num_envs,)
        reward = wire.require(answer, "reward", "float32", n)
        terminated, truncated = (wire.require(answer, name, "bool", n) for name in ("terminated", "truncated"))
        final = obs if answer.get("final_obs") is None else self._obs(answer, "final_obs")
        log, labels, metrics = (wire.require_plain(answer, name, dict) for name in ("log", "labels", "metrics"))
        info: StepInfo = {"final_obs": final, "log": log, "labels": labels, "metrics": metrics}
        if "ends" in answer:
            info["ends"] = wire.require_plain(answer, "ends", dict)
        if "ended_ids" in answer:
            info["ended_ids"] = wire.require(answer, "ended_ids", "int64", (None,))
        return obs, reward, terminated, truncated, info

    def _obs(self, answer: wire.Message, name: str) -> Obs:
        """Return received observations, checked against `io`."""
        obs = wire.require_plain(answer, name, dict)
        if obs.keys() != self.io.observations.keys() | self.io.images.keys():
            raise wire.WireError(f"`{name}` has the groups {sorted(obs)}, not those of `io`.")
        for group in self.io.observations:
            wire.require(obs, group, "float32", (self.num_envs, self.io.size(group)))
        for group, size in self.io.images.items():
            wire.require(obs, group, "uint8", (self.num_envs, *size))
        return obs

    def stagger(self) -> None:
        """Set the envs to random times of their episodes."""
        self._call("stagger")

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Hold command `name` at `values` (N, k)."""
        self._call("fix_command", name=name, values=values)

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Hold event `name` at the given values, each (N,), from the next reset on."""
        self._call("fix_event", name=name, values=values)

    def state_dict(self) -> StateDict:
        """Return the full state of the served env."""
        answer = self._call("state_dict")
        state: StateDict = answer["state"]
        self._last_state = state, bool(answer["restores"])
        return state

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`, or that of the same env without a server."""
        self._call("load_state_dict", state=state)

    def render(self) -> np.ndarray:
        """Return an image of env 0, (H, W, 3) uint8."""
        picture: np.ndarray = wire.require(self._call("render"), "picture", "uint8", (None, None, 3))
        return picture

    def close(self) -> None:
        """Give the envs back; without effect if the server is gone."""
        if self._ended.is_set():
            return
        self._client.hurry(CLOSE_S)
        with suppress(RegimenError):
            self._call("close")
        self._ended.set()
        self._client.close()
        atexit.unregister(self.close)

    def _restores(self, state: StateDict) -> bool:
        if self._last_state is not None and self._last_state[0] is state:  # it need not be sent there and back
            return self._last_state[1]
        return bool(self._call("restores", state=state)["restores"])

    def _restart(self, state: StateDict) -> Obs:
        return self._obs(self._call("restart", state=state), "obs")

    def _optimal_action(self) -> torch.Tensor:
        action = self._call("tensor", name="optimal_action")
        tensor: torch.Tensor = wire.require(action, "value", "float32", (self.num_envs, self.io.num_actions))
        return tensor

    def _distance_to_goal(self) -> torch.Tensor:
        tensor: torch.Tensor = wire.require(self._call("tensor", name="distance_to_goal"), "value", "float32", (None,))
        return tensor

    def _failing(self) -> torch.Tensor:
        tensor: torch.Tensor = wire.require(self._call("tensor", name="failing"), "value", "bool", (None,))
        return tensor

    def _scripted_expert(self, noise: float, seed: int) -> RemoteExpert:
        number = self._call("scripted_expert", noise=float(noise), seed=seed)["expert"]
        return RemoteExpert(self, wire.require_plain({"expert": number}, "expert", int))


class RemoteExpert:
    """A scripted expert at the server; see `regimen.envs.vec_env.ScriptedExpert`."""

    def __init__(self, env: RemoteEnv, number: int) -> None:
        """Refer to the expert `number` of `env`."""
        self._env, self._number = env, number

    def act(self) -> torch.Tensor:
        """Return the actions (N, A) for the present state of the env."""
        answer = self._env._call("expert_act", expert=self._number)
        shape = (self._env.num_envs, self._env.io.num_actions)
        action: torch.Tensor = wire.require(answer, "action", "float32", shape)
        return action

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin new episodes in the envs `env_ids` (n,)."""
        self._env._call("expert_reset", expert=self._number, env_ids=env_ids)

    def state_dict(self) -> StateDict:
        """Return its integrators, phases and generator."""
        state: StateDict = self._env._call("expert_state_dict", expert=self._number)["state"]
        return state

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._env._call("expert_load_state_dict", expert=self._number, state=state)


class RemoteCurriculum:
    """The curriculum of a served env."""

    def __init__(self, env: RemoteEnv) -> None:
        """Refer to the curriculum of `env`."""
        self._env = env

    @property
    def levels(self) -> torch.Tensor:
        """Levels of its terms, (k,)."""
        levels: torch.Tensor = wire.require(self._env._call("levels"), "levels")
        return levels

    def set_levels(self, levels: torch.Tensor) -> None:
        """Set the levels of its terms, (k,)."""
        self._env._call("levels", levels=levels)
