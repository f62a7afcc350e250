"""A simulator server within a test, and configurations of its clients."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.arm_env import ArmEnvCfg
from regimen.config.schema import Config, HardwareCfg
from regimen.envs.remote import RemoteEnvCfg
from regimen.envs.remote.config import TOKEN_VARIABLE
from regimen.envs.remote.server import Limits, SimulatorServer
from regimen.envs.sims.mujoco import MujocoWorldCfg

TOKEN = "the token of a test"


def arm_config(**env: Any) -> Config:
    """The configuration of a server with points, or of the same run without a server."""
    choices = {"task": "arm", "sim": "mujoco", "agent": "none"}
    cfg = ArmEnvCfg(**{"num_envs": 4, **env})
    return Config(
        env=cfg, sim=MujocoWorldCfg(), agent=None, stage=None, hardware=HardwareCfg(threads=1), choices=choices
    )


def as_client(config: Config, url: str, **sim: Any) -> Config:
    """The configuration of a run that has the simulator of `config` behind a server."""
    remote = copy.deepcopy(config)
    remote.sim = RemoteEnvCfg(**{"url": url, "timeout_s": 10.0, "reconnect_s": 2.0, **sim})
    remote.choices["sim"] = "remote"
    return remote


class Served:
    """A server whose envs are owned by a thread of the test.

    Attributes:
        url: where it listens.
    """

    def __init__(self, config: Config, limits: Limits, port: int = 0) -> None:
        self.server = SimulatorServer(config, limits, TOKEN, port=port)
        self.url, self._ended = self.server.url, threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        self.server.start()

    def _work(self) -> None:
        while not self._ended.is_set():
            self.server.work(0.02)
        self.server.stop()

    def stop(self) -> None:
        """End it, as Ctrl-C does."""
        self._ended.set()
        self._thread.join()


@contextmanager
def served(config: Config, port: int = 0, **limits: Any) -> Iterator[Served]:
    """Serve the task of a configuration; its token is in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOKEN_VARIABLE, TOKEN)
        running = Served(config, Limits(**limits), port)
        try:
            yield running
        finally:
            running.stop()
