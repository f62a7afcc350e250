"""The actors of a run as named actors of Ray, on the machines of its cluster."""

from __future__ import annotations

import faulthandler
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.agents.actor_learner import ray_cluster
from regimen.agents.actor_learner.actor_group import END_GRACE_S, ActorGroup, End, account_of, log_name
from regimen.agents.actor_learner.mailbox_settings import MailboxSettings
from regimen.agents.actor_learner.ray_channel import MailboxActor, RayClient, RayMailbox, asking, last_line
from regimen.agents.actor_learner.request_channel import RequestChannel
from regimen.runs import worker
from regimen.runs.run import Run
from regimen.system import files, wire
from regimen.system.errors import PreflightError, RegimenError
from regimen.system.message_client import ServerError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from regimen.config.schema import RayCfg

START_S = 120.0
"""Time for Ray to start an actor, for which resources may have to become free."""

CONTROL = "control"
"""Calls that are answered while an actor acts."""

KEYS = {"CPU": "num_cpus", "GPU": "num_gpus"}
"""Name of a resource in Ray -> its key; that of any other one is `resources.<name>`."""

EXIT_TYPE = re.compile(r"Worker exit type: (\w+)")


class ActingActor:
    """An actor in a process of Ray. Each method takes and returns the bytes of a message."""

    def __init__(self) -> None:
        """Wait for the order."""
        self._ended = threading.Event()

    def ready(self) -> bytes:
        """Answer, as soon as Ray has started the process."""
        return b""

    def stop(self) -> bytes:
        """Have `act` return soon."""
        self._ended.set()
        return b""

    def act(self, order: bytes) -> bytes:
        """Act until the learner has finished, or until `stop`; return the env steps or the error.

        Args:
            order: made by `RayActors`.
        """
        message = wire.decode(order)
        name = wire.require_plain(message, "name", str)
        _enter(message)
        run = _reachable(message)
        try:
            steps = self._act(message, name, run)
        except Exception as error:
            if self._ended.is_set():
                return wire.to_bytes({"steps": 0})  # the learner is gone, or ends: this is no failure of the actor
            return wire.to_bytes(account_of(error, name, run))
        print(f"{name} ends after {steps} steps", flush=True)
        return wire.to_bytes({"steps": steps})

    def _act(self, message: wire.Message, name: str, run: Run | None) -> int:
        plain = wire.require_plain(message, "config", dict)
        worker.set_threads((plain.get("hardware") or {}).get("threads"))
        import ray

        from regimen.agents.actor_learner.acting import act
        from regimen.config.structured import build_config

        config = build_config(plain)
        if run is not None and getattr(config.sim, "MUJOCO", False):
            worker.keep_mujoco_log(run.logs / f"{log_name(name)}.mujoco.txt")
        mailbox = ray.get_actor(message["mailbox"], namespace=message["namespace"])
        print(f"{name} acts on {os.uname().nodename}", flush=True)
        return act(config, RequestChannel(RayClient(asking(mailbox)), name), name, self._ended.is_set)


def _enter(message: wire.Message) -> None:
    """Look for modules and files where the learner does, as far as this machine has these folders."""
    faulthandler.enable()
    sys.path[:] = dict.fromkeys([*(path for path in message["path"] if Path(path).exists()), *sys.path])
    if Path(message["folder"]).is_dir():
        os.chdir(message["folder"])


def _reachable(message: wire.Message) -> Run | None:
    """Return the run if this machine has its directory; then the output of this process goes to its log."""
    try:
        run = Run.open(Path(message["run"]))
        with files.open_own(run.logs / f"{log_name(message['name'])}.log", "ab") as log:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
    except (OSError, RegimenError):
        return None
    return run


class RayActors(ActorGroup):
    """The actors of a run where Ray puts them."""

    def __init__(self, run: Run, count: int, cfg: RayCfg, mailbox: RayMailbox, place: wire.Message) -> None:
        """Start nothing yet.

        Args:
            run: of the learner.
            count: number of actors.
            cfg: what each reserves.
            mailbox: receives the rows, by which an actor that works is recognised.
            place: name and namespace of the mailbox, for the actors.
        """
        import ray

        super().__init__(run, count, mailbox)
        self._ray, self._cfg = ray, cfg
        paths = {"path": list(sys.path), "folder": str(Path.cwd()), "run": str(run.dir)}
        self._order = {**place, **paths, "config": run.config}
        groups: Any = {"concurrency_groups": {CONTROL: 1}}
        self._kind: Any = ray.remote(**groups)(ActingActor)
        self._actors: dict[int, ActorHandle[Any]] = {}
        self._ready: dict[int, Any] = {}
        self._acting: dict[int, Any] = {}
        self._since: dict[int, float] = {}

    def _launch(self, number: int, name: str) -> None:
        if number in self._actors:
            self._ray.kill(self._actors[number])
        amounts = {"num_cpus": self._cfg.num_cpus, "num_gpus": self._cfg.num_gpus, "resources": self._cfg.resources}
        actor = self._kind.options(name=name, max_restarts=0, **amounts).remote()
        self._actors[number], self._since[number] = actor, time.monotonic()
        self._ready[number] = actor.ready.remote()
        self._acting[number] = actor.act.remote(wire.to_bytes({**self._order, "name": name}))

    def _end_of(self, number: int, name: str) -> End | None:
        from ray.exceptions import RayError

        if number in self._ready:
            if not self._ray.wait([self._ready[number]], timeout=0)[0]:
                if time.monotonic() - self._since[number] < START_S:
                    return None
                raise ServerError(f"{log_name(name)} was not started within {START_S:g} s: {self._lack()}")
            del self._ready[number]
        if not self._ray.wait([self._acting[number]], timeout=0)[0]:
            return None
        try:
            account = wire.decode(self._ray.get(self._acting[number], timeout=END_GRACE_S))
        except RayError as error:
            return End(_how(error))
        return End("no error", account if "error" in account else None)

    def _lack(self) -> str:
        free = {name: amount for name, amount in self._ray.available_resources().items() if ":" not in name}
        return f"it reserves {reserved(self._cfg)}, free are {free}. Reserve less, or end what else the cluster does."

    def stop(self) -> None:
        """End all actors, by force where they do not end by themselves.

        An error of Ray is no reason to raise here: what ended the learner says more, or is a stop that was asked for.
        """
        for actor in self._actors.values():
            with suppress(Exception):  # Ray raises plain ones as well
                actor.stop.options(concurrency_group=CONTROL).remote()
        if acting := list(self._acting.values()):
            with suppress(Exception):
                self._ray.wait(acting, num_returns=len(acting), timeout=END_GRACE_S)
        for actor in self._actors.values():
            with suppress(Exception):
                self._ray.kill(actor)
        self._actors, self._acting = {}, {}


