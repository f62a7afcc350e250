"""The channel between actors and a learner: rows one way, weights the other way.

Each row of an actor has a number, one more than the row before. The receiver stores a number once, however often it is
sent, and answers with the last one that it has: an actor whose push was lost sends it again, and one whose learner was
restored from a checkpoint sends on from the number after that. A full mailbox takes nothing until the learner has taken
rows out, so that an actor waits instead of losing rows. Versions of weights only rise.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from regimen.system import wire
from regimen.system.errors import ConfigError
from regimen.system.message_client import FinishedError, ServerError

Rows: TypeAlias = Mapping[str, np.ndarray]
"""Column -> (n, ...), one entry per row."""

RowSpec: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""Column -> element type and shape of one row."""

MAX_STATS = 1000
ROOM_S = 1.0
"""Time that a push waits for room, before it answers with what it could store."""


class Channel(Protocol):
    """An actor's end."""

    def push(self, rows: Rows, first_id: int) -> int:
        """Send rows with consecutive numbers.

        Args:
            rows: with the columns that the learner expects; none of them has a row: only ask.
            first_id: number of the first row, of this actor.

        Returns:
            The last number that the learner has of this actor, -1 for none. It is lower than the last one sent if the
            mailbox is full, and lower than `first_id` - 1 if the learner lacks earlier rows: send on from there.

        Raises:
            ServerError: the learner does not answer in time.
            WireError: other columns, types or shapes than the learner expects.
        """
        ...

    def weights(self, newer_than: int) -> tuple[int, memoryview] | None:
        """Return version and bytes of the newest weights, None if there are none newer than a version.

        Raises:
            ServerError: the learner does not answer in time.
        """
        ...

    def stats(self, values: Mapping[str, float]) -> None:
        """Send figures of the actor, such as the return of an episode.

        Raises:
            ServerError: the learner does not answer in time.
        """
        ...

    def close(self) -> None:
        """Give the channel up."""
        ...


@dataclass
class Parcel:
    """Rows of one actor, in order.

    Attributes:
        actor: its name.
        first_id: number of the first row.
        rows: column -> (n, ...).
    """

    actor: str
    first_id: int
    rows: Rows


def length_of(rows: Rows) -> int:
    """Return the number of rows; 0 without columns."""
    return next((len(column) for column in rows.values()), 0)


class Inbox(Protocol):
    """The learner's end of all channels, wherever the rows arrive."""

    def take(self, wait_s: float = 0.0, limit: int | None = None) -> list[Parcel]:
        """Return the rows that have arrived, and make room; see `Mailbox.take`.

        Raises:
            ServerError: what receives the rows does not answer any more.
        """
        ...

    def take_stats(self) -> list[tuple[str, dict[str, float]]]:
        """Return actor and figures, oldest first."""
        ...

    def publish(self, version: int, weights: bytes | memoryview) -> None:
        """Replace the weights; see `Mailbox.publish`."""
        ...

    def received(self, actor: str) -> int:
        """Return the last number that has arrived of an actor, -1 for none."""
        ...

    def last_ids(self) -> dict[str, int]:
        """Return for each actor the last number that the learner has taken, for a checkpoint."""
        ...

    def finish(self) -> None:
        """Take no more rows: each later call of an actor raises `FinishedError`, from which it ends."""
        ...


