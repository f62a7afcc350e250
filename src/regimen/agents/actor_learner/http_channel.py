"""The channel between processes and machines: HTTP with messages of `system/wire.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from regimen.agents.actor_learner.channel import Mailbox, Rows
from regimen.system import wire
from regimen.system.message_client import FinishedError, MessageClient, ServerError
from regimen.system.message_server import MessageServer, Reply, Request, Tls

MAX_NAME = 80


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
        greet: Callable[[wire.Message], wire.Message] | None = None,
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

        Raises:
            PreflightError: the address is in use, or the certificate cannot be read.
        """
        self._mailbox, self._greet = mailbox, greet
        self._seen: dict[str, float] = {}  # actor that was not yet answered that the training has finished -> last time
        self._heard = threading.Condition()
        self._server = MessageServer(self._answer, host, port, token, max_body, tls)
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
        actor = wire.require_plain(message, "actor", str)
        if len(actor) > MAX_NAME:
            raise ServerError(f"the name of the actor has {len(actor)} characters: expected {MAX_NAME} at most.")
        with self._heard:
            self._seen[actor] = time.monotonic()
        try:
            return self._reply(request, actor, message)
        except Exception as error:
            if isinstance(error, FinishedError) or request.path == "channel/hello":  # one that is refused ends as well
                with self._heard:
                    self._seen.pop(actor, None)
                    self._heard.notify_all()
            raise

    def _reply(self, request: Request, actor: str, message: wire.Message) -> Reply:
        if request.path == "channel/hello":
            return Reply.message(self._greet(message) if self._greet else {})
        if request.path == "channel/push":
            rows = wire.require_plain(message, "rows", dict)
            return Reply.message(
                {"last_id": self._mailbox.push(actor, rows, wire.require_plain(message, "first_id", int))}
            )
        if request.path == "channel/weights":
            newer = self._mailbox.weights(wire.require_plain(message, "newer_than", int))
            if newer is None:
                return Reply.message({"version": None})
            return Reply.message({"version": newer[0], "weights": np.frombuffer(newer[1], np.uint8)})
        if request.path == "channel/stats":
            values = wire.require_plain(message, "values", dict)
            figures = {name: wire.require_plain(values, name, float) for name in values}
            self._mailbox.add_stats(actor, wire.require_plain(message, "id", int), figures)
            return Reply.message({})
        raise ServerError(f"there is no `{request.path}`.")


class HttpChannel:
    """An actor's channel to a `LearnerServer`. Not for several threads at once."""

    def __init__(self, client: MessageClient, actor: str) -> None:
        """Use a connection.

        Args:
            client: to the server.
            actor: name that no other actor has had: a push of one that was killed may still arrive.
        """
        self._client, self._actor = client, actor
        self._next_stats = 0

    def hello(self, greeting: wire.Message) -> wire.Message:
        """Send what this actor is, and return the answer.

        Raises:
            ConfigError: the learner has another task, agent or version.
            ServerError: it does not answer in time.
        """
        return self._client.post("channel/hello", {"actor": self._actor, **greeting})

    def push(self, rows: Rows, first_id: int) -> int:
        """Send rows; see `Channel.push`. A repeat after a lost connection stores none twice."""
        answer = self._client.post("channel/push", {"actor": self._actor, "rows": dict(rows), "first_id": first_id})
        last: int = wire.require_plain(answer, "last_id", int)
        return last

    def weights(self, newer_than: int) -> tuple[int, memoryview] | None:
        """Return newer weights; see `Channel.weights`."""
        answer = self._client.post("channel/weights", {"actor": self._actor, "newer_than": newer_than})
        if answer.get("version") is None:
            return None
        return wire.require_plain(answer, "version", int), wire.require(answer, "weights", "uint8", (None,)).data

    def stats(self, values: Mapping[str, float]) -> None:
        """Send figures; see `Channel.stats`. A repeat after a lost connection counts none twice."""
        figures = {name: float(value) for name, value in values.items()}
        number, self._next_stats = self._next_stats, self._next_stats + 1
        self._client.post("channel/stats", {"actor": self._actor, "id": number, "values": figures})

    def hurry(self, seconds: float) -> None:
        """Wait no longer than `seconds` for an answer or a connection from now on."""
        self._client.hurry(seconds)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
