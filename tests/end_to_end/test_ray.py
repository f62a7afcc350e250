"""Actors of Ray through launch.py: killed, continued and ended; with a Ray of the run, and on a cluster."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.subprocesses import look_after
from helpers.supervised_runs import wait_for

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import actor_kills as kills  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
pytest.importorskip("ray", reason="make ray")

TOTAL, LIMIT_S = 600, 400
NUMBERED = ["--config-dir", "conf", *kills.SETTINGS, f"agent.max_steps={TOTAL}", "env.pause_s=0.005", *kills.RAY]


def started(folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    process = kills.launch(folder, *arguments, **env)
    look_after(process)
    return process


def screen(folder: Path) -> str:
    return (folder / "screen.log").read_text()[-3000:]


def record(folder: Path) -> dict[str, Any]:
    (run,) = folder.glob("outputs/2*")
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def begun(folder: Path) -> tuple[Path, int]:
    """The run of a folder and its learner, once it learns from all its actors."""

    def look() -> tuple[Path, int] | None:
        last = next(folder.glob("outputs/2*/checkpoints/last.pt"), None)
        learner = last and kills.processes(last.parents[1])[0]
        return (last.parents[1], learner) if last and learner else None

    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(screen(folder))


def of_session(learner: int) -> list[str]:
    """What still runs of a learner's session, which is all that it started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == learner and state != "Z":
                found.append((stat.parent / "cmdline").read_text()[:80])
        except (OSError, ValueError):
            continue
    return found


def assert_whole(run: Path) -> None:
    found = kills.check(run, TOTAL)
    assert (found["rows"], found["lost"], found["foreign"], found["doubled"]) == (TOTAL, 0, 0, 0), found


def test_kills_of_actors_mailbox_and_learner_lose_and_double_no_row(tmp_path: Path) -> None:
    found = kills.work(tmp_path, 5, seed=1, total=1200, actors=2, ray=True)
    assert found.get("good"), (found, screen(tmp_path))
    assert found["kills"] == {"actor": 1, "mailbox": 2, "actor and mailbox": 1, "learner": 1}
    warnings = "\n".join(record(tmp_path)["warnings"])
    assert "mailbox ended" in warnings and "and was started again" in warnings
    (run,) = tmp_path.glob("outputs/2*")
    assert "acts on" in (run / "logs" / "actor0.log").read_text()


def test_a_killed_learner_leaves_nothing_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    kills.prepare(tmp_path)
    process = started(tmp_path, *NUMBERED)
    run, learner = begun(tmp_path)
    os.kill(learner, signal.SIGKILL)
    assert process.wait(60) == 128 + signal.SIGKILL
    wait_for(lambda: not of_session(learner))
    again = started(tmp_path, f"resume={run.name}")
    learner = int(wait_for(lambda: kills.processes(run)[0]))
    wait_for(lambda: kills.of_ray(learner, "ActingActor.act"))
    again.send_signal(signal.SIGINT)
    assert again.wait(120) == 128 + signal.SIGINT, screen(tmp_path)
    wait_for(lambda: not of_session(learner))
    assert not (Path(tempfile.gettempdir()) / f"regimen-ray-{os.getuid()}" / str(learner)).exists()
    assert "checkpoint saved" in record(tmp_path)["reason"]
    assert started(tmp_path, f"resume={run.name}").wait(LIMIT_S) == 0, screen(tmp_path)
    assert_whole(run)


def test_an_actor_whose_values_are_not_finite_ends_the_run_as_diverged(tmp_path: Path) -> None:
    kills.prepare(tmp_path)
    assert started(tmp_path, *NUMBERED, "hardware.actors=1", "env.nan_at=130").wait(LIMIT_S) == 3, screen(tmp_path)
    ended = record(tmp_path)
    assert ended["status"] == "diverged" and "actor0" in ended["reason"]
    assert "NaN dump" in {artifact["kind"] for artifact in ended["artifacts"]}


