"""A simulator behind HTTP: each client gets envs of its own, which one thread owns.

A request of a client has the number of the one before plus one. The last answer is kept, and is the answer to the same
number again: a client whose connection broke sends its request once more without harm. A client that sends nothing for
the time of its lease, not even a heartbeat, loses its envs.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from regimen.config.schema import Config
from regimen.config.structured import to_plain
from regimen.config.targets import resolve
from regimen.display.formatting import visible
from regimen.envs.remote import robot_endpoints
from regimen.envs.remote.config import require_same
from regimen.envs.remote.settings import client_config
from regimen.envs.robot_arm import RobotServerTask
from regimen.envs.vec_env import restores
from regimen.system import wire
from regimen.system.errors import ConfigError, RegimenError
from regimen.system.message_client import BusyError, ServerError
from regimen.system.message_server import BINARY, JSON, MessageServer, Reply, Request, Tls

ROBOT = "robot endpoints"
"""Name of the client that uses the JSON endpoints."""

ROBOT_LEASE_S = 600.0
"""Its lease: such a client sends no heartbeats, and a person may think for a while."""

OPTIONAL = ("optimal_action", "scripted_expert", "distance_to_goal", "failing", "restores", "restart")
"""Methods that an env may have; a client has those that the env has."""


@dataclass
class Session:
    """A client that holds envs.

    Attributes:
        key: drawn by the client.
        client: its name, for messages.
        lease_s: time without requests after which it loses its envs.
        seen: time of the last request, of the monotonic clock.
        last_id: number of the last request that was carried out; -1 before the first one.
        last_reply: answer to it.
        turn: held while a request is carried out: a repeat of it waits.
    """

    key: str
    client: str
    lease_s: float
    seen: float = field(default_factory=time.monotonic)
    last_id: int = -1
    last_reply: Reply | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    def has_expired(self) -> bool:
        """Return whether the client has been silent for longer than its lease; during a request it is not."""
        return not self.turn.locked() and time.monotonic() - self.seen > self.lease_s


class _Job:
    """A call for the thread of a slot, and its outcome."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call, self.done = call, threading.Event()
        self.value: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.value = self.call()
        except Exception as error:
            if not isinstance(error, RegimenError):
                traceback.print_exc()
            self.error = error
        self.done.set()

    def outcome(self) -> Any:
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.value


