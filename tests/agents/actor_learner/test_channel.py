"""Rows between actors and a learner: none is lost or stored twice, whatever breaks; weights only become newer."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from regimen.agents.actor_learner.channel import Channel, InlineChannel, Mailbox, RowSender
from regimen.agents.actor_learner.http_channel import LearnerClient, LearnerServer
from regimen.agents.actor_learner.request_channel import LearnerUnreachableError, RequestChannel
from regimen.system.errors import ConfigError
from regimen.system.message_client import FinishedError, ServerError
from regimen.system.wire import WireError

TOKEN = "a token of this test"
SPEC = {"observation": ("float32", (3,)), "camera": ("uint8", (2, 2, 3)), "reward": ("float32", ())}
Connect = Callable[[Mailbox], Channel]


@pytest.fixture(params=["inline", "http"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Make a channel to a mailbox, in this process or through loopback."""
    opened: list[Any] = []

    def make(mailbox: Mailbox) -> Channel:
        if request.param == "inline":
            return InlineChannel(mailbox, "a")
        server = LearnerServer(mailbox, TOKEN)
        server.start()
        channel = RequestChannel(LearnerClient(server.url, TOKEN, 5.0, 0.3), "a")
        opened.extend((channel.close, server.stop))
        return channel

    yield make
    for close in opened:
        close()


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    """Rows whose reward is their number."""
    numbers = np.arange(first, first + count)
    observation = np.repeat(numbers[:, None], 3, 1).astype(np.float32)
    return {"observation": observation, "camera": np.zeros((count, 2, 2, 3), np.uint8), "reward": numbers.astype("f4")}


def row(number: int) -> dict[str, Any]:
    return {name: column[0] for name, column in rows(number, 1).items()}


def numbers(mailbox: Mailbox) -> list[int]:
    """The numbers of all rows that have arrived; their ids agree."""
    found = []
    for parcel in mailbox.take():
        values = [int(r) for r in parcel.rows["reward"]]
        assert values == list(range(parcel.first_id, parcel.first_id + len(values)))
        found += values
    return found


def test_each_row_is_stored_once_however_often_it_is_sent(connect: Connect) -> None:
    mailbox = Mailbox(SPEC, 100)
    channel = connect(mailbox)
    assert channel.push({}, 0) == -1
    assert channel.push(rows(0, 10), 0) == 9
    assert channel.push(rows(0, 10), 0) == 9
    assert channel.push(rows(5, 10), 5) == 14
    assert channel.push(rows(30, 5), 30) == 14  # rows 15 to 29 are missing: nothing is stored
    assert channel.push(rows(15, 1), 15) == 15
    assert numbers(mailbox) == list(range(16))
    assert mailbox.last_ids() == {"a": 15}


def test_a_full_mailbox_takes_what_fits_and_no_more(connect: Connect) -> None:
    mailbox = Mailbox(SPEC, 12)
    channel = connect(mailbox)
    assert channel.push(rows(0, 10), 0) == 9
    assert channel.push(rows(10, 10), 10) == 11
    assert channel.push(rows(12, 3), 12) == 11
    assert numbers(mailbox) == list(range(12))
    assert channel.push(rows(12, 3), 12) == 14


def test_a_push_waits_for_room() -> None:
    mailbox = Mailbox(SPEC, 10)
    mailbox.push("a", rows(0, 10), 0)
    threading.Timer(0.1, mailbox.take).start()
    begun = time.monotonic()
    assert mailbox.push("a", rows(10, 10), 10, wait_s=5.0) == 19
    assert time.monotonic() - begun < 4


def test_rows_of_another_form_are_refused(connect: Connect) -> None:
    channel = connect(Mailbox(SPEC, 10))
    good = rows(0, 2)
    for bad in (
        {**good, "reward": np.zeros(2)},
        {**good, "observation": np.zeros((2, 4), np.float32)},
        {**good, "camera": np.zeros((3, 2, 2, 3), np.uint8)},
        {**good, "action": np.zeros(2, np.float32)},
        {"reward": good["reward"]},
    ):
        with pytest.raises(WireError):
            channel.push(bad, 0)
    assert channel.push(good, 0) == 1


def test_weights_arrive_once_for_each_version(connect: Connect) -> None:
    mailbox = Mailbox(SPEC, 10)
    channel = connect(mailbox)
    assert channel.weights(-1) is None
    for version in (3, 4):
        mailbox.publish(version, bytes([version]) * 1000)
        newer = channel.weights(version - 1)
        assert newer is not None and (newer[0], bytes(newer[1])) == (version, bytes([version]) * 1000)
        assert channel.weights(version) is None
    with pytest.raises(ConfigError, match="4"):
        mailbox.publish(4, b"")


