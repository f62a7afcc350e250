"""The channel over Ray: a mailbox in an actor of Ray, messages of `system/wire.py` as bytes, which Ray sends as such.

The mailbox may be killed at any time. Ray starts it again with nothing in it, and it takes nothing until the learner
has sent which rows it has: actors send on from there. The learner repeats the number of the last answer that it got;
an answer that was lost on the way is given again, so that its rows are neither lost nor doubled.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from regimen.agents.actor_learner import request_channel
from regimen.agents.actor_learner.channel import ROOM_S, Mailbox, Parcel, length_of
from regimen.agents.actor_learner.mailbox_settings import MailboxSettings
from regimen.system import wire
from regimen.system.message_client import FIRST_PAUSE_S, LONGEST_PAUSE_S, ServerError, received_error
from regimen.system.message_server import Reply

if TYPE_CHECKING:
    from ray.actor import ActorHandle

ANSWER_S, SILENT_S = 10.0, 60.0
"""Longest wait for one answer of the mailbox, and for any."""

RESTARTS = 3
"""Starts of the mailbox in a row, none of which handed a row over, after which the run fails."""

MAX_MESSAGE = 256 * 2**20
HERE = "the mailbox"
SHOWN = 200
"""Characters of an error of Ray that a message has."""

Ask: TypeAlias = Callable[[bytes, float], bytes]
"""Sends the bytes of a message to a mailbox and returns those of its answer, within so many seconds."""


class SilentError(ServerError):
    """A mailbox has not answered; it may have got the message."""


def asking(mailbox: ActorHandle[Any]) -> Ask:
    """Return what asks a `MailboxActor` by the handle that Ray gives.

    It raises `SilentError` for errors of Ray, after which the mailbox may answer again, and `ServerError` for the end
    of a mailbox that Ray does not start again.
    """
    import ray
    from ray.exceptions import ActorDiedError, RayError

    def ask(data: bytes, seconds: float) -> bytes:
        try:
            answer: Any = ray.get(mailbox.answer.remote(data), timeout=seconds)
        except ActorDiedError as error:
            raise ServerError(
                f"{HERE} ended, and Ray does not start it again: {last_line(error)}. Continue the run by `resume=`."
            ) from None
        except RayError as error:
            raise SilentError(last_line(error)) from None
        return bytes(answer)

    return ask


class MailboxActor:
    """Holds the mailbox in a process of Ray. Each method takes and returns the bytes of a message."""

    def __init__(self, settings: bytes) -> None:
        """Wait for the learner; `settings` is of `MailboxSettings`."""
        self._settings = MailboxSettings.decoded(settings)
        self._boot = secrets.token_hex(8)
        self._mailbox: Mailbox | None = None
        self._known = threading.Event()
        self._turn = threading.Lock()
        self._number, self._handed = 0, wire.Message()

    def answer(self, data: bytes) -> bytes:
        """Answer a request of an actor or of the learner; an error is an answer as well."""
        try:
            if len(data) > MAX_MESSAGE:
                raise wire.WireError(f"a message of {len(data)} bytes: expected {MAX_MESSAGE} at most.")
            request = wire.decode(data)
            path, message = (wire.require_plain(request, name, kind) for name, kind in (("path", str), ("of", dict)))
            answer = self._to_learner(path, message) if path.startswith("learner/") else self._to_actor(path, message)
        except Exception as error:
            return b"".join(Reply.error(error).parts)
        return wire.to_bytes(answer)

    def _to_actor(self, path: str, message: wire.Message) -> wire.Message:
        if not self._known.wait(ROOM_S) or self._mailbox is None:
            return {"again": True}
        return request_channel.answer(self._mailbox, self._settings.greet, path, message)

    def _to_learner(self, path: str, message: wire.Message) -> wire.Message:
        with self._turn:
            if self._mailbox is None:
                last_ids = wire.require_plain(message, "last_ids", dict)
                self._mailbox = Mailbox(self._settings.spec, self._settings.capacity, last_ids)
                self._known.set()
            mailbox, answer = self._mailbox, {}
            if path == "learner/take":
                answer = self._take(mailbox, message)
            elif path == "learner/publish":
                if (version := wire.require_plain(message, "version", int)) > mailbox.version:
                    mailbox.publish(version, wire.require(message, "weights", "uint8", (None,)).data)
            elif path == "learner/finish":
                mailbox.finish()
            else:
                raise ServerError(f"there is no `{path}`.")
            return {"boot": self._boot, "version": mailbox.version, "received": mailbox.all_received(), **answer}

    def _take(self, mailbox: Mailbox, message: wire.Message) -> wire.Message:
        """Return rows and figures; the last ones again where the learner has not got them."""
        got = wire.require_plain(message, "boot", str), wire.require_plain(message, "number", int)
        if not self._handed or got == (self._boot, self._number):
            limit = wire.require_plain(message, "limit", (int, type(None)))
            parcels = mailbox.take(wire.require_plain(message, "wait_s", float), limit)
            self._number += 1
            self._handed = {
                "number": self._number,
                "parcels": [{"actor": p.actor, "first_id": p.first_id, "rows": dict(p.rows)} for p in parcels],
                "stats": [{"actor": actor, "values": values} for actor, values in mailbox.take_stats()],
            }
        return self._handed


class RayClient:
    """Carries the messages of a `RequestChannel` to a `MailboxActor`; waits for one that is being started again."""

    def __init__(self, ask: Ask, answer_s: float = ANSWER_S, silent_s: float = SILENT_S) -> None:
        """Lead to a mailbox.

        Args:
            ask: asks it.
            answer_s: longest wait for one answer.
            silent_s: longest wait for any.
        """
        self._ask, self._answer_s, self._silent_s = ask, answer_s, silent_s
        self._hurried = False

    def post(self, path: str, message: wire.Message) -> wire.Message:
        """Send a message and return the answer; see `request_channel.Client`.

        A mailbox that waits for the learner answers, so this waits with it, until Ray ends one of them.
        """
        data = _request(path, message)
        begun, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                answer = _read(self._ask(data, self._answer_s))
                if not answer.get("again"):
                    return answer
                why = "it was started again, and the learner has not sent it yet which rows it has"
                if not self._hurried:
                    begun = time.monotonic()
            except SilentError as error:
                why = str(error)
            if time.monotonic() - begun + pause > self._silent_s:
                raise request_channel.LearnerUnreachableError(
                    f"{HERE} does not answer, tried for {self._silent_s:g} s: {why}."
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def hurry(self, seconds: float) -> None:
        """Wait no longer than `seconds` for an answer from now on."""
        self._answer_s, self._silent_s = min(self._answer_s, seconds), min(self._silent_s, seconds)
        self._hurried = True

    def close(self) -> None:
        """Do nothing: Ray keeps the connections."""


class RayMailbox:
    """The learner's end: the rows of a `MailboxActor`, whose starts it survives."""

    def __init__(
        self,
        ask: Ask,
        settings: MailboxSettings,
        last_ids: Mapping[str, int] | None,
        warn: Callable[[str], None],
    ) -> None:
        """Lead to a mailbox.

        Args:
            ask: asks it.
            settings: with which it was started.
            last_ids: actor -> last number that the learner has of it, from its checkpoint.
            warn: called with a line when the mailbox was started again.
        """
        self._ask, self._spec, self._warn = ask, settings.spec, warn
        self._taken = dict(last_ids or {})
        self._received = dict(self._taken)
        self._stats: list[tuple[str, dict[str, float]]] = []
        self._weights: tuple[int, np.ndarray] | None = None
        self._boot, self._number, self._restarts = "", 0, 0
        self._silent_since: float | None = None

    def take(self, wait_s: float = 0.0, limit: int | None = None) -> list[Parcel]:
        """Return rows that the learner does not have yet; see `Mailbox.take`.

        Raises:
            ServerError: the mailbox has not answered for a minute, or ends again and again.
            WireError: rows have other columns, types or shapes than expected, or some are missing.
        """
        answer = self._asked("learner/take", {"wait_s": float(wait_s), "limit": limit})
        if answer is None:
            return []
        self._number = wire.require_plain(answer, "number", int)
        for entry in wire.require_plain(answer, "stats", list):
            self._stats.append((wire.require_plain(entry, "actor", str), wire.require_plain(entry, "values", dict)))
        parcels = [self._new_rows(entry) for entry in wire.require_plain(answer, "parcels", list)]
        taken = [parcel for parcel in parcels if length_of(parcel.rows)]
        if taken:
            self._restarts = 0
        if self._weights is not None and wire.require_plain(answer, "version", int) < self._weights[0]:
            self._send_weights()
        return taken

    def take_stats(self) -> list[tuple[str, dict[str, float]]]:
        """Return actor and figures, oldest first; those in a mailbox that died are lost."""
        stats, self._stats = self._stats, []
        return stats

    def publish(self, version: int, weights: bytes | memoryview) -> None:
        """Replace the weights; a mailbox that does not answer gets them with the next `take`."""
        self._weights = version, np.frombuffer(weights, np.uint8)
        self._send_weights()

    def received(self, actor: str) -> int:
        """Return the last number that has arrived of an actor, -1 for none."""
        return self._received.get(actor, -1)

    def last_ids(self) -> dict[str, int]:
        """Return for each actor the last number that the learner has taken, for a checkpoint."""
        return dict(self._taken)

    def finish(self) -> None:
        """Take no more rows."""
        with suppress(ServerError):
            self._asked("learner/finish", {})

    def _send_weights(self) -> None:
        if self._weights is not None:
            self._asked("learner/publish", {"version": self._weights[0], "weights": self._weights[1]})

    def _asked(self, path: str, message: wire.Message) -> wire.Message | None:
        """Return the answer; None if there is none, which is no error for a while."""
        state = {"boot": self._boot, "number": self._number, "last_ids": self._taken}
        try:
            answer = _read(self._ask(_request(path, {**message, **state}), ANSWER_S))
        except SilentError as error:
            self._silent_since = self._silent_since or time.monotonic()
            if time.monotonic() - self._silent_since > SILENT_S:
                raise ServerError(
                    f"{HERE} has not answered for {SILENT_S:g} s: {error}. Continue the run by `resume=`."
                ) from None
            time.sleep(FIRST_PAUSE_S)
            return None
        self._silent_since = None
        for actor, last in wire.require_plain(answer, "received", dict).items():
            self._received[actor] = max(self._received.get(actor, -1), last)
        if (boot := wire.require_plain(answer, "boot", str)) != self._boot:
            self._meet(boot)
        return answer

    def _meet(self, boot: str) -> None:
        """Begin with a mailbox that has been started; the first one is no restart."""
        if self._boot:
            self._restarts += 1
            if self._restarts >= RESTARTS:
                raise ServerError(
                    f"{HERE} ended {RESTARTS} times before it handed over a row. Is there enough memory? Continue the "
                    "run by `resume=`."
                )
            self._warn(f"{HERE} ended, and was started again; actors send again what it had")
        self._boot, self._number = boot, 0

    def _new_rows(self, entry: wire.Message) -> Parcel:
        """Return the rows of a parcel that were not taken before, and take them."""
        actor, first = wire.require_plain(entry, "actor", str), wire.require_plain(entry, "first_id", int)
        rows = wire.require_plain(entry, "rows", dict)
        count, known = length_of(rows), self._taken.get(actor, -1) + 1 - first
        if known < 0:
            raise wire.WireError(f"{HERE} handed over rows of {actor} from {first} on, {-known} before it are missing.")
        for name, (dtype, shape) in self._spec.items():
            wire.require(rows, name, dtype, (count, *shape))
        if known < count:
            self._taken[actor] = first + count - 1
        return Parcel(actor, first + known, {name: column[known:] for name, column in rows.items()})


def last_line(error: BaseException) -> str:
    """Return the last line of an error of Ray, shortened, without its full stop: it has the reason."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:SHOWN].rstrip(".")


def _request(path: str, message: wire.Message) -> bytes:
    return wire.to_bytes({"path": path, "of": message})


def _read(data: bytes) -> wire.Message:
    """Return the answer of a mailbox.

    Raises:
        RegimenError: it is an error.
    """
    answer = wire.decode(data)
    if "error" in answer:
        raise received_error(answer, HERE)
    return answer
