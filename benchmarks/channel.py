"""Rows to a learner and weights from it, through loopback: `python benchmarks/channel.py`.

    python benchmarks/channel.py               # ours alone
    python benchmarks/channel.py --peer DIR    # beside agentlace, which HIL-SERL uses; DIR holds a clone
    python benchmarks/channel.py --ray         # beside the same channel over Ray, and how long Ray takes to start

The learner is another process. 50 rows: an actor has 50 transitions (25 + 10 values, 7 actions) or, of pictures, 10
transitions with two of 128 x 128; numbered, sent, stored by the learner and acknowledged. Weights: the learner makes
them known, 4 MB in 24 arrays, and the actor has them as arrays; the small request that asks for it is part of both.
The clone is never part of this repository; it needs lz4 and pyzmq, and its import of OpenCV, which nothing measured
here uses, is satisfied by an empty module. Over Ray the mailbox is an actor of Ray, which its learner, another process,
empties all the time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from measure import alternate, ratio, report

from regimen.agents.actor_learner import ray_cluster
from regimen.agents.actor_learner.agreement import Agreement
from regimen.agents.actor_learner.channel import Mailbox, RowSender
from regimen.agents.actor_learner.http_channel import LearnerServer
from regimen.agents.actor_learner.mailbox_settings import MailboxSettings
from regimen.agents.actor_learner.ray_channel import MailboxActor, RayClient, RayMailbox, asking
from regimen.agents.actor_learner.request_channel import RequestChannel
from regimen.config.schema import RayCfg
from regimen.system import wire
from regimen.system.message_client import MessageClient

TOKEN = "a token for a measurement"
PORT, PEER_PORT = 5951, 5953
STATES, PICTURES = 50, 10
VECTORS = {"obs/policy": 25, "obs/privileged": 10, "action": 7, "next/policy": 25, "next/privileged": 10}
IMAGES = ("obs/wrist_1", "obs/wrist_2", "next/wrist_1", "next/wrist_2")


def row(pictures: bool) -> dict[str, np.ndarray]:
    """Return one transition."""
    rng = np.random.default_rng(0)
    values = {name: rng.random(size).astype(np.float32) for name, size in VECTORS.items()}
    values |= {"reward": np.float32(0.5), "mask": np.float32(1.0)}
    images = {name: rng.integers(0, 255, (128, 128, 3), dtype=np.uint8) for name in IMAGES} if pictures else {}
    return values | images


def spec_of(values: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the columns of a row."""
    return {name: (str(np.asarray(v).dtype), np.shape(v)) for name, v in values.items()}


def params() -> dict[str, np.ndarray]:
    """Return 4 MB of weights."""
    rng = np.random.default_rng(1)
    return {f"layer_{k}": rng.standard_normal((209, 209)).astype(np.float32) for k in range(24)}


class Learner(Mailbox):
    """A mailbox that publishes its weights whenever an actor sends figures, and empties itself."""

    version = 0
    made = params()

    def add_stats(self, actor: str, number: int, values: Mapping[str, float]) -> None:
        """Publish."""
        self.version += 1
        self.publish(self.version, wire.to_bytes(self.made))

    def push(self, actor: str, rows: Any, first_id: int, wait_s: float = 1.0) -> int:
        """Store, and take out at once, as a learner with room does."""
        last = super().push(actor, rows, first_id, wait_s)
        self.take()
        return last


def serve() -> None:
    """Be the learner of both kinds of rows."""
    servers = [LearnerServer(Learner(spec_of(row(k == 1)), 10_000), TOKEN, port=PORT + k) for k in (0, 1)]
    for server in servers:
        server.start()
    threading.Event().wait()


def of_peer(folder: Path) -> tuple[Any, Any]:
    """Import the modules `trainer` and `data_store` of a clone."""
    sys.path.insert(0, str(folder))
    sys.modules.setdefault("cv2", types.ModuleType("cv2"))
    from agentlace import trainer
    from agentlace.data import data_store

    return trainer, data_store


def peer_config(trainer: Any) -> Any:
    """Return the same configuration for both sides."""
    return trainer.TrainerConfig(PEER_PORT, PEER_PORT + 1, request_types=["publish"])


def serve_peer(folder: Path) -> None:
    """Be the peer's learner."""
    trainer, data_store = of_peer(folder)
    weights = params()

    def on_request(kind: str, payload: Any) -> dict[str, Any]:
        server.publish_network(weights)
        return {}

    server = trainer.TrainerServer(peer_config(trainer), request_callback=on_request)
    for name in ("states", "pictures"):
        server.register_data_store(name, data_store.QueuedDataStore(10_000))
    server.start(threaded=True)
    threading.Event().wait()