class Mailbox:
    """The learner's end of all channels; threads of several actors may call it at once.

    Attributes:
        spec: columns of a row.
        capacity: rows that are kept until the learner takes them.
    """

    def __init__(self, spec: RowSpec, capacity: int, last_ids: Mapping[str, int] | None = None) -> None:
        """Begin with no rows.

        Args:
            spec: columns of a row.
            capacity: rows that are kept until the learner takes them.
            last_ids: actor -> last number that the learner has of it, from its checkpoint.
        """
        self.spec, self.capacity = dict(spec), capacity
        self._received = dict(last_ids or {})
        self._taken = dict(self._received)
        self._parcels: deque[Parcel] = deque()
        self._waiting = 0
        self._stats: deque[tuple[str, dict[str, float]]] = deque(maxlen=MAX_STATS)
        self._last_stats: dict[str, int] = {}
        self._weights: tuple[int, memoryview] | None = None
        self._finished = False
        self._changed = threading.Condition()

    def push(self, actor: str, rows: Rows, first_id: int, wait_s: float = ROOM_S) -> int:
        """Store rows that are new and for which there is room; see `Channel.push`.

        Args:
            actor: name.
            rows: its rows.
            first_id: number of the first one.
            wait_s: time to wait for room.

        Raises:
            FinishedError: the training has finished.
        """
        count = self._checked(rows)
        with self._changed:
            end = time.monotonic() + wait_s
            while True:
                self._require_open()
                last = self._received.get(actor, -1)
                begin = last + 1 - first_id
                if begin < 0 or begin >= count:  # earlier rows are missing, or all are here
                    return last
                room = self.capacity - self._waiting
                left = end - time.monotonic()
                if room >= count - begin or (room > 0 and left <= 0):
                    break
                if left <= 0:
                    return last
                self._changed.wait(left)
            stop = min(count, begin + room)
            part = rows if (begin, stop) == (0, count) else {name: column[begin:stop] for name, column in rows.items()}
            self._parcels.append(Parcel(actor, last + 1, part))
            self._waiting += stop - begin
            self._received[actor] = last + stop - begin
            self._changed.notify_all()
            return self._received[actor]

    def take(self, wait_s: float = 0.0, limit: int | None = None) -> list[Parcel]:
        """Return the rows that have arrived, in the order of their arrival, and make room.

        Args:
            wait_s: time to wait for the first one.
            limit: largest number of rows; the others stay. None: all of them.
        """
        taken: list[Parcel] = []
        with self._changed:
            if not self._parcels and wait_s > 0:
                self._changed.wait_for(lambda: bool(self._parcels), wait_s)
            left = self._waiting if limit is None else min(limit, self._waiting)
            while left > 0:
                parcel = self._parcels.popleft()
                count = length_of(parcel.rows)
                if count > left:
                    first, rest = (
                        {n: c[part] for n, c in parcel.rows.items()} for part in (slice(left), slice(left, None))
                    )
                    self._parcels.appendleft(Parcel(parcel.actor, parcel.first_id + left, rest))
                    parcel, count = Parcel(parcel.actor, parcel.first_id, first), left
                taken.append(parcel)
                left -= count
                self._waiting -= count
                self._taken[parcel.actor] = parcel.first_id + count - 1
            self._changed.notify_all()
        return taken

    def received(self, actor: str) -> int:
        """Return the last number that has arrived of an actor, -1 for none."""
        with self._changed:
            return self._received.get(actor, -1)

    def all_received(self) -> dict[str, int]:
        """Return for each actor the last number that has arrived."""
        with self._changed:
            return dict(self._received)

    def last_ids(self) -> dict[str, int]:
        """Return for each actor the last number that the learner has taken, for a checkpoint."""
        with self._changed:
            return dict(self._taken)

    def finish(self) -> None:
        """Take no more rows: each later call of an actor raises `FinishedError`, from which it ends."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def _require_open(self) -> None:
        if self._finished:
            raise FinishedError("the training has finished: no more rows are needed.")

    def publish(self, version: int, weights: bytes | memoryview) -> None:
        """Replace the weights.

        Args:
            version: higher than that of the present ones.
            weights: not changed afterwards.

        Raises:
            ConfigError: the version is not higher.
        """
        with self._changed:
            if self._weights is not None and version <= self._weights[0]:
                raise ConfigError(
                    f"Weights of version {version} follow version {self._weights[0]}: expected a higher one."
                )
            self._weights = version, memoryview(weights)

    @property
    def version(self) -> int:
        """Version of the weights, -1 without any."""
        with self._changed:
            return -1 if self._weights is None else self._weights[0]

    def weights(self, newer_than: int) -> tuple[int, memoryview] | None:
        """Return version and bytes of the weights if they are newer.

        Raises:
            FinishedError: the training has finished.
        """
        with self._changed:
            self._require_open()
            return self._weights if self._weights is not None and self._weights[0] > newer_than else None

    def add_stats(self, actor: str, number: int, values: Mapping[str, float]) -> None:
        """Keep figures of an actor once; the oldest are dropped where the learner does not take them.

        Args:
            actor: name.
            number: of these figures, higher than that of its figures before; the same number again is a repeat.
            values: the figures.
        """
        with self._changed:
            if number > self._last_stats.get(actor, -1):
                self._last_stats[actor] = number
                self._stats.append((actor, dict(values)))

    def take_stats(self) -> list[tuple[str, dict[str, float]]]:
        """Return actor and figures, oldest first."""
        with self._changed:
            stats = list(self._stats)
            self._stats.clear()
        return stats

    def _checked(self, rows: Rows) -> int:
        """Return the number of rows.

        Raises:
            WireError: other columns, types or shapes than expected.
        """
        count = length_of(rows)
        if not count and not rows:
            return 0
        if rows.keys() != self.spec.keys():
            raise wire.WireError(f"Rows have the columns {sorted(rows)}, the learner expects {sorted(self.spec)}.")
        for name, (dtype, shape) in self.spec.items():
            wire.require(dict(rows), name, dtype, (count, *shape))
        return count


class InlineChannel:
    """The channel of an actor in the learner's own process: calls of the mailbox, without copies or threads."""

    def __init__(self, mailbox: Mailbox, actor: str = "actor_0") -> None:
        """Lead to a mailbox."""
        self._mailbox, self._actor = mailbox, actor
        self._next_stats = 0

    def push(self, rows: Rows, first_id: int) -> int:
        """Store rows; see `Channel.push`. It does not wait for room, which only its caller can make."""
        return self._mailbox.push(self._actor, rows, first_id, wait_s=0.0)

    def weights(self, newer_than: int) -> tuple[int, memoryview] | None:
        """Return newer weights; see `Channel.weights`."""
        return self._mailbox.weights(newer_than)

    def stats(self, values: Mapping[str, float]) -> None:
        """Keep figures; see `Channel.stats`."""
        self._mailbox.add_stats(self._actor, self._next_stats, values)
        self._next_stats += 1

    def close(self) -> None:
        """Do nothing."""


