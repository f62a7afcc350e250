"""Ray for a run: one of its own on this machine, started and ended with the run, or a cluster that is there."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from regimen.system import host, signals
from regimen.system.errors import PreflightError
from regimen.system.message_client import ServerError

if TYPE_CHECKING:
    from regimen.config.schema import RayCfg

CONNECT_S = 5.0
"""Longest wait for a TCP connection to the address of a cluster."""

PROBE_S = 60.0
"""Longest time for a first connection to it."""

STARTS = 3
"""Attempts to start a Ray of the run: it gives its parts 30 s, too little on a machine with much to do."""

STORE_BYTES = 256 * 2**20
"""Shared memory of a Ray of the run's own, for messages under way."""

FOLDER = "regimen-ray"
MAX_TEMP = 24
"""Length of the folder for temporary files beyond which the sockets of Ray in it have names that are too long."""


@contextmanager
def connected(cfg: RayCfg, namespace: str) -> Iterator[Any]:
    """Start Ray or connect to a cluster, yield the module `ray`, and end what was started.

    Args:
        cfg: address, and what an actor reserves.
        namespace: of the named actors.

    Raises:
        PreflightError: no cluster can be reached.
        ServerError: a Ray of the run does not start.
    """
    # No statistics of use; no lines of its own on the screen for an actor that died, of which the run warns itself.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
    began = time.monotonic()
    common = {"namespace": namespace, "logging_level": "ERROR", "log_to_driver": False}
    folder = None
    if cfg.address is None:
        print("starting Ray on this machine: 10 to 30 s", flush=True)
        folder = _new_folder()
        # Only processes with this token are answered; it is handed over in the environment.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        cores = host.cores()
        own = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        settings = {"address": "local", "_temp_dir": str(folder), **own, **common}
    else:
        print(f"connecting to Ray at {cfg.address}: some seconds", flush=True)
        require_listener(cfg.address)
        _require_ray(cfg.address)
        path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        settings = {"address": cfg.address, "runtime_env": {"env_vars": path}, **common}
    import ray

    try:
        if cfg.address is None:
            _start(ray, settings)
        else:
            try:
                _init(ray, settings)
            except Exception as error:  # Ray raises plain ones as well
                raise _unreachable(cfg.address, error) from error
        print(f"Ray is there after {time.monotonic() - began:.1f} s", flush=True)
        yield ray
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start(ray: Any, settings: dict[str, Any]) -> None:
    """Start a Ray of the run; what is left of an attempt that failed is ended.

    Raises:
        ServerError: it does not start.
    """
    this = psutil.Process()
    for attempt in range(1, STARTS + 1):
        before = this.children()
        try:
            return _init(ray, settings)
        except Exception as error:  # Ray raises plain ones
            ray.shutdown()
            for child in this.children():
                if child not in before:
                    _kill(child)
            if attempt == STARTS:
                raise ServerError(
                    f"Ray does not start on this machine, tried {STARTS} times: {_first_line(error)}. Continue the run "
                    "by `resume=` when the machine has less to do, or type hardware.channel.transport=http."
                ) from error
            print(f"Ray did not start: {_first_line(error)}; it is started again", flush=True)


def _kill(process: psutil.Process) -> None:
    """End a process and those that it started, some of which may end meanwhile."""
    family = [process]
    with suppress(psutil.NoSuchProcess):
        family = [*process.children(recursive=True), process]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the signals of the run; they arrive afterwards.

    A scheduler sends its signals to all processes; those that are started meanwhile inherit that they are blocked, so
    that the learner can save its checkpoint first.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals.FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _init(ray: Any, settings: dict[str, Any]) -> None:
    """Start or connect; the signals of the run keep their handlers, and do not end what Ray starts.

    Ray sets a handler of SIGTERM of its own.
    """
    handlers = {number: signal.getsignal(number) for number in signals.FORWARDED}
    with _signals_blocked():
        try:
            ray.init(**settings)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _new_folder() -> Path:
    """Return a new folder with a short name, for the sockets and logs of Ray; remove those of runs that were killed."""
    temporary = Path(tempfile.gettempdir())
    if len(str(temporary)) > MAX_TEMP:
        temporary = Path("/tmp")
    folder = temporary / f"{FOLDER}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PreflightError(f"{folder} belongs to another user. Remove it, or set TMPDIR to a folder of yours.")
    for old in folder.iterdir():
        if old.name.isdigit() and not psutil.pid_exists(int(old.name)):
            shutil.rmtree(old, ignore_errors=True)
    own = folder / str(os.getpid())
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(mode=0o700)
    return own


def require_listener(address: str) -> None:
    """Raise unless something listens at an address; Ray itself would try for a minute.

    Args:
        address: `auto`, or host and port.

    Raises:
        PreflightError: nothing does.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or _last_started() or ""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return  # Ray has no address either, and fails at once
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            pass
    except OSError as error:
        raise _unreachable(address, error) from error


def _require_ray(address: str) -> None:
    """Connect in another process: what listens may be no Ray, and then Ray tries without an end.

    Raises:
        PreflightError: no connection, or none in time.
    """
    code = "import sys, ray; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"
    try:
        with _signals_blocked():  # one of them would end the probe, as if there were no Ray
            done = subprocess.run(
                [sys.executable, "-c", code, address], capture_output=True, text=True, timeout=PROBE_S, check=False
            )
    except subprocess.TimeoutExpired:
        raise _unreachable(address, TimeoutError(f"it does not answer as Ray within {PROBE_S:g} s")) from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise _unreachable(address, ConnectionError(last[0].partition("Error: ")[2] or last[0]))


def _last_started() -> str | None:
    """Return the address that `ray start` on this machine wrote, which `auto` connects to."""
    with suppress(OSError):
        return (Path("/tmp/ray") / "ray_current_cluster").read_text("utf-8").strip()
    return None


def _unreachable(address: str, error: Exception) -> PreflightError:
    why = _first_line(error)
    return PreflightError(
        f"hardware.channel.ray.address={address}: no Ray is reached there: {why}. Type `ray start --head` here, or "
        "`ray start --address=<host:port of its head>` to join one; without an address the run starts a Ray of its own."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
