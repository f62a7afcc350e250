"""The mailbox that Ray holds: lost answers and restarts at any moment neither lose nor double a row."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.messages import raises_naming
from regimen.agents.actor_learner import ray_channel
from regimen.agents.actor_learner.agreement import Agreement
from regimen.agents.actor_learner.channel import RowSender
from regimen.agents.actor_learner.mailbox_settings import MailboxSettings
from regimen.agents.actor_learner.ray_channel import MailboxActor, RayClient, RayMailbox, SilentError
from regimen.agents.actor_learner.request_channel import RequestChannel
from regimen.system import wire
from regimen.system.errors import ConfigError
from regimen.system.message_client import FinishedError, ServerError

SPEC = {"number": ("int64", ()), "camera": ("uint8", (2, 2))}
AGREEMENT = Agreement("numbered", {}, {}, {}, {"observations": {}}, 1)
SETTINGS = MailboxSettings(SPEC, 12, AGREEMENT, 5, 200)


class Place:
    """Where a mailbox is, as Ray has it: it may be replaced by a new one, and answers may be lost."""

    def __init__(self) -> None:
        self.mailbox = MailboxActor(SETTINGS.encoded())
        self.lost: Callable[[], bool] = lambda: False

    def restart(self) -> None:
        self.mailbox = MailboxActor(SETTINGS.encoded())

    def ask(self, data: bytes, seconds: float) -> bytes:
        if self.lost():
            raise SilentError("the question was lost")
        answer = self.mailbox.answer(data)
        if self.lost():
            raise SilentError("the answer was lost")
        return answer

    def learner(self, last_ids: dict[str, int] | None = None, warnings: list[str] | None = None) -> RayMailbox:
        return RayMailbox(self.ask, SETTINGS, last_ids, (warnings if warnings is not None else []).append)

    def channel(self, name: str = "actor0.0.0", patience_s: float = 30.0) -> RequestChannel:
        return RequestChannel(RayClient(self.ask, 1.0, patience_s), name)


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    return {"number": np.arange(first, first + count), "camera": np.zeros((count, 2, 2), np.uint8)}


def taken(learner: RayMailbox, limit: int | None = None) -> list[int]:
    return [int(n) for parcel in learner.take(0.0, limit) for n in parcel.rows["number"]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whatever_is_lost_and_restarted_each_row_arrives_once_and_in_order(seed: int) -> None:
    place, rng, total = Place(), random.Random(seed), 150
    place.lost = lambda: rng.random() < 0.1
    learner = place.learner()
    arrived: dict[str, list[int]] = {"a": [], "b": []}
    ended = threading.Event()

    def act(name: str) -> None:
        sender = RowSender(place.channel(name), 200, 7)
        while not ended.is_set():  # beyond the total: the last rows may be in a mailbox that dies
            for _ in range(5):
                sender.add({name: column[0] for name, column in rows(sender.next_id, 1).items()})
            while not ended.is_set() and not sender.flush():
                time.sleep(0.001)

    actors = [threading.Thread(target=act, args=(name,), daemon=True) for name in arrived]
    for actor in actors:
        actor.start()
    end, restarts, since = time.monotonic() + 60, 0, 0
    while min(map(len, arrived.values())) < total and time.monotonic() < end:
        for parcel in learner.take(0.01, rng.choice([None, 3, 16])):
            arrived[parcel.actor] += [int(n) for n in parcel.rows["number"]]
        assert learner.last_ids() == {name: found[-1] for name, found in arrived.items() if found}
        count = sum(map(len, arrived.values()))
        if count > since and restarts < 6 and rng.random() < 0.2:
            place.restart()
            restarts, since = restarts + 1, count
    ended.set()
    for actor in actors:
        actor.join(30)
    assert restarts == 6
    for found in arrived.values():
        assert len(found) >= total and found == list(range(len(found)))


def test_an_answer_that_was_lost_is_given_again() -> None:
    place = Place()
    learner, channel = place.learner(), place.channel()
    learner.take()
    channel.push(rows(0, 6), 0)
    channel.stats({"episode/return": 1.0})
    losses = iter([False, True])
    place.lost = lambda: next(losses, False)
    assert taken(learner) == [] and learner.take_stats() == []
    assert taken(learner, limit=2) == list(range(6)), "the limit of the first question was none"
    assert learner.take_stats() == [("actor0.0.0", {"episode/return": 1.0})]
    assert taken(learner) == [] and learner.take_stats() == []


def test_a_mailbox_takes_nothing_before_it_knows_what_the_learner_has() -> None:
    place = Place()
    learner, channel = place.learner({"actor0.0.0": 3}), place.channel()
    channel.hurry(0.05)
    with raises_naming(ServerError, "mailbox", "started again"):
        channel.push(rows(0, 6), 0)
    learner.take()
    assert channel.push(rows(0, 6), 0) == 5
    assert taken(learner) == [4, 5]


@pytest.mark.slow
def test_an_actor_waits_with_a_mailbox_that_answers_for_its_learner() -> None:
    place = Place()
    learner = place.learner()
    late = threading.Timer(2.5, learner.take)
    late.start()
    assert place.channel(patience_s=0.05).push(rows(0, 6), 0) == 5
    late.join()


def test_silence_of_the_mailbox_begins_with_the_first_question_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_channel, "SILENT_S", 0.3)
    place = Place()
    learner = place.learner()
    for _ in range(2):  # an answer ends the silence
        learner.take()
        time.sleep(0.4)  # a checkpoint is written: no question, so no silence
        place.lost = lambda: True
        assert learner.take() == []
        place.lost = lambda: False
    learner.take()
    place.lost = lambda: True
    with raises_naming(ServerError, "mailbox", "has not answered", "resume="):
        for _ in range(100):
            learner.take()
            time.sleep(0.02)


def test_a_restarted_mailbox_is_warned_of_and_gets_the_weights_again() -> None:
    place, warnings = Place(), list[str]()
    learner, channel = place.learner(warnings=warnings), place.channel()
    learner.publish(7, b"weights")
    assert channel.push(rows(0, 4), 0) == 3
    place.restart()
    assert taken(learner) == [] and len(warnings) == 1
    version, weights = channel.weights(-1) or (None, b"")
    assert (version, bytes(weights)) == (7, b"weights") and channel.weights(7) is None
    assert channel.push(rows(4, 4), 4) == -1, "the rows before are missing"


def test_a_mailbox_that_dies_again_and_again_ends_the_run() -> None:
    place = Place()
    learner = place.learner()
    learner.take()
    with raises_naming(ServerError, "3 times", "resume="):
        for _ in range(4):
            place.restart()
            learner.take()


@pytest.mark.slow
def test_a_full_mailbox_makes_actors_wait() -> None:
    place = Place()
    learner, channel = place.learner(), place.channel()
    learner.take()
    assert channel.push(rows(0, 20), 0) == SETTINGS.capacity - 1
    assert taken(learner, limit=5) == list(range(5))
    assert channel.push(rows(12, 8), 12) == SETTINGS.capacity + 4


def test_actors_end_when_the_training_has_finished() -> None:
    place = Place()
    learner, channel = place.learner(), place.channel()
    learner.take()
    learner.finish()
    with pytest.raises(FinishedError):
        channel.push(rows(0, 1), 0)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"number": np.zeros(3, np.int32), "camera": np.zeros((3, 2, 2), np.uint8)}, ["number", "int64"]),
        ({"number": np.zeros(3, np.int64), "camera": np.zeros((3, 2, 3), np.uint8)}, ["camera", "(3, 2, 2)"]),
        ({"number": np.zeros(3, np.int64)}, ["camera"]),
    ],
)
def test_rows_of_another_form_are_refused(broken: dict[str, Any], named: list[str]) -> None:
    place = Place()
    place.learner().take()
    with raises_naming(wire.WireError, *named):
        place.channel().push(broken, 0)


def test_an_actor_of_another_task_is_refused() -> None:
    place = Place()
    place.learner().take()
    other = Agreement("another", {}, {}, {}, {"observations": {}}, 1)
    with raises_naming(ConfigError, "another", "numbered"):
        place.channel().hello(other.message())


@pytest.mark.parametrize("data", [b"", b"RGM1", b"\x80\x04K\x01.", bytes(100)])
def test_bytes_that_are_no_message_are_answered_with_an_error(data: bytes) -> None:
    assert wire.decode(Place().mailbox.answer(data))["error"] == "WireError"