class RowSender:
    """Numbers the rows of an actor, and keeps the last ones for a learner that lost them.

    Attributes:
        next_id: number of the next row.
        sent: last number that the learner has.
    """

    def __init__(self, channel: Channel, kept: int, batch: int = 50) -> None:
        """Ask the learner for the last number that it has, and number on from there.

        Args:
            channel: to the learner.
            kept: rows that are kept; a learner whose checkpoint is older by more than that cannot be continued.
            batch: largest number of rows of one push.
        """
        self._channel, self._batch = channel, batch
        self._rows: deque[dict[str, np.ndarray]] = deque(maxlen=kept)
        self.sent = channel.push({}, 0)
        self.next_id = self.sent + 1

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, column -> value of its shape; `flush` sends it.

        Raises:
            ServerError: the learner has not taken rows for so long that one would be lost.
        """
        if self.waiting and self.waiting == self._rows.maxlen:
            raise ServerError(f"the learner has not taken {self.waiting} rows: flush until it has, before adding more.")
        self._rows.append({name: np.asarray(value) for name, value in row.items()})
        self.next_id += 1

    @property
    def waiting(self) -> int:
        """Rows that the learner does not have yet."""
        return self.next_id - 1 - self.sent

    def flush(self) -> bool:
        """Send what the learner does not have; return whether it has all of it now.

        Raises:
            ServerError: the learner does not answer, or lacks rows that are not kept any more.
        """
        while self.waiting:
            oldest = self.next_id - len(self._rows)
            if self.sent + 1 < oldest:
                raise ServerError(
                    f"the learner has rows up to {self.sent} of this actor, which keeps those from {oldest} on: its "
                    "checkpoint is too old. Save it more often, or keep more rows."
                )
            begin = self.sent + 1 - oldest
            rows = [self._rows[i] for i in range(begin, min(begin + self._batch, len(self._rows)))]
            columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            first, self.sent = self.sent + 1, self._channel.push(columns, self.sent + 1)
            if self.sent == first - 1:
                return False  # the mailbox is full
        return True