def test_figures_of_actors_arrive_in_order(connect: Connect) -> None:
    mailbox = Mailbox(SPEC, 10)
    channel = connect(mailbox)
    for value in (1.0, 2.0):
        channel.stats({"return": value})
    assert mailbox.take_stats() == [("a", {"return": 1.0}), ("a", {"return": 2.0})]
    assert mailbox.take_stats() == []


def test_figures_whose_answer_was_lost_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox(SPEC, 10)
    server = LearnerServer(mailbox, TOKEN)
    server.start()
    channel = RequestChannel(LearnerClient(server.url, TOKEN, 5.0, 1.0), "a")
    receive, calls = LearnerClient._reply_head, itertools.count()

    def breaks(self: LearnerClient, file: Any) -> Any:
        head = receive(self, file)
        if next(calls) % 2 == 0:
            raise ConnectionResetError("cable")
        return head

    monkeypatch.setattr(LearnerClient, "_reply_head", breaks)
    for value in (1.0, 2.0):
        channel.stats({"return": value})
    assert next(calls) == 4
    assert mailbox.take_stats() == [("a", {"return": 1.0}), ("a", {"return": 2.0})]
    channel.close()
    server.stop()


def test_a_learner_that_has_finished_waits_until_its_actors_heard_of_it() -> None:
    mailbox = Mailbox(SPEC, 10)
    server = LearnerServer(mailbox, TOKEN)
    server.start()
    channel = RequestChannel(LearnerClient(server.url, TOKEN, 5.0, 1.0), "a")
    channel.push({}, 0)
    mailbox.finish()
    begun = time.monotonic()
    server.wait_for_farewells(0.3)
    assert time.monotonic() - begun >= 0.3, "the actor has not asked again"
    heard: list[bool] = []

    def ask() -> None:
        with pytest.raises(FinishedError):
            channel.weights(-1)
        heard.append(True)

    asking = threading.Timer(0.3, ask)
    asking.start()
    begun = time.monotonic()
    server.wait_for_farewells(20.0)
    assert time.monotonic() - begun < 10
    asking.join()
    assert heard
    channel.close()
    server.stop()


def test_a_sender_waits_for_a_slow_learner_and_loses_nothing(connect: Connect) -> None:
    mailbox, stored, ended = Mailbox(SPEC, 8), [], threading.Event()

    def learn() -> None:
        while not ended.wait(0.005):
            stored.extend(numbers(mailbox))

    learner = threading.Thread(target=learn)
    learner.start()
    sender = RowSender(connect(mailbox), kept=40, batch=5)
    for number in range(200):
        sender.add(row(number))
        while sender.waiting > 30:
            sender.flush()
    while not sender.flush():
        time.sleep(0.002)
    ended.set()
    learner.join()
    assert stored + numbers(mailbox) == list(range(200))


def test_a_learner_that_is_restored_gets_the_rows_since_its_checkpoint() -> None:
    class Restarted:
        """A channel to a learner that is killed now and then, and continues from its checkpoint; pushes get lost."""

        def __init__(self) -> None:
            self.random = random.Random(0)
            self.saved: tuple[dict[str, int], list[int]] = ({}, [])
            self.restore()

        def restore(self) -> None:
            self.mailbox, self.stored = Mailbox(SPEC, 20, self.saved[0]), list(self.saved[1])

        def push(self, rows: Any, first_id: int) -> int:
            event = self.random.random()
            last = self.mailbox.push("a", rows, first_id, 0.0) if event < 0.9 else first_id - 1
            if event < 0.5:
                self.stored += numbers(self.mailbox)
            if 0.3 < event < 0.5:
                self.saved = self.mailbox.last_ids(), list(self.stored)
            if event > 0.85:
                self.restore()
            return last

    learner: Any = Restarted()
    sender = RowSender(learner, kept=500, batch=7)
    sent = 0
    for _ in range(3000):
        if sender.waiting < 30 and sent < 600:
            sender.add(row(sent))
            sent += 1
        sender.flush()
    learner.stored += numbers(learner.mailbox)
    assert learner.stored == list(range(len(learner.stored))) and len(learner.stored) > 400


def test_a_restarted_actor_numbers_on_and_one_without_its_rows_is_told() -> None:
    mailbox = Mailbox(SPEC, 100, {"a": 41})
    sender = RowSender(InlineChannel(mailbox, "a"), kept=10)
    assert sender.next_id == 42
    for number in range(42, 50):
        sender.add(row(number))
        assert sender.flush()
    sender._channel = InlineChannel(Mailbox(SPEC, 100, {"a": 30}), "a")
    sender.add(row(50))
    with pytest.raises(ServerError, match="checkpoint"):
        sender.flush() or sender.flush()
    full = RowSender(InlineChannel(Mailbox(SPEC, 1), "a"), kept=2)
    with pytest.raises(ServerError, match="not taken"):
        for number in range(5):
            full.add(row(number))