def reserved(cfg: RayCfg) -> dict[str, float]:
    """Return what an actor reserves, by the names that Ray has."""
    amounts = {"CPU": cfg.num_cpus, "GPU": cfg.num_gpus, **cfg.resources}
    return {name: amount for name, amount in amounts.items() if amount}


@contextmanager
def on_ray(
    run: Run, count: int, cfg: RayCfg, settings: MailboxSettings, last_ids: Mapping[str, int] | None
) -> Iterator[tuple[RayMailbox, RayActors]]:
    """Start Ray or connect to it, start the mailbox, and yield it with the actors, which are not started yet.

    Args:
        run: of the learner.
        count: number of actors.
        cfg: address, and what each actor reserves.
        settings: of the mailbox.
        last_ids: actor -> last number that the learner has of it, from its checkpoint.

    Raises:
        PreflightError: no cluster can be reached, or it has less than the actors reserve.
    """
    namespace = f"regimen.{run.id}"
    name = f"mailbox.{len(run.record.resumed)}"
    run.progress(note="starting Ray")
    with ray_cluster.connected(cfg, namespace) as ray:
        require_resources(ray.cluster_resources(), cfg, count, run.warn)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        options = {"name": name, "num_cpus": 0, "max_restarts": -1, "max_concurrency": 2 * count + 8}
        kind = ray.remote(MailboxActor).options(scheduling_strategy=here, **options)
        handle = kind.remote(settings.encoded())
        mailbox = RayMailbox(asking(handle), settings, last_ids, run.warn)
        run.progress(note=None)
        try:
            yield mailbox, RayActors(run, count, cfg, mailbox, {"mailbox": name, "namespace": namespace})
        finally:
            with suppress(Exception):  # Ray raises plain ones as well
                ray.kill(handle)


def require_resources(has: Mapping[str, float], cfg: RayCfg, count: int, warn: Callable[[str], None]) -> None:
    """Raise where the actors can never have what they reserve; free amounts are not looked at.

    Args:
        has: name -> total amount, of a Ray of the run or of all machines of a cluster.
        cfg: address, and what each actor reserves.
        count: number of actors.
        warn: called with a line where a cluster has less than they all reserve: it may grow.

    Raises:
        PreflightError: a Ray of the run has too little, or no machine of the cluster has any.
    """
    for name, amount in reserved(cfg).items():
        total = has.get(name, 0.0)
        if amount * count <= total:
            continue
        key = f"hardware.channel.ray.{KEYS.get(name, f'resources.{name}')}"
        asked = f"{key}={amount:g}: {count} actors reserve {amount * count:g} {name}"
        less = f"Type {key}={cfg.share_of(total, count):g}, or fewer actors"
        if cfg.address is None and total:
            raise PreflightError(f"{asked}, Ray has {total:g}. {less}.")
        if cfg.address is None:
            raise PreflightError(f"{asked}, this machine has none. Leave {key} away.")
        if not total:
            raise PreflightError(
                f"{asked}, no machine of the cluster has it. Type `ray start --address=<host:port of its head> "
                f"{_option(name)}` on one that has it, or leave {key} away."
            )
        warn(f"{asked}, the cluster has {total:g} so far; without more machines some actors do not start. {less}")


def _option(name: str) -> str:
    """Return the option of `ray start` by which a machine has a resource."""
    return f"--{KEYS[name].replace('_', '-')}=1" if name in KEYS else f"--resources='{json.dumps({name: 1})}'"


def _how(error: Exception) -> str:
    """Return how an actor of Ray died, in a few words."""
    found = EXIT_TYPE.search(str(error))
    if found:
        return f"the death of its process ({found[1]})"
    return f"an error of Ray ({last_line(error)})"
