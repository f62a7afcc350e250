"""Actors and a learner as processes of one run, and on two addresses: ended, killed and continued through launch.py."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.subprocesses import look_after
from helpers.supervised_runs import wait_for

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import actor_kills as kills  # noqa: E402

pytestmark = pytest.mark.slow

TOTAL = 600
LEARNER = ["--config-dir", "conf", *kills.SETTINGS, f"agent.max_steps={TOTAL}", "env.pause_s=0.005"]
OTHERS = ("task=", "agent")
ACTOR = ["--config-dir", "conf", "stage=actor", *(s for s in LEARNER if s.startswith(OTHERS)), "env.pause_s=0.005"]


def started(folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    process = kills.launch(folder, *arguments, **env)
    look_after(process)
    return process


def run_of(folder: Path) -> Path:
    """The only run of a folder, once it has a checkpoint."""
    last: Path = wait_for(lambda: next(folder.glob("outputs/2*/checkpoints/last.pt"), None))
    return last.parents[1]


def record(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists() and bool(Path(f"/proc/{pid}/cmdline").read_bytes())


def assert_whole(run: Path) -> None:
    found = kills.check(run, TOTAL)
    assert (found["rows"], found["lost"], found["foreign"], found["doubled"]) == (TOTAL, 0, 0, 0), found


def test_six_kills_lose_and_double_no_row(tmp_path: Path) -> None:
    found = kills.work(tmp_path, 6, seed=1, total=1000, actors=1)
    assert found.get("good"), (found, (tmp_path / "screen.log").read_text()[-2000:])
    assert found["kills"] == {"learner": 2, "actor": 2, "both": 2}


def test_ctrl_c_ends_all_processes_with_a_checkpoint(tmp_path: Path) -> None:
    kills.prepare(tmp_path)
    process = started(tmp_path, *LEARNER)
    run = run_of(tmp_path)
    learner, actors = wait_for(lambda: (found := kills.processes(run)) and len(found[1]) == 2 and found)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 128 + signal.SIGINT
    assert not any(is_there(pid) for pid in [learner, *actors])
    ended = record(run)
    assert ended["status"] == "killed" and "checkpoint saved" in ended["reason"]
    assert {f"actor{k}.log" for k in range(2)} <= {path.name for path in (run / "logs").iterdir()}
    assert started(tmp_path, f"resume={run.name}").wait(120) == 0
    assert_whole(run)


def test_an_actor_whose_values_are_not_finite_ends_the_run_as_diverged(tmp_path: Path) -> None:
    kills.prepare(tmp_path)
    process = started(tmp_path, *LEARNER, "hardware.actors=1", "env.nan_at=130")
    assert process.wait(120) == 3, (tmp_path / "screen.log").read_text()[-2000:]
    (run,) = tmp_path.glob("outputs/2*")
    ended = record(run)
    assert ended["status"] == "diverged" and "actor0" in ended["reason"]
    assert "NaN dump" in {artifact["kind"] for artifact in ended["artifacts"]}


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def test_an_actor_at_another_address_outlives_its_learner(tmp_path: Path) -> None:
    host, secret = "127.0.0.2", secrets.token_hex(16)
    port = free_port(host)
    here, there, token = tmp_path / "here", tmp_path / "there", tmp_path / "token"
    token.write_text(secret)
    for folder in (here, there):
        folder.mkdir()
        kills.prepare(folder)
    channel = [f"hardware.channel.{s}" for s in (f"host={host}", f"port={port}", f"token={token}")]
    learner = started(here, *LEARNER, "hardware.actors=0", *channel)
    actor = started(there, *ACTOR, f"stage.learner=http://{host}:{port}", REGIMEN_LEARNER_TOKEN=secret)
    run = run_of(here)
    os.kill(kills.processes(run)[0] or 0, signal.SIGKILL)
    assert learner.wait(60) == 128 + signal.SIGKILL
    assert started(here, f"resume={run.name}").wait(180) == 0, (here / "screen.log").read_text()[-2000:]
    assert actor.wait(60) == 0, (there / "screen.log").read_text()[-2000:]
    (acted,) = there.glob("outputs/2*")
    assert record(acted)["status"] == "finished" and record(acted)["headline"]["samples"] >= TOTAL
    assert_whole(run)
    assert kills.check(run, TOTAL)["processes"] == 1, "the actor sent again what the killed learner had not saved"
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert kept == [token]


def in_namespace(name: str, *command: str) -> None:
    subprocess.run(["ip", "netns", "exec", name, *command], check=True, capture_output=True)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a cable, 10.97.0.1 and 10.97.0.2."""
    names = [f"regimen-{os.getpid()}-{side}" for side in "ab"]
    ends = [f"rg{os.getpid() % 10**6}{side}" for side in "ab"]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        subprocess.run(["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]], check=True)
        for k, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            subprocess.run(["ip", "link", "set", end, "netns", name], check=True)
            in_namespace(name, "ip", "addr", "add", f"10.97.0.{k}/24", "dev", end)
            in_namespace(name, "ip", "link", "set", end, "up")
            in_namespace(name, "ip", "link", "set", "lo", "up")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no right to make network namespaces: {error}")
    else:
        yield names[0], names[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_two_machines_with_tls(tmp_path: Path, namespaces: tuple[str, str]) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    certificate, key, token = (tmp_path / name for name in ("cert.pem", "key.pem", "token"))
    token.write_text(secrets.token_hex(16))
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=learner"
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", "subjectAltName=IP:10.97.0.1"]
    subprocess.run(["openssl", *request.split(), *files], check=True, capture_output=True)
    for folder in (here, there):
        folder.mkdir()
        kills.prepare(folder)
    channel = ["host=10.97.0.1", "port=5588", f"token={token}", f"tls_certificate={certificate}", f"tls_key={key}"]
    launcher = str(ROOT / "launch.py")

    def launched(name: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", name, sys.executable, launcher, *arguments]
        with (folder / "screen.log").open("a") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True)
        look_after(process)
        return process

    settings = [*LEARNER, "hardware.actors=1", *(f"hardware.channel.{s}" for s in channel)]
    learner = launched(namespaces[0], here, *settings)
    act = [*ACTOR, "stage.learner=https://10.97.0.1:5588", f"stage.token={token}", f"stage.certificate={certificate}"]
    actor = launched(namespaces[1], there, *act)
    assert learner.wait(180) == 0, (here / "screen.log").read_text()[-2000:]
    assert actor.wait(60) == 0, (there / "screen.log").read_text()[-2000:]
    (acted,) = there.glob("outputs/2*")
    assert record(acted)["headline"]["samples"] > 0
    assert_whole(run_of(here))


def test_an_actor_takes_the_place_of_its_learner_at_a_simulator_server(tmp_path: Path) -> None:
    secret, port = secrets.token_hex(16), free_port("127.0.0.1")
    token = tmp_path / "token"
    token.write_text(secret)
    served, trained = tmp_path / "served", tmp_path / "trained"
    for folder in (served, trained):
        folder.mkdir()
        kills.prepare(folder)
    serve = ["--config-dir", "conf", "stage=serve", "task=numbered", "env.pause_s=0.005"]
    server = started(served, *serve, f"stage.port={port}", f"stage.token={token}")

    def is_listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(is_listening)
    remote = ["sim=remote", f"sim.url=http://127.0.0.1:{port}", f"sim.token={token}"]
    learner = started(trained, *LEARNER, "hardware.actors=1", *remote)
    assert learner.wait(180) == 0, (trained / "screen.log").read_text()[-2000:]
    assert_whole(run_of(trained))
    server.send_signal(signal.SIGINT)
    assert server.wait(60) == 0 and record(run := next(served.glob("outputs/2*")))["headline"]["samples"] >= TOTAL, run