@contextmanager
def other_process(*arguments: str) -> Iterator[None]:
    """Run this file with arguments."""
    with subprocess.Popen(
        [sys.executable, __file__, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def over_http() -> list[RequestChannel]:
    """Return channels for both kinds of rows."""
    return [RequestChannel(MessageClient(f"http://127.0.0.1:{PORT + k}", TOKEN, 30.0, 60.0), "actor") for k in (0, 1)]


@contextmanager
def over_ray() -> Iterator[tuple[list[RequestChannel], float]]:
    """Start Ray and an actor of it for each kind of rows; yield channels, and the seconds until they answer."""
    began = time.perf_counter()
    with ray_cluster.connected(RayCfg(), "benchmark") as ray, ExitStack() as stack:
        channels = []
        for pictures in (False, True):
            agreement = Agreement(None, {}, {}, {}, {}, 1)
            settings = MailboxSettings(spec_of(row(pictures)), 10_000, agreement, 1, 200)
            kind = ray.remote(MailboxActor).options(num_cpus=0, max_concurrency=8)
            mailbox = kind.remote(settings.encoded())
            learner = ray.remote(RayLearner).options(num_cpus=0, max_concurrency=2).remote(mailbox, settings.encoded())
            ray.get(learner.ready.remote())
            stop = learner.stop
            stack.callback(lambda stop=stop: ray.get(stop.remote()))
            learner.work.remote()
            channels.append(RequestChannel(RayClient(asking(mailbox)), "actor"))
            channels[-1].push({}, 0)
        yield channels, time.perf_counter() - began


class RayLearner:
    """Empties a mailbox of Ray, and publishes its weights whenever an actor sends figures."""

    def __init__(self, mailbox: Any, settings: bytes) -> None:
        """Begin."""
        self.mailbox = RayMailbox(asking(mailbox), MailboxSettings.decoded(settings), None, print)
        self.ended, self.version, self.made = False, 0, params()

    def ready(self) -> None:
        """Answer."""

    def stop(self) -> None:
        """Have `work` return."""
        self.ended = True

    def work(self) -> None:
        """Work until `stop`."""
        while not self.ended:
            self.mailbox.take(0.01)
            for _ in self.mailbox.take_stats():
                self.version += 1
                self.mailbox.publish(self.version, wire.to_bytes(self.made))


def works(channels: list[RequestChannel]) -> dict[str, Callable[[], int]]:
    """Return the works of our actor."""
    senders = [RowSender(channel, 200, count) for channel, count in zip(channels, (STATES, PICTURES), strict=True)]

    def pushing(sender: RowSender, count: int, values: dict[str, np.ndarray], times: int) -> Callable[[], int]:
        def work() -> int:
            for _ in range(times):
                for _ in range(count):
                    sender.add(values)
                while not sender.flush():
                    pass
            return times

        return work

    versions = itertools.count()

    def fetch() -> int:
        for _ in range(10):
            channels[0].stats({"wish": 1.0})
            version = next(versions)
            while (newer := channels[0].weights(version)) is None:  # over Ray the learner publishes a moment later
                time.sleep(0.0005)
            assert len(wire.decode(newer[1])) == 24
        return 10

    return {
        "push of 50 states": pushing(senders[0], STATES, row(False), 20),
        "push of 10 pairs of pictures": pushing(senders[1], PICTURES, row(True), 5),
        "weights of 4 MB": fetch,
    }


def peers(folder: Path) -> dict[str, Callable[[], int]]:
    """Return the works of the peer's actor; its `update` asks for the last number, sends, and waits for the answer."""
    trainer, data_store = of_peer(folder)
    stores = {name: data_store.QueuedDataStore(10_000) for name in ("states", "pictures")}
    clients = {
        name: trainer.TrainerClient(
            name, "127.0.0.1", peer_config(trainer), store, wait_for_server=True, timeout_ms=30_000
        )
        for name, store in stores.items()
    }
    arrived = threading.Event()
    clients["states"].recv_network_callback(lambda weights: arrived.set())

    def pushing(name: str, count: int, values: dict[str, np.ndarray], times: int) -> Callable[[], int]:
        def work() -> int:
            for _ in range(times):
                for _ in range(count):
                    stores[name].insert(values)
                assert clients[name].update()
            return times

        return work

    def fetch() -> int:
        for _ in range(10):
            arrived.clear()
            clients["states"].request("publish", {})
            assert arrived.wait(30.0)
        return 10

    def close() -> int:
        for client in clients.values():
            client.stop()
        return 1

    return {
        "push of 50 states": pushing("states", STATES, row(False), 3),
        "push of 10 pairs of pictures": pushing("pictures", PICTURES, row(True), 3),
        "weights of 4 MB": fetch,
        "close": close,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="folder with a clone of agentlace")
    parser.add_argument("--ray", action="store_true", help="measure the channel over Ray beside that over HTTP")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--serve", choices=("ours", "peer"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve() if args.serve == "ours" else serve_peer(args.peer)
    rows: dict[str, list[float]] = {}
    ratios: dict[str, tuple[float, float, float]] = {}
    with other_process("--serve", "ours"):
        own = works(over_http())
        if args.ray:
            with over_ray() as (channels, seconds):
                theirs = works(channels)
                for name, work in own.items():
                    rates = alternate({"http": work, "ray": theirs[name]}, args.repeats)
                    times = {who: [1e6 / rate for rate in values] for who, values in rates.items()}
                    rows |= {f"{name}, {who}": values for who, values in times.items()}
                    ratios[f"{name}: ray / http"] = ratio(times["ray"], times["http"])
                rows["start of Ray and two actors"] = [1e6 * seconds]
        elif args.peer is None:
            rates = alternate(own, args.repeats)
            rows = {name: [1e6 / rate for rate in values] for name, values in rates.items()}
        else:
            with other_process("--serve", "peer", "--peer", str(args.peer)):
                theirs = peers(args.peer)
                close = theirs.pop("close")
                for name, work in own.items():
                    rates = alternate({"ours": work, "agentlace": theirs[name]}, args.repeats)
                    times = {who: [1e6 / rate for rate in values] for who, values in rates.items()}
                    rows |= {f"{name}, {who}": values for who, values in times.items()}
                    ratios[f"{name}: agentlace / ours"] = ratio(times["agentlace"], times["ours"])
                close()
    report(Path(__file__).stem + "_ray" * args.ray, rows, ratios, "µs")


if __name__ == "__main__":
    main()
