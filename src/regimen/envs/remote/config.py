"""Settings of a simulator that is reached through a server, and the check before the start that it is there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from regimen.config.yaml_io import PlainConfig
from regimen.system.errors import ConfigError, RegimenError
from regimen.system.version import __version__

PROTOCOL = 2
"""Number of the form of all messages; raised with each change that an older server or client cannot read."""

TOKEN_VARIABLE = "REGIMEN_SIM_TOKEN"

PREFLIGHT_S = 2.0
"""Time that the check before the start gives to a server."""


@dataclass
class RemoteEnvCfg:
    """A simulator behind `stage=serve`, on this machine or another one.

    The task is that of the server: names and functions must be equal, numbers and switched-off terms are those of the
    client, see `regimen.envs.remote.settings`.

    Attributes:
        url: of the server.
        token: file with the server's token; null, or set beside it: the environment variable REGIMEN_SIM_TOKEN.
        certificate: file of a certificate to trust, for https; null: those that the system trusts.
        dt: physics step in seconds; that of the server.
        timeout_s: longest wait for one answer, such as that of a step or of the start of the simulator.
        reconnect_s: longest time of attempts to reach the server, and of waiting for one of its envs to be free.
    """

    OPENS_TASKS: ClassVar[bool] = True
    """The whole task is opened by this sim's class, not by the task's own."""

    _target_: str = "regimen.envs.remote.RemoteEnv"
    url: str = "http://127.0.0.1:5001"
    token: str | None = None
    certificate: str | None = None
    dt: float = field(default=0.005, metadata={"above": 0})
    timeout_s: float = 60.0
    reconnect_s: float = 20.0

    def problems(self, config: PlainConfig) -> list[str]:
        """Return what is wrong with the values; ask the server whether it has the task, unless a scheduler starts."""
        from regimen.system.message_client import certificate_problems, url_problems

        lines = [f"url={self.url}: {problem}" for problem in url_problems(self.url)]
        times = {"timeout_s": self.timeout_s, "reconnect_s": self.reconnect_s}
        lines += [f"{name}={value}: expected seconds, more than 0." for name, value in times.items() if not value > 0]
        lines += certificate_problems(self.certificate)
        if (config.get("stage") or {}).get("_target_") == "regimen.stages.serve.Serve":
            lines.append("stage=serve opens a simulator itself. Remove sim=remote.")
        motion = (config.get("env") or {}).get("motion")
        given = motion.get("clips") if isinstance(motion, dict) else None
        if clips := [name for name, clip in (given or {}).items() if clip is not None]:
            lines.append(
                f"the task has motion clips, env.motion.clips={clips}: agents and films read them where the simulator "
                "is, and no server sends them. Choose the simulator itself, such as sim=mujoco."
            )
        if lines or (config.get("hardware") or {}).get("scheduler"):
            return lines
        try:
            self.say_hello((config.get("choices") or {}).get("task"))
        except RegimenError as error:
            lines.append(str(error))
        return lines

    def read_token(self) -> str:
        """Return the token of the server.

        Raises:
            ConfigError: there is none, or it cannot be one.
        """
        from regimen.system import listening

        given = os.environ.get(TOKEN_VARIABLE, "").strip()
        if given:
            return listening.require_token(given, TOKEN_VARIABLE)
        if self.token is None:
            raise ConfigError(
                f"The token of the server is missing: sim.token=<file>, or the variable {TOKEN_VARIABLE}. "
                "The server prints the file when it starts."
            )
        try:
            token = Path(self.token).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"sim.token is no file that can be read ({getattr(error, 'strerror', None) or error}). Expected the "
                f"path that the server printed; a token itself belongs into the variable {TOKEN_VARIABLE}."
            ) from error
        return listening.require_token(token, "sim.token")

    def connect(self, timeout_s: float | None = None, reconnect_s: float | None = None) -> Any:
        """Return a `MessageClient` of the server, with the configured waits by default.

        Raises:
            ConfigError: the token is missing.
        """
        from regimen.system.message_client import MessageClient

        return MessageClient(
            self.url,
            self.read_token(),
            self.timeout_s if timeout_s is None else timeout_s,
            self.reconnect_s if reconnect_s is None else reconnect_s,
            Path(self.certificate).expanduser() if self.certificate else None,
            "Look at the screen of its `python launch.py stage=serve task=…`, or start it there; then continue this "
            "run by `resume=`. A slower simulator needs a larger sim.timeout_s.",
        )

    def say_hello(self, task: str | None) -> None:
        """Ask the server whether it has this version and task.

        Raises:
            ConfigError: it has others, or the token is missing.
            ServerError: it cannot be reached.
        """
        client = self.connect(PREFLIGHT_S, PREFLIGHT_S)
        try:
            client.post("env/hello", greeting(task))
        finally:
            client.close()


def greeting(task: str | None) -> dict[str, Any]:
    """Return what a client says of itself: its version and task."""
    return {"version": __version__, "protocol": PROTOCOL, "task": task}


def require_same(message: dict[str, Any], task: str | None) -> None:
    """Raise unless a client's greeting fits this version and the task of a server.

    Raises:
        ConfigError: naming both versions, or both tasks.
    """
    theirs, own = (message.get("version"), message.get("protocol")), (__version__, PROTOCOL)
    if theirs != own:
        names = [f"{version} (messages {number})" for version, number in (theirs, own)]
        raise ConfigError(f"The client is Regimen {names[0]}, the server {names[1]}: install the same on both sides.")
    if message.get("task") != task:
        raise ConfigError(
            f"The client has task={message.get('task')}, the server task={task}. Start the run with task={task}, or a "
            f"server with stage=serve task={message.get('task')}."
        )
