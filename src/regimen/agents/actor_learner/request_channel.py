"""An actor's channel of requests and answers, and how a mailbox answers them, whatever carries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import numpy as np

from regimen.agents.actor_learner.channel import Mailbox, Rows
from regimen.system import wire
from regimen.system.message_client import ServerError

MAX_NAME = 80

Greet: TypeAlias = Callable[[wire.Message], wire.Message]
"""Answers the first message of an actor, or raises what refuses it."""


class LearnerUnreachableError(ServerError):
    """An actor cannot reach its learner, or gets no answer in time; servers of simulators raise other kinds."""


class Client(Protocol):
    """Carries messages; repeats a request whose answer was lost."""

    def post(self, path: str, message: wire.Message) -> wire.Message:
        """Send a message and return the answer.

        Raises:
            LearnerUnreachableError: there is none in time.
            RegimenError: the answer is an error.
        """
        ...

    def hurry(self, seconds: float) -> None:
        """Wait no longer than `seconds` for an answer or a connection from now on."""
        ...

    def close(self) -> None:
        """Give the connection up."""
        ...


class RequestChannel:
    """An actor's channel to a learner elsewhere. Not for several threads at once."""

    def __init__(self, client: Client, actor: str) -> None:
        """Use a connection.

        Args:
            client: to the learner's side.
            actor: name that no other actor has had: a push of one that was killed may still arrive.
        """
        self._client, self._actor = client, actor
        self._next_stats = 0

    def hello(self, greeting: wire.Message) -> wire.Message:
        """Send what this actor is, and return the answer.

        Raises:
            ConfigError: the learner has another task, agent or version.
            LearnerUnreachableError: it does not answer in time.
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


def actor_of(message: wire.Message) -> str:
    """Return the name of the actor that sent a message.

    Raises:
        ServerError: it is longer than 80 characters.
        WireError: there is none.
    """
    actor: str = wire.require_plain(message, "actor", str)
    if len(actor) > MAX_NAME:
        raise ServerError(f"the name of the actor has {len(actor)} characters: expected {MAX_NAME} at most.")
    return actor


def answer(mailbox: Mailbox, greet: Greet | None, path: str, message: wire.Message) -> wire.Message:
    """Return the answer to a request of a `RequestChannel`.

    Args:
        mailbox: of the learner.
        greet: for `channel/hello`; None: every actor is taken.
        path: kind of the request.
        message: its content.

    Raises:
        RegimenError: it is refused.
    """
    actor = actor_of(message)
    if path == "channel/hello":
        return greet(message) if greet else {}
    if path == "channel/push":
        rows = wire.require_plain(message, "rows", dict)
        return {"last_id": mailbox.push(actor, rows, wire.require_plain(message, "first_id", int))}
    if path == "channel/weights":
        newer = mailbox.weights(wire.require_plain(message, "newer_than", int))
        return {"version": newer and newer[0], "weights": newer and np.frombuffer(newer[1], np.uint8)}
    if path == "channel/stats":
        values = wire.require_plain(message, "values", dict)
        figures = {name: wire.require_plain(values, name, float) for name in values}
        mailbox.add_stats(actor, wire.require_plain(message, "id", int), figures)
        return {}
    raise ServerError(f"there is no `{path}`.")
