"""Stage `actor`: an actor for a learner on another machine, which is a run with `hardware=actor_learner`."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from regimen.config.yaml_io import PlainConfig
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.actor_learner.actor_session import ActorSession
    from regimen.config.schema import Config
    from regimen.runs.run import Run

TOKEN_VARIABLE = "REGIMEN_LEARNER_TOKEN"


@dataclass
class ActorCfg:
    """A learner elsewhere, and the waits for it.

    Attributes:
        learner: address that the learner printed, such as `http://127.0.0.1:5588`.
        token: file with the learner's token; null, or set beside it: the environment variable REGIMEN_LEARNER_TOKEN.
        certificate: file of a certificate to trust, for https; null: those that the system trusts.
        timeout_s: longest wait for one answer; then the connection counts as lost.
        reconnect_s: longest time of attempts to reach the learner again, such as one that is being continued.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("encoder",)
    NEEDS: ClassVar[str] = "act"
    _target_: str = "regimen.stages.actor.Actor"
    learner: str = "http://127.0.0.1:5588"
    token: str | None = None
    certificate: str | None = None
    timeout_s: float = 60.0
    reconnect_s: float = 120.0

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value."""
        from regimen.system.message_client import certificate_problems, url_problems

        lines = [f"learner={self.learner}: {problem}" for problem in url_problems(self.learner)]
        times = {"timeout_s": self.timeout_s, "reconnect_s": self.reconnect_s}
        lines += [f"{name}={value}: expected seconds, more than 0." for name, value in times.items() if not value > 0]
        lines += certificate_problems(self.certificate)
        try:
            self.read_token()
        except ConfigError as error:
            lines.append(str(error))
        return lines

    def read_token(self) -> str:
        """Return the token of the learner.

        Raises:
            ConfigError: there is none, or it cannot be one.
        """
        from regimen.system import listening

        if given := os.environ.get(TOKEN_VARIABLE, "").strip():
            return listening.require_token(given, TOKEN_VARIABLE)
        if self.token is None:
            raise ConfigError(
                f"The token of the learner is missing: stage.token=<file>, or the variable {TOKEN_VARIABLE}. "
                "The learner prints the file when it starts."
            )
        return listening.read_token(Path(self.token), "stage.token")


class Actor:
    """Act until the learner has finished, or until Ctrl-C or SIGTERM; both end the run as finished."""

    def __init__(self, cfg: ActorCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Act.

        Raises:
            ConfigError: the learner has another task, agent or version.
            ServerError: the learner does not answer.
            StopRequested: the scheduler takes the machine away.
        """
        from regimen.agents.actor_learner.acting import act
        from regimen.agents.actor_learner.http_channel import LearnerClient
        from regimen.agents.actor_learner.request_channel import RequestChannel

        cfg = self.cfg
        name = f"{socket.gethostname()[:30]}.{run.id[:36]}.{secrets.token_hex(4)}"
        client = LearnerClient(
            cfg.learner,
            cfg.read_token(),
            cfg.timeout_s,
            cfg.reconnect_s,
            Path(cfg.certificate).expanduser() if cfg.certificate else None,
            "Continue the learner's run by `resume=`, then start this actor again.",
        )
        acting: list[ActorSession] = []

        def stopped() -> bool:
            steps = acting[0].steps if acting else 0
            run.progress(samples=steps * config.env.num_envs, note=f"acts for {cfg.learner}")
            if run.stop_signal in (signal.SIGINT, signal.SIGTERM):
                return True
            run.check_stop(steps, lambda: None)
            return False

        steps = act(config, RequestChannel(client, name), name, stopped, acting.append)
        run.finish({"samples": float(steps * config.env.num_envs)}, {"learner": cfg.learner, "actor": name})
