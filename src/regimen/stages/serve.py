"""Stage `serve`: a simulator for runs in other processes and on other machines, which have `sim=remote`."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.config.task_schema import at_least_one
from regimen.config.yaml_io import PlainConfig

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run

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
        from regimen.system import listening

        lines = at_least_one(clients=self.clients, max_envs=self.max_envs, max_request_mb=self.max_request_mb)
        if not self.lease_s >= 1:
            lines.append(f"lease_s={self.lease_s:g}: expected seconds, 1 or more.")
        scheduled = bool((config.get("hardware") or {}).get("scheduler"))
        return lines + listening.problems(self, self.port, "stage", scheduled or bool(lines))


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
        from regimen.system import listening

        torch.set_num_threads(config.hardware.num_threads())
        cfg = self.cfg
        limits = Limits(cfg.clients, cfg.max_envs, cfg.lease_s, cfg.max_request_mb * 2**20)
        own_token = run.dir / "token"
        token = (
            listening.new_token(own_token)
            if cfg.token is None
            else listening.read_token(Path(cfg.token), "stage.token")
        )
        started = time.monotonic()
        server = SimulatorServer(config, limits, token, cfg.host, cfg.port, listening.tls(cfg))
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