class Slot:
    """Place for the envs of one client. All calls of the envs are made in the thread that calls `work`.

    Attributes:
        session: of the client that has it, None while it is free.
        env: the envs; None before they are opened.
        experts: scripted experts of the env, in the order in which they were made.
        steps: env steps so far, of all clients.
    """

    def __init__(self) -> None:
        self.session: Session | None = None
        self.env: Any = None
        self.experts: list[Any] = []
        self.steps = 0
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def run(self, call: Callable[[], Any]) -> Any:
        """Have the owner's thread make a call; return what it returns, or raise what it raises."""
        job = _Job(call)
        self._jobs.put(job)
        if self._stopped.is_set():
            self._refuse_all()
        return job.outcome()

    def work(self, seconds: float) -> None:
        """Make the calls that arrive within `seconds`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self._jobs.get(timeout=left).run()
            except queue.Empty:
                return

    def work_until_stopped(self) -> None:
        """Make calls until `stop`, then free the envs."""
        while not self._stopped.is_set():
            self.work(0.2)
        self.close()

    def stop(self) -> None:
        """Refuse all calls from now on."""
        self._stopped.set()
        self._refuse_all()

    def open(self, config: Config) -> Any:
        """Open envs in place of the present ones and return them; from the owner's thread."""
        self.close()
        self.env = resolve(config.env._target_).open(config)
        return self.env

    def close(self) -> None:
        """Free the envs; from the owner's thread."""
        env, self.env, self.experts = self.env, None, []
        if env is not None:
            env.close()

    def _refuse_all(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            job.error = ServerError("the server is stopping.")
            job.done.set()


@dataclass
class Limits:
    """Bounds of what clients may ask for.

    Attributes:
        clients: number of clients at once.
        max_envs: envs of one client.
        lease_s: seconds without a request or heartbeat after which a client loses its envs.
        max_body: bytes of one request.
    """

    clients: int = 1
    max_envs: int = 4096
    lease_s: float = 15.0
    max_body: int = 256 * 2**20


class SimulatorServer:
    """Serves the task of a configuration to clients.

    The first slot is that of the thread which calls `work`, because some simulators need the main thread; each further
    one has a thread of its own.

    Attributes:
        url: where it listens.
    """

    def __init__(
        self, config: Config, limits: Limits, token: str, host: str = "127.0.0.1", port: int = 0, tls: Tls | None = None
    ) -> None:
        """Bind the address; `start` begins to answer.

        Args:
            config: of the server's run; its task and simulator.
            limits: of clients.
            token: that every request must have.
            host: address to listen at.
            port: 0: a free one.
            tls: encrypts the connections.

        Raises:
            PreflightError: the address is in use, or the certificate cannot be read.
        """
        self._config, self._limits = config, limits
        self._slots = [Slot() for _ in range(limits.clients)]
        self._assigning = threading.Lock()
        self._threads = [threading.Thread(target=slot.work_until_stopped, daemon=True) for slot in self._slots[1:]]
        self._calls = EnvCalls()
        larger = "Start it with a larger stage.max_request_mb."
        connections = (
            2 * limits.clients + 16
        )  # each client has one for its heartbeats; and those that ask or are refused
        self._server = MessageServer(self._answer, host, port, token, limits.max_body, tls, larger, connections)
        self.url = self._server.url

    @property
    def steps(self) -> int:
        """Env steps so far, of all clients."""
        return sum(slot.steps for slot in self._slots)

    @property
    def clients(self) -> list[str]:
        """Names of the present clients."""
        return [slot.session.client for slot in self._slots if slot.session is not None]

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()
        for thread in self._threads:
            thread.start()

    def work(self, seconds: float) -> None:
        """Make the calls of the first slot for `seconds`, and free the envs of clients whose lease has ended."""
        self._slots[0].work(seconds)
        for slot in self._slots:
            session = slot.session
            if session is None or not session.has_expired() or not session.turn.acquire(blocking=False):
                continue
            try:
                print(f"{session.client}: no request for {session.lease_s:g} s, its envs are freed", flush=True)
                self._free(slot, session, owned=slot is self._slots[0])
            finally:
                session.turn.release()

    def stop(self) -> None:
        """Stop answering and free all envs; from the thread that calls `work`."""
        self._server.stop()
        for slot in self._slots:
            slot.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=30.0)
        self._slots[0].close()

    def _free(self, slot: Slot, session: Session, owned: bool = False) -> None:
        """Close the envs of a client, whose turn the caller holds; the place is free even where `close` fails.

        Args:
            slot: of the client.
            session: of the client.
            owned: whether this is the thread that owns the slot.
        """
        if owned:
            _Job(slot.close).run()  # an error of `close` is written to the log, here and in the owner's thread
        else:
            with suppress(Exception):
                slot.run(slot.close)
        with self._assigning:
            if slot.session is session:
                slot.session = None

    def _answer(self, request: Request) -> Reply:
        """Answer a request, in the thread of its connection."""
        if request.content_type != BINARY:
            try:
                return self._answer_robot(request)
            except RegimenError as error:
                return _json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        message = wire.decode(request.body)
        kind, _, name = request.path.partition("/")
        if kind != "env":
            raise ServerError(f"there is no `{request.path}`.")
        if name == "hello":
            require_same(message, self._task)
            return Reply.message({"clients": len(self.clients), "limit": self._limits.clients})
        return self._answer_client(name, message)

    @property
    def _task(self) -> str | None:
        return self._config.choices.get("task")

    def _answer_client(self, name: str, message: wire.Message) -> Reply:
        key, number = wire.require_plain(message, "session", str), wire.require_plain(message, "id", int)
        if name == "open":
            require_same(message, self._task)
            client = visible(wire.require_plain(message, "client", str)[:80])
            slot, session = self._take(key, client, self._limits.lease_s)
        else:
            slot, session = self._slot_of(key)
        session.seen = time.monotonic()
        if name == "heartbeat":
            return Reply.message({})
        with session.turn:
            self._require_present(slot, session)
            if number == session.last_id and session.last_reply is not None:
                return session.last_reply
            if number != session.last_id + 1:
                raise ServerError(f"request {number} follows request {session.last_id}: answers were lost.")
            reply = self._carried_out(slot, session, name, message)
            session.seen = time.monotonic()
        return reply

    def _carried_out(self, slot: Slot, session: Session, name: str, message: wire.Message) -> Reply:
        """Carry out a request in the slot's thread; keep the answer, be it an error."""
        try:
            if name == "open":
                reply = Reply.message(slot.run(lambda: self._open(slot, message)))
                print(f"{session.client}: {slot.env.num_envs} envs", flush=True)
            elif name == "close":
                self._free(slot, session)
                print(f"{session.client}: closed", flush=True)
                return Reply.message({})
            else:
                call = self._calls.find(name)
                reply = Reply.message(slot.run(lambda: call(slot, message)))
        except Exception as error:
            reply = Reply.error(error)
            if name == "open":
                self._free(slot, session)
        session.last_id, session.last_reply = session.last_id + 1, reply
        return reply

    def _open(self, slot: Slot, message: wire.Message) -> wire.Message:
        """Open the envs of a client; return their description."""
        config = client_config(
            self._config,
            wire.require_plain(message, "env", dict),
            wire.require_plain(message, "seed", int),
            wire.require_plain(message, "video", bool),
            wire.require_plain(message, "dt", (float, type(None))),
            self._limits.max_envs,
        )
        env = slot.open(config)
        symmetry, curriculum, phases = (getattr(env, name, None) for name in ("symmetry", "curriculum", "phases"))
        return {
            "io": env.io.to_dict(),
            "num_envs": env.num_envs,
            "step_dt": float(env.step_dt),
            "max_episode_length": int(env.max_episode_length),
            "episode_length_s": getattr(config.env, "episode_length_s", None),
            "discrete_actions": bool(getattr(env, "discrete_actions", False)),
            "symmetry": None if symmetry is None else symmetry.images,
            "curriculum": curriculum is not None,
            "phases": None if phases is None else list(phases),
            "offers": [name for name in OPTIONAL if hasattr(env, name)],
            "lease_s": self._limits.lease_s,
        }

    def _take(self, key: str, client: str, lease_s: float) -> tuple[Slot, Session]:
        """Return slot and session of a client, a free slot if it is new.

        Raises:
            BusyError: all slots are taken.
        """
        with self._assigning:
            for slot in self._slots:
                if slot.session is not None and slot.session.key == key:
                    return slot, slot.session
            for slot in self._slots:
                if slot.session is None:
                    slot.session = Session(key, client, lease_s)
                    return slot, slot.session
            names = ", ".join(self.clients)
            count = len(self._slots)
            raise BusyError(
                f"all envs are taken, by {names}. Wait for its end, or start it with stage.clients={count + 1}."
            )

    def _slot_of(self, key: str) -> tuple[Slot, Session]:
        with self._assigning:
            for slot in self._slots:
                if slot.session is not None and slot.session.key == key:
                    return slot, slot.session
        raise self._gone()

    def _require_present(self, slot: Slot, session: Session) -> None:
        """Raise if the slot was given to another client while this one waited for its turn."""
        if slot.session is not session:
            raise self._gone()

    def _gone(self) -> ServerError:
        return ServerError(
            "the envs of this run are gone: the server was started again, or was not reached for longer than the "
            f"lease of {self._limits.lease_s:g} s. Continue from the last checkpoint: python launch.py resume=<run>"
        )

    def _answer_robot(self, request: Request) -> Reply:
        name = request.path
        if name not in robot_endpoints.ENDPOINTS:
            return _json({"error": f"There is no /{name}."}, HTTPStatus.NOT_FOUND)
        if not hasattr(resolve(self._config.env._target_), "robot_arm"):
            raise ConfigError(f"task={self._task} has no arm that the robot endpoints move.")
        body = robot_endpoints.parsed(bytes(request.body))
        slot, session = self._take(ROBOT, ROBOT, ROBOT_LEASE_S)
        with session.turn:
            self._require_present(slot, session)
            try:
                answer = slot.run(lambda: self._robot_call(slot, name, body))
            finally:
                session.seen = time.monotonic()
                if slot.env is None:
                    self._free(slot, session)
        return _json(answer, HTTPStatus.OK)

    def _robot_call(self, slot: Slot, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if slot.env is None:
            own = self._config
            env = {**to_plain(own.env), "num_envs": 1}
            slot.open(client_config(own, env, own.seed, own.video, None, 1)).reset(seed=own.seed)
        task: RobotServerTask = slot.env
        return robot_endpoints.answer(task.robot_arm(), name, body)


class EnvCalls:
    """The calls of an env that a client can make; each takes a slot and a message, and returns a message."""

    def find(self, name: str) -> Callable[[Slot, wire.Message], wire.Message]:
        """Return the call of a name.

        Raises:
            ServerError: there is none.
        """
        call: Callable[[Slot, wire.Message], wire.Message] | None = getattr(self, f"on_{name}", None)
        if call is None:
            raise ServerError(f"there is no `env/{name}`.")
        return call

    def on_reset(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`VecEnv.reset`."""
        return {"obs": slot.env.reset(wire.require_plain(message, "seed", (int, type(None))))}

    def on_step(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`VecEnv.step`; `final_obs` is None where it is the observation."""
        env = slot.env
        action = wire.require(message, "action", "float32", (env.num_envs, env.io.num_actions))
        obs, reward, terminated, truncated, info = env.step(action.to(env.device))
        slot.steps += env.num_envs
        return {
            "obs": obs,
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            "final_obs": None if info["final_obs"] is obs else info["final_obs"],
            "log": {name: float(value) for name, value in info["log"].items()},
            "labels": info["labels"],
            "metrics": info["metrics"],
            **({"ends": info["ends"]} if "ends" in info else {}),
            **({"ended_ids": info["ended_ids"]} if "ended_ids" in info else {}),
        }

    def on_stagger(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`VecEnv.stagger`."""
        slot.env.stagger()
        return {}

    def on_fix_command(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`VecEnv.fix_command`."""
        values = wire.require(message, "values").to(slot.env.device)
        slot.env.fix_command(wire.require_plain(message, "name", str), values)
        return {}

    def on_fix_event(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`VecEnv.fix_event`."""
        values = wire.require_plain(message, "values", dict)
        held = {name: wire.require(values, name).to(slot.env.device) for name in values}
        slot.env.fix_event(wire.require_plain(message, "name", str), **held)
        return {}

    def on_state_dict(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`VecEnv.state_dict`, and whether the env restores it."""
        state = slot.env.state_dict()
        return {"state": state, "restores": restores(slot.env, state)}

    def on_load_state_dict(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`VecEnv.load_state_dict`."""
        slot.env.load_state_dict(wire.require_plain(message, "state", dict))
        return {}

    def on_restores(self, slot: Slot, message: wire.Message) -> wire.Message:
        """Whether the env restores a state."""
        return {"restores": restores(slot.env, wire.require_plain(message, "state", dict))}

    def on_restart(self, slot: Slot, message: wire.Message) -> wire.Message:
        """New episodes with the generators of a state, see `VecEnv`."""
        return {"obs": slot.env.restart(wire.require_plain(message, "state", dict))}

    def on_render(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`VecEnv.render`."""
        return {"picture": slot.env.render()}

    def on_tensor(self, slot: Slot, message: wire.Message) -> wire.Message:
        """`optimal_action`, `distance_to_goal` or `failing`."""
        name = wire.require_plain(message, "name", str)
        if name not in ("optimal_action", "distance_to_goal", "failing"):
            raise ServerError(f"there is no tensor `{name}`.")
        return {"value": getattr(slot.env, name)()}

    def on_levels(self, slot: Slot, message: wire.Message) -> wire.Message:
        """Levels of the curriculum, which are set before if the message has some."""
        curriculum = slot.env.curriculum
        if message.get("levels") is not None:
            curriculum.set_levels(wire.require(message, "levels").to(slot.env.device))
        return {"levels": curriculum.levels}

    def on_scripted_expert(self, slot: Slot, message: wire.Message) -> wire.Message:
        """Make a scripted expert; return its number."""
        noise, seed = wire.require_plain(message, "noise", float), wire.require_plain(message, "seed", int)
        slot.experts.append(slot.env.scripted_expert(noise, seed))
        return {"expert": len(slot.experts) - 1}

    def on_expert_act(self, slot: Slot, message: wire.Message) -> wire.Message:
        """Action of an expert."""
        return {"action": self._expert(slot, message).act()}

    def on_expert_reset(self, slot: Slot, message: wire.Message) -> wire.Message:
        """Begin new episodes of an expert."""
        self._expert(slot, message).reset(wire.require(message, "env_ids", "int64", (None,)).to(slot.env.device))
        return {}

    def on_expert_state_dict(self, slot: Slot, message: wire.Message) -> wire.Message:
        """State of an expert."""
        return {"state": self._expert(slot, message).state_dict()}

    def on_expert_load_state_dict(self, slot: Slot, message: wire.Message) -> wire.Message:
        """Restore the state of an expert."""
        self._expert(slot, message).load_state_dict(wire.require_plain(message, "state", dict))
        return {}

    def _expert(self, slot: Slot, message: wire.Message) -> Any:
        number = wire.require_plain(message, "expert", int)
        if not 0 <= number < len(slot.experts):
            raise ServerError(f"there is no expert {number}.")
        return slot.experts[number]


def _json(data: dict[str, Any], status: HTTPStatus) -> Reply:
    return Reply(status, JSON, [json.dumps(data).encode()])
