"""Step of a task behind `stage=serve` against the same step in this process: `python benchmarks/remote_env.py`.

The server is a run of its own on this machine, reached through loopback. Both envs get the same actions; the measured
time is that of `env.step`, observations, rewards and, where the task has them, two pictures of 128 x 128 included.
Points cost nothing to simulate, so that their row is the transport alone. With `--cpu` it is the CPU time of client and
server in sum, for a machine that others use.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from measure import ROOT, alternate, ratio, report

from regimen.config.compose import compose_config
from regimen.envs import open_env
from regimen.envs.remote.config import TOKEN_VARIABLE

CASES = {
    "1 point": (["task=point_goal", "env.num_envs=1"], 400),
    "64 reach arms": (["task=reach", "env.num_envs=64"], 200),
    "gear, states": (["task=gear_assembly", "env.num_envs=1"], 100),
    "gear, two pictures": (["task=gear_assembly", "env.num_envs=1", "env.images.size=128"], 40),
}
"""Label -> task, and steps of one measurement."""

START_S = 120.0


@contextmanager
def served(words: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Serve a task in a run of its own; yield its address and its supervisor."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        token = Path(folder) / "token"
        token.write_text(secrets.token_hex(16))
        os.environ[TOKEN_VARIABLE] = token.read_text()
        stage = ["stage=serve", f"stage.port={port}", f"stage.token={token}", "hardware.threads=1"]
        command = [sys.executable, str(ROOT / "launch.py"), *words, *stage]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + START_S
                while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < end:
                    time.sleep(0.1)
                yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=60)


def cpu_seconds(server: psutil.Process) -> float:
    """Return the CPU seconds of this process and of the worker of a server."""
    (worker,) = server.children()
    times = worker.cpu_times()
    return time.process_time() + times.user + times.system


def stepping(env: Any, steps: int) -> Callable[[], int]:
    """Return the work of `steps` steps by drawn actions."""
    actions = torch.rand(steps, env.num_envs, env.io.num_actions, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def work() -> int:
        for action in actions:
            env.step(action)
        return steps

    return work


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cpu", action="store_true", help="CPU time of both sides in place of time")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[float]] = {}
    ratios: dict[str, tuple[float, float, float]] = {}
    for label, (words, steps) in CASES.items():
        with served(words) as (url, server):
            here = open_env(compose_config([*words, "hardware.threads=1"]))
            there = open_env(compose_config([*words, "hardware.threads=1", "sim=remote", f"sim.url={url}"]))
            envs = {f"{label}, in process": here, f"{label}, served": there}
            for env in envs.values():
                env.reset(seed=0)
            clock = partial(cpu_seconds, server) if args.cpu else time.perf_counter
            works = {name: stepping(env, steps) for name, env in envs.items()}
            rates = alternate(works, args.repeats, clock=clock)
            for env in envs.values():
                env.close()
        times = {name: [1e6 / rate for rate in values] for name, values in rates.items()}
        rows |= times
        here_us, there_us = times.values()
        rows[f"{label}, added by the server"] = [b - a for a, b in zip(here_us, there_us, strict=True)]
        ratios[f"{label}: served / in process"] = ratio(there_us, here_us)
    report(f"{Path(__file__).stem}{'_cpu' if args.cpu else ''}", rows, ratios, "µs a step")


if __name__ == "__main__":
    main()