def test_a_short_training_of_the_gear_assembly(tmp_path: Path) -> None:
    short = [
        "agent.max_steps=120",
        "agent.training_starts=60",
        "agent.log_period=20",
        "agent.demonstrations.episodes=1",
    ]
    small = ["agent.hidden=[16,16]", "agent.ensemble_size=2", "agent.batch_size=16", "agent.utd=1"]
    task = ["task=gear_assembly", "agent=rlpd", "hardware=actor_learner", *kills.RAY, *short, *small]
    assert started(tmp_path, *task).wait(LIMIT_S) == 0, screen(tmp_path)
    (run,) = tmp_path.glob("outputs/2*")
    assert record(tmp_path)["headline"]["samples"] == 120
    said = (run / "logs" / "worker.log").read_text()
    assert "starting Ray" in said and "\x1b" not in said and "(raylet)" not in said


def test_an_address_where_nothing_listens_is_refused(tmp_path: Path) -> None:
    kills.prepare(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    assert started(tmp_path, *NUMBERED, f"hardware.channel.ray.address={address}").wait(LIMIT_S) == 2, screen(tmp_path)
    assert f"hardware.channel.ray.address={address}" in screen(tmp_path) and "ray start --head" in screen(tmp_path)


def head(folder: Path) -> tuple[subprocess.Popen[str], str] | None:
    """The process and the address of a cluster with one `simulator`; None if it did not start in Ray's 30 s."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2"]
    options = ["--include-dashboard=false", "--disable-usage-stats", "--object-store-memory=100000000"]
    own = [f"--port={port}", f"--temp-dir={folder}", '--resources={"simulator": 1}']
    said = Path(f"{folder}.said")
    with said.open("w") as out:
        process = subprocess.Popen([*command, *options, *own], stdout=out, text=True, start_new_session=True)
    look_after(process)
    wait_for(lambda: process.poll() is not None or "runtime started" in said.read_text())
    return (process, f"127.0.0.1:{port}") if process.poll() is None else None


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster of this machine, with a token; its address."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with tempfile.TemporaryDirectory(prefix="rg", dir="/tmp", ignore_cleanup_errors=True) as folder:
        attempts = (head(Path(folder) / str(k)) for k in range(3))
        found = next((attempt for attempt in attempts if attempt), None)
        if found is None:
            pytest.skip("Ray does not start here: the machine has too much to do")
        yield found[1]
        found[0].terminate()
        found[0].wait(60)


def acting() -> list[int]:
    """Actors of any cluster on this machine that act."""
    return [
        int(file.parent.name)
        for file in Path("/proc").glob("[0-9]*/cmdline")
        if file.exists() and file.read_bytes().startswith(b"ray::ActingActor.act")
    ]


def test_actors_on_a_cluster_end_with_their_learner_which_is_continued(tmp_path: Path, cluster: str) -> None:
    kills.prepare(tmp_path)
    there = f"hardware.channel.ray.address={cluster}"
    refused = tmp_path / "refused"
    refused.mkdir()
    kills.prepare(refused)
    asked = started(refused, *NUMBERED, there, "hardware.channel.ray.resources={camera: 1}")
    assert asked.wait(LIMIT_S) == 2, screen(refused)
    assert "resources.camera=1" in screen(refused) and '{"camera": 1}' in screen(refused)
    before = set(acting())
    process = started(tmp_path, *NUMBERED, there, "hardware.channel.ray.resources={simulator: 0.5}")
    run, learner = begun(tmp_path)
    ours = set(acting()) - before
    assert len(ours) == 2
    os.kill(learner, signal.SIGKILL)
    assert process.wait(60) == 128 + signal.SIGKILL
    wait_for(lambda: not ours & set(acting()))
    assert started(tmp_path, f"resume={run.name}").wait(LIMIT_S) == 0, screen(tmp_path)
    assert_whole(run)
