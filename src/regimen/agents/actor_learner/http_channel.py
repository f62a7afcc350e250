"""The channel between processes and machines: HTTP with messages of `system/wire.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from regimen.agents.actor_learner.channel import Mailbox
from regimen.agents.actor_learner.request_channel import Greet, LearnerUnreachableError, actor_of, answer
from regimen.system import wire
from regimen.system.message_client import BusyError, FinishedError, MessageClient, UnreachableError
from regimen.system.message_server import MessageServer, Reply, Request, Tls

ELSEWHERE = 512
"""Connections at once beside those of the run's own actors: of actors elsewhere, and of strangers without a token."""


class LearnerClient(MessageClient):
    """Carries the messages of a `RequestChannel` to a `LearnerServer`; a silent connection is renewed like a lost one.

    A mailbox takes each request twice without harm, so none has to wait for a connection that a network has dropped.
    """

    RENEWS_SILENT = True

    def post(self, path: str, message: wire.Message) -> wire.Message:
        """Send a message and return the answer; see `request_channel.Client`."""
        try:
            return super().post(path, message)
        except (UnreachableError, BusyError) as error:
            raise LearnerUnreachableError(str(error)) from None


class LearnerServer:
    """Leads the channels of actors elsewhere to a mailbox.

    Attributes:
        url: where it listens.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        token: str,
        host: str = "127.0.0.1",
        port: int = 0,
        max_body: int = 64 * 2**20,
        tls: Tls | None = None,
        greet: Greet | None = None,
        actors: int = 0,
    ) -> None:
        """Bind the address; `start` begins to answer.

        Args:
            mailbox: of the learner.
            token: that every request must have.
            host: address to listen at.
            port: 0: a free one.
            max_body: bytes of one push.
            tls: encrypts the connections.
            greet: answers the first message of an actor, or raises what refuses it; None: every actor is taken.
            actors: processes of the run; each has two places, for a connection and for its renewal.

        Raises:
            PreflightError: the address is in use, or the certificate cannot be read.
        """
        self._mailbox, self._greet = mailbox, greet
        self._seen: dict[str, float] = {}  # actor that was not yet answered that the training has finished -> last time
        self._heard = threading.Condition()
        self._server = MessageServer(
            self._answer, host, port, token, max_body, tls, max_connections=2 * actors + ELSEWHERE
        )
        self.url = self._server.url
        self.start, self.stop = self._server.start, self._server.stop

    def expect(self, actors: Iterable[str]) -> None:
        """Count actors as seen now: those of a continued training connect again, and it may end before they have."""
        with self._heard:
            self._seen |= dict.fromkeys(actors, time.monotonic())

    def wait_for_farewells(self, seconds: float) -> None:
        """Wait until each actor was answered that the training has finished; before, the mailbox must be finished.

        Args:
            seconds: longest wait; an actor that has been silent for as long before is taken for gone.
        """
        begun = time.monotonic()
        with self._heard:
            self._heard.wait_for(lambda: not any(s > begun - seconds for s in self._seen.values()), seconds)

    def _answer(self, request: Request) -> Reply:
        message = wire.decode(request.body)
        actor = actor_of(message)
        with self._heard:
            self._seen[actor] = time.monotonic()
        try:
            return Reply.message(answer(self._mailbox, self._greet, request.path, message))
        except Exception as error:
            if isinstance(error, FinishedError) or request.path == "channel/hello":  # one that is refused ends as well
                with self._heard:
                    self._seen.pop(actor, None)
                    self._heard.notify_all()
            raise
