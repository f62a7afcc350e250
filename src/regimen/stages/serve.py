"""Stage `serve`: a simulator for runs in other processes and on other machines, which have `sim=remote`."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.config.task_schema import at_least_one
from regimen.config.yaml_io import PlainConfig
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run
    from regimen.system.message_server import Tls

TICK_S = 0.2
SPEED_S = 2.0
"""Time over which the steps per second of the progress line are measured."""


@dataclass
class ServeCfg:
    """Address and bounds of a simulator server.

    Attributes:
        host: address to listen at; beyond this machine only with a certificate.
        port: TCP port.
        clients: runs at once; each has envs of its own, as many as its `env.num_envs`.
        token: file with the token of all clients; null: a new token in the run directory, removed at the end.
        tls_certificate: file of the certificate chain, PEM; null: no encryption.
        tls_key: file of its private key, PEM.
        lease_s: seconds without a request or heartbeat after which the envs of a client are freed.
        max_envs: largest `env.num_envs` of a client.
        max_request_mb: largest request in MB; a state of the envs that a client restores is one request.
    """

    TAKES: ClassVar[tuple[str, ...]] = ()
    _target_: str = "regimen.stages.serve.Serve"
    host: str = "127.0.0.1"
    port: int = 5001
    clients: int = 1
    token: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    lease_s: float = 15.0
    max_envs: int = 4096
    max_request_mb: int = 256

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value, and one if the address is in use."""
        lines = at_least_one(clients=self.clients, max_envs=self.max_envs, max_request_mb=self.max_request_mb)
        if not self.lease_s >= 1:
            lines.append(f"lease_s={self.lease_s:g}: expected seconds, 1 or more.")
        if not 1 <= self.port <= 65535:
            lines.append(f"port={self.port}: expected 1 to 65535.")
        files = {"token": self.token, "tls_certificate": self.tls_certificate, "tls_key": self.tls_key}
        absent = {n: f for n, f in files.items() if f is not None and not Path(f).expanduser().is_file()}
        lines += [f"{name}={'…' if name == 'token' else file}: no such file." for name, file in absent.items()]
        if (self.tls_certificate is None) != (self.tls_key is None):
            lines.append("tls_certificate and tls_key belong together: set both, or none.")
        lines += self._address_problems()
        scheduled = (config.get("hardware") or {}).get("scheduler")
        if lines or scheduled:
            return lines
        return [f"port={self.port}: {why}" for why in (_why_not_free(self.host, self.port),) if why]

    def _address_problems(self) -> list[str]:
        from regimen.system.message_server import is_loopback

        if is_loopback(self.host) or self.tls_certificate is not None:
            return []
        tunnel = f"ssh -N -L {self.port}:127.0.0.1:{self.port} <this machine>"
        return [
            f"host={self.host}: others could read the token on the way. Set stage.tls_certificate and stage.tls_key, "
            f"or leave the host away and reach it through a tunnel: {tunnel}."
        ]

    def tls(self) -> Tls | None:
        """Return certificate and key, None without them."""
        from regimen.system.message_server import Tls

        if self.tls_certificate is None or self.tls_key is None:
            return None
        return Tls(Path(self.tls_certificate).expanduser(), Path(self.tls_key).expanduser())


class Serve:
    """Serve the task until Ctrl-C or SIGTERM, which ends the run as finished."""

    def __init__(self, cfg: ServeCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Open the address, and answer clients.

        Raises:
            PreflightError: the address is in use, or the certificate cannot be read.
            StopRequested: the scheduler takes the machine away.
        """
        import torch

        from regimen.envs.remote.server import Limits, SimulatorServer

        torch.set_num_threads(config.hardware.num_threads())
        cfg = self.cfg
        limits = Limits(cfg.clients, cfg.max_envs, cfg.lease_s, cfg.max_request_mb * 2**20)
        own_token = run.dir / "token"
        token = _new_token(own_token) if cfg.token is None else _read_token(Path(cfg.token).expanduser())
        started = time.monotonic()
        server = SimulatorServer(config, limits, token, cfg.host, cfg.port, cfg.tls())
        try:
            server.start()
            file = own_token if cfg.token is None else cfg.token
            task = config.choices.get("task")
            print(f"serving task={task} at {server.url}. A client:", flush=True)
            print(f"  python launch.py task={task} sim=remote sim.url={server.url} sim.token={file}", flush=True)
            served = _serve(run, server, cfg.clients)
        finally:
            server.stop()
            own_token.unlink(missing_ok=True)
        run.finish({"samples": float(server.steps)}, {"clients": sorted(served), "wall_s": time.monotonic() - started})


def _serve(run: Run, server: Any, limit: int) -> set[str]:
    """Answer until a signal comes; return the names of all clients."""
    served: set[str] = set()
    before, since, speed = 0, time.monotonic(), 0.0
    while run.stop_signal not in (signal.SIGINT, signal.SIGTERM):
        run.check_stop(server.steps, lambda: None)
        server.work(TICK_S)
        clients, steps, now = server.clients, server.steps, time.monotonic()
        served |= set(clients)
        if now - since >= SPEED_S:
            speed, before, since = (steps - before) / (now - since), steps, now
        run.progress(samples=steps, samples_per_s=speed, note=f"{len(clients)} of {limit} clients")
    return served


def _new_token(path: Path) -> str:
    token = secrets.token_urlsafe(32)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def _read_token(path: Path) -> str:
    """Return the token in a file.

    Raises:
        ConfigError: it has fewer than 16 characters, or cannot be read.
    """
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"stage.token: the file cannot be read: {error}.") from error
    if len(token) < 16:
        raise ConfigError("stage.token: the file has fewer than 16 characters. `openssl rand -hex 32` makes a token.")
    return token


def _why_not_free(host: str, port: int) -> str:
    """Return why no server can listen at an address, or nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"{host}:{port}: {error.strerror or error}. Choose another one, such as stage.port={port + 1}."
    return ""
