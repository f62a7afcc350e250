"""Stage serve: what it refuses before the start; a training through it, killed and continued, equals a local one."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.subprocesses import popen
from helpers.supervised_runs import wait_for
from regimen.runs.history.result_equality import differences
from regimen.runs.history.run_view import RunView
from regimen.runs.run import Run
from regimen.stages.serve import ServeCfg

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"host": "0.0.0.0"}, "stage.tls_certificate"),
        ({"host": "0.0.0.0", "tls_certificate": "/etc/hostname"}, "tls_key"),
        ({"tls_certificate": "/no/such.pem", "tls_key": "/no/such.key"}, "tls_certificate=/no/such.pem"),
        ({"clients": 0}, "clients=0"),
        ({"lease_s": 0.1}, "lease_s"),
        ({"port": 70000}, "port=70000"),
        ({"token": "not-a-file-but-a-secret"}, "token="),
    ],
)
def test_a_server_that_is_refused(values: dict[str, Any], named: str) -> None:
    lines = ServeCfg(**{"port": free_port(), **values}).problems({})
    assert lines and named in "\n".join(lines)
    assert "a-secret" not in "\n".join(lines)


def test_a_port_in_use_is_named_with_another_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (line,) = ServeCfg(port=port).problems({})
        assert line.startswith(f"port={port}") and f"stage.port={port + 1}" in line
        assert ServeCfg(port=port).problems({"hardware": {"scheduler": "slurm"}}) == []  # it is another machine's


def test_a_served_task_is_composed_like_any_other(compose_config: Callable[[list[str]], Any]) -> None:
    config = compose_config(["task=reach", "sim=remote", "sim.url=http://127.0.0.1:6001"])
    assert (config.sim.url, config.sim.OPENS_TASKS) == ("http://127.0.0.1:6001", True)
    assert isinstance(compose_config(["stage=serve", "task=reach"]).stage, ServeCfg)


TRAINING = ["task=reach", "env.num_envs=16", "agent.trainer.timesteps=384", "stage.checkpoint_interval=48", "seed=3"]


def launch(folder: Path, *arguments: str, token: str = "") -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    env = {**os.environ, "REGIMEN_SIM_TOKEN": token}
    return popen([sys.executable, str(ROOT / "launch.py"), *arguments], cwd=folder, env=env)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def run_of(folder: Path) -> Path:
    """The newest run of a folder."""
    return max(folder.glob("outputs/*"), key=lambda path: path.name)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def worker_of(run: Path) -> int:
    supervisor = json.loads((run / "run.json").read_text())["supervisor"]["pid"]
    (child,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return int(child)


@pytest.mark.slow
def test_a_training_through_a_server_that_is_killed_equals_a_local_one(tmp_path: Path) -> None:
    secret, port = secrets.token_hex(16), free_port()
    token = tmp_path / "token"
    token.write_text(secret)
    local, served, remote = (tmp_path / name for name in ("local", "served", "remote"))
    assert ended(launch(local, *TRAINING))[0] == 0

    serve = ["stage=serve", "task=reach", f"stage.port={port}", f"stage.token={token}"]
    server = launch(served, *serve)
    wait_for(lambda: is_listening(port) or None)
    client = launch(
        remote, *TRAINING, "sim=remote", f"sim.url=http://127.0.0.1:{port}", "sim.reconnect_s=2", token=secret
    )
    last: Path = wait_for(lambda: next(remote.glob("outputs/*/checkpoints/last.pt"), None))
    os.kill(worker_of(run_of(served)), signal.SIGKILL)
    assert ended(server)[0] == 128 + signal.SIGKILL
    code, output = ended(client)
    assert code == 1 and "stage=serve" in output and "resume=" in output.splitlines()[-1]

    server = launch(served, *serve)
    wait_for(lambda: is_listening(port) or None)
    run = last.parents[1]
    assert ended(launch(remote, f"resume={run.name}", token=secret))[0] == 0
    assert differences(*(RunView(path, Run(path).record) for path in (run_of(local), run))) == []

    server.send_signal(signal.SIGINT)
    code, output = ended(server)
    record = json.loads((run_of(served) / "run.json").read_text())
    assert code == 0 and record["status"] == "finished" and record["headline"]["samples"] > 0
    for folder in (served, remote):
        kept = [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert kept == []
