"""A learner's side of a training: rows and figures of its actors arrive, weights go out, processes are watched."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from regimen.agents.actor_learner import reports
from regimen.agents.actor_learner.actor_group import ActorGroup
from regimen.agents.actor_learner.channel import Inbox, Mailbox, Parcel, RowSpec
from regimen.agents.actor_learner.http_channel import LearnerServer
from regimen.agents.actor_learner.job_steps import job_steps
from regimen.agents.actor_learner.mailbox_settings import MailboxSettings
from regimen.agents.actor_learner.processes import ActorProcesses
from regimen.agents.training_session import TrainingSession
from regimen.system import listening, wire
from regimen.system.errors import DivergedError, RegimenError

if TYPE_CHECKING:
    from regimen.agents.actor_learner.agreement import Agreement
    from regimen.config.schema import ChannelCfg, Config, HardwareCfg
    from regimen.runs.run import Run
    from regimen.system.message_server import Tls

WAIT_S = 0.1
VERSIONS_OF_AN_ATTEMPT = 2**32
"""A resumed run publishes versions higher than all of its earlier attempts, some of which its checkpoint lacks."""

FAREWELL_S = 30.0
"""Longest time for actors elsewhere to ask again and be answered that the training has finished."""

OWN_ACTOR = re.compile(r"actor\d+\.\d+\.\d+")
"""Names of the actors that are processes of the run, see `ActorProcesses`; they end with it."""

MAX_BODY = 256 * 2**20

Opened: TypeAlias = tuple[Inbox, ActorGroup, Callable[[], None]]
"""Where rows arrive, what sends them, and what is to do after the training has finished."""


class LearnerSession:
    """What an agent calls while it learns from actors elsewhere.

    Attributes:
        run: of the learner.
        training: statistics, logs and checkpoints.
        mailbox: rows and figures that arrived.
    """

    def __init__(self, run: Run, training: TrainingSession, mailbox: Inbox, actors: ActorGroup) -> None:
        """Begin with the versions of this attempt.

        Args:
            run: of the learner.
            training: receives the figures of the actors.
            mailbox: of the channels.
            actors: of this run.
        """
        self.run, self.training, self.mailbox, self._actors = run, training, mailbox, actors
        self.version = len(run.record.resumed) * VERSIONS_OF_AN_ATTEMPT

    def publish(self, weights: wire.Message) -> None:
        """Make weights known to the actors; they must not change afterwards."""
        self.version += 1
        self.mailbox.publish(self.version, wire.to_bytes(weights))

    def take(self, limit: int, save: Callable[[], Any]) -> list[Parcel]:
        """Wait for rows, and return at most `limit`.

        Args:
            limit: largest number of rows.
            save: writes a checkpoint of this moment.

        Raises:
            StopRequested: a signal came; the checkpoint is written.
            DivergedError: a value of an actor's task is not finite.
            RegimenError: an actor failed with another error; the checkpoint is written if there is anything new.
        """
        while True:
            self.run.check_stop(self.training.steps_done, save)
            self._watch(save)
            if parcels := self.mailbox.take(WAIT_S, limit):
                return parcels

    def _watch(self, save: Callable[[], Any]) -> None:
        """Watch the actors; save a checkpoint where one of them ends the run, whose networks and buffers are sound."""
        try:
            self._actors.watch()
        except DivergedError:
            raise
        except RegimenError:
            if self.training.steps_done > self.training.steps_restored:
                save()
            raise

    def reports(self) -> list[dict[str, float]]:
        """Add the figures that arrived to the statistics; return those of the agent itself."""
        arrived = (reports.receive(values, self.training) for _, values in self.mailbox.take_stats())
        return [values for values in arrived if values]

    def state_dict(self) -> dict[str, Any]:
        """Return the last number of each actor whose rows were taken, and the version of the weights."""
        return {"last_ids": self.mailbox.last_ids(), "version": self.version}


@contextmanager
def learner_session(
    run: Run,
    config: Config,
    training: TrainingSession,
    spec: RowSpec,
    agreement: Agreement,
    last_ids: dict[str, int] | None,
    kept: int,
) -> Iterator[LearnerSession]:
    """Open the channels, start the actors of the run, and end both.

    Args:
        run: of the learner.
        config: its configuration, with `hardware.channel`.
        training: statistics, logs and checkpoints.
        spec: columns of a row.
        agreement: task and agent, which those of an actor must be.
        last_ids: actor -> last number that the learner has of it, from its checkpoint.
        kept: rows between two checkpoints, at most; an actor keeps them, and those on their way, for a learner that is
            restored from its last checkpoint.

    Raises:
        StopRequested: a signal came, and the channels could not be opened.
        PreflightError: the address is in use, the certificate cannot be read, the nodes of the run are not there, or
            no Ray is reached.
    """
    channel: ChannelCfg | None = config.hardware.channel
    assert channel is not None
    capacity, unsent = channel.ahead * agreement.num_envs, channel.push_steps * agreement.num_envs
    settings = MailboxSettings(spec, capacity, agreement, channel.push_steps, kept + capacity + unsent)
    opened = _on_ray if channel.transport == "ray" else _over_http
    with ExitStack() as stack:
        try:
            mailbox, actors, farewell = stack.enter_context(opened(run, config.hardware, settings, last_ids))
        except RegimenError:  # a stop that was asked for meanwhile is no failure, and nothing is new since the start
            run.check_stop(training.steps_done, lambda: None)
            raise
        stack.callback(actors.stop)
        actors.start()
        yield LearnerSession(run, training, mailbox, actors)
        mailbox.finish()  # not after an error: actors elsewhere wait for the learner to be continued
        farewell()


@contextmanager
def _on_ray(
    run: Run, hardware: HardwareCfg, settings: MailboxSettings, last_ids: dict[str, int] | None
) -> Iterator[Opened]:
    """Yield a mailbox and actors of Ray; it ends them, so there is nothing to wait for."""
    from regimen.agents.actor_learner.ray_actors import on_ray

    assert hardware.channel is not None
    with on_ray(run, hardware.actors, hardware.channel.ray, settings, last_ids) as (mailbox, actors):
        yield mailbox, actors, lambda: None


@contextmanager
def _over_http(
    run: Run, hardware: HardwareCfg, settings: MailboxSettings, last_ids: dict[str, int] | None
) -> Iterator[Opened]:
    """Yield a mailbox in this process, actors that it starts, and the wait for actors elsewhere."""
    channel = hardware.channel
    assert channel is not None
    mailbox = Mailbox(settings.spec, settings.capacity, last_ids)
    own_token = run.dir / "token"
    file = own_token if channel.token is None else Path(channel.token)
    if channel.port is None:
        token = secrets.token_urlsafe(32)
    else:
        if channel.token is None and not own_token.exists():
            listening.new_token(own_token)  # kept until the end: actors elsewhere wait for a learner that is continued
        token = listening.read_token(file, "hardware.channel.token")

    def serve(host: str, port: int, tls: Tls | None) -> LearnerServer:
        server = LearnerServer(mailbox, token, host, port, MAX_BODY, tls, settings.greet, hardware.actors)
        server.start()
        stack.callback(server.stop)
        return server

    with ExitStack() as stack:
        steps = stack.enter_context(job_steps(run, hardware, token))
        if steps is None:
            inner = serve("127.0.0.1", 0, None)
        else:
            with steps.tls() as own:
                inner = serve(steps.address, 0, own)
        outer: LearnerServer | None = None
        if channel.port is not None:
            outer = serve(channel.host, channel.port, listening.tls(channel))
            outer.expect(name for name in last_ids or {} if not OWN_ACTOR.fullmatch(name))
            print(f"actors elsewhere: python launch.py stage=actor … stage.learner={outer.url}", flush=True)
            print(f"  stage.token={file}, or a copy of this file there", flush=True)

        def farewell() -> None:
            if outer is not None:
                outer.wait_for_farewells(FAREWELL_S)
                time.sleep(WAIT_S)  # the last answer is on its way
            own_token.unlink(missing_ok=True)

        yield mailbox, ActorProcesses(run, hardware.actors, inner.url, token, mailbox, steps), farewell