def test_several_actors_at_once_lose_nothing() -> None:
    mailbox = Mailbox(SPEC, 64)
    server = LearnerServer(mailbox, TOKEN)
    server.start()

    def act(name: str) -> None:
        channel = RequestChannel(LearnerClient(server.url, TOKEN, 10.0, 1.0), name)
        sender = RowSender(channel, kept=200, batch=9)
        for number in range(100):
            sender.add(row(number))
        while not sender.flush():
            pass
        channel.close()

    threads = [threading.Thread(target=act, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    found: dict[str, list[int]] = {name: [] for name in "abc"}
    while any(thread.is_alive() for thread in threads):
        for parcel in mailbox.take(wait_s=0.05):
            found[parcel.actor] += [int(r) for r in parcel.rows["reward"]]
    for parcel in mailbox.take():
        found[parcel.actor] += [int(r) for r in parcel.rows["reward"]]
    server.stop()
    assert all(values == list(range(100)) for values in found.values())


def test_a_hundred_actors_are_connected_at_once() -> None:
    mailbox = Mailbox(SPEC, 1000)
    server = LearnerServer(mailbox, TOKEN)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        for number in range(100):
            channel = RequestChannel(LearnerClient(server.url, TOKEN, 5.0, 0.5), f"actor{number}")
            stack.callback(channel.close)
            assert channel.push(rows(number, 1), 0) == 0
        assert sorted(int(parcel.rows["reward"][0]) for parcel in mailbox.take()) == list(range(100))


def test_names_that_could_be_taken_for_one_another_are_refused() -> None:
    server = LearnerServer(Mailbox(SPEC, 10), TOKEN)
    server.start()
    channels = [RequestChannel(LearnerClient(server.url, TOKEN, 5.0, 0.2), "x" * count) for count in (80, 81)]
    assert channels[0].push({}, 0) == -1
    with pytest.raises(ServerError, match="81"):
        channels[1].push({}, 0)
    for channel in channels:
        channel.close()
    server.stop()


def test_a_learner_that_is_gone_is_an_error_in_time() -> None:
    server = LearnerServer(Mailbox(SPEC, 10), TOKEN)
    server.start()
    channel = RequestChannel(LearnerClient(server.url, TOKEN, 5.0, 0.2), "a")
    channel.push({}, 0)
    server.stop()
    with pytest.raises(ServerError):
        channel.push(rows(0, 1), 0)
    with pytest.raises(ServerError):
        channel.weights(0)
    channel.close()


def test_a_connection_that_falls_silent_is_renewed_until_the_learner_is_back() -> None:
    """As where a network drops packets, and where the machine of a learner is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        port = listener.getsockname()[1]
        channel = RequestChannel(LearnerClient(f"http://127.0.0.1:{port}", TOKEN, 0.5, 20.0), "a")
        answer = pool.submit(channel.push, rows(0, 3), 0)
        with listener.accept()[0]:
            listener.close()
            server = LearnerServer(Mailbox(SPEC, 10), TOKEN, port=port)
            server.start()
            assert answer.result() == 2
    channel.close()
    server.stop()


def test_a_learner_that_stays_silent_is_an_error_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = RequestChannel(LearnerClient(f"http://127.0.0.1:{listener.getsockname()[1]}", TOKEN, 0.2, 0.3), "a")
        begun = time.monotonic()
        with pytest.raises(LearnerUnreachableError):
            channel.push({}, 0)
        assert 0.5 < time.monotonic() - begun < 3
        channel.close()


def test_a_learner_takes_as_many_rows_as_it_can_use_and_knows_which(connect: Connect) -> None:
    mailbox = Mailbox(SPEC, 20)
    channel = connect(mailbox)
    channel.push(rows(0, 8), 0)
    channel.push(rows(8, 8), 8)
    taken = [(p.first_id, p.rows["reward"].tolist()) for p in mailbox.take(limit=10)]
    assert taken == [(0, [0, 1, 2, 3, 4, 5, 6, 7]), (8, [8, 9])]
    assert mailbox.last_ids() == {"a": 9} and mailbox.received("a") == 15
    assert channel.push(rows(16, 14), 16) == 29, "room for what was taken"
    assert numbers(mailbox) == list(range(10, 30))


def test_actors_end_when_the_learner_has_finished(connect: Connect) -> None:
    mailbox = Mailbox(SPEC, 4)
    channel = connect(mailbox)
    channel.push(rows(0, 4), 0)
    threading.Timer(0.1, mailbox.finish).start()
    with pytest.raises(FinishedError):
        while True:  # a push that waits for room is ended as well
            channel.push(rows(4, 1), 4)
    with pytest.raises(FinishedError):
        channel.weights(-1)
