"""A learner and its actors in one job of a real Slurm, on one node and on two: stopped, killed, requeued, cancelled."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.messages import assert_names
from orchestration.slurm.cluster import ROOT, Cluster, wait_for
from orchestration.slurm.sandbox import NODES
from regimen.system import certificate, files, listening

sys.path.append(str(ROOT / "benchmarks"))

import actor_kills as kills

pytestmark = pytest.mark.slow
TOTAL = 600
TRAINING = [
    *("--config-dir", "conf", *kills.SETTINGS, "hardware=slurm_actor_learner", f"agent.max_steps={TOTAL}"),
    *("env.pause_s=0.02", "hardware.submitit.mem_gb=2", "hardware.submitit.signal_delay_s=30"),
]
TWO_NODES = ["hardware.nodes=2", "hardware.actors=3"]


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    """The address of this machine on its network, by which the two nodes reach each other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # an address of no machine, see RFC 5737; nothing is sent
        except OSError as error:
            pytest.skip(f"no network here: {error}")
        own = str(probe.getsockname()[0])
    if not cluster.slurm.named:
        pytest.skip("the nodes have no names of their own here (needs CAP_SYS_ADMIN)")
    set_address(cluster, own)
    try:
        yield own
    finally:
        set_address(cluster, "127.0.0.1")


def set_address(cluster: Cluster, address: str) -> None:
    for node in NODES:
        change = ["scontrol", "update", f"nodename={node}", f"nodeaddr={address}"]
        subprocess.run(change, env=cluster.slurm.env, check=True)


def submitted(cluster: Cluster, *arguments: str) -> str:
    """Submit a training; return the id of its run."""
    kills.prepare(cluster.folder)
    cluster.launch(*TRAINING, *arguments)
    (folder,) = [file.parent for file in cluster.folder.glob("outputs/*/run.json")]
    return folder.name


def acting(run: str) -> dict[str, int]:
    """The processes that act for a run: name without attempt -> number."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = file.read_bytes().decode(errors="replace").split("\0")
            if "regimen.agents.actor_learner.actor" in words and any(run in word for word in words[:5]):
                found[words[4].partition(".")[0]] = int(file.parent.name)
    return found


def wait_acting(cluster: Cluster, run: str, count: int) -> dict[str, int]:
    """Wait until all actors act and the learner has a checkpoint; return their processes."""
    last = cluster.dir(run) / "checkpoints" / "last.pt"
    wait_for(lambda: last.exists() and len(acting(run)) == count, "actors", 300, lambda: said_by(cluster, run))
    return acting(run)


def said_by(cluster: Cluster, run: str) -> str:
    logs = sorted((cluster.dir(run) / "logs").glob("*.log"))
    return cluster.logs(run) + "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in logs)


def announce_the_limit(cluster: Cluster, run: str) -> None:
    job = cluster.info(run)["queue"]["job"]
    subprocess.run(["scancel", "--signal=USR2", job], env=cluster.slurm.env, check=True)


def assert_whole(cluster: Cluster, run: str) -> None:
    found = kills.check(cluster.dir(run), TOTAL)
    assert (found["rows"], found["lost"], found["foreign"], found["doubled"]) == (TOTAL, 0, 0, 0), found


def test_one_node_has_the_cores_of_all_and_survives_a_limit(cluster: Cluster) -> None:
    run = submitted(cluster)
    assert cluster.job(run)["NumCPUs"] == "3", "the learner and two actors, a thread each"
    wait_acting(cluster, run, 2)
    announce_the_limit(cluster, run)
    info = cluster.wait_status(run, "finished", "failed", patience_s=300)
    assert info["status"] == "finished", said_by(cluster, run)
    assert [again["cause"] for again in info["queue"]["restarts"]] == ["time limit"] and len(info["resumed"]) == 1
    assert cluster.wait_job(run, "COMPLETED")["ExitCode"] == "0:0"
    assert_whole(cluster, run)


def test_two_nodes_lose_no_row_when_an_actor_is_killed_and_the_job_requeued(cluster: Cluster, address: str) -> None:
    run = submitted(cluster, *TWO_NODES)
    victim = wait_acting(cluster, run, 3)["actor0"]
    job = cluster.job(run)
    assert (job["NumNodes"], job["NumCPUs"]) == ("2", "4")
    access = cluster.dir(run) / "channel"
    assert access.stat().st_mode & 0o077 == 0
    token = (access / "token").read_bytes()
    logs = cluster.dir(run) / "logs"
    said = {name: (logs / f"{name}.log").read_text() for name in ("actor0", "actor1", "actor2")}
    assert all(f"at https://{address}:" in text for text in said.values()), said
    assert [n for n, text in said.items() if " on n2" in text] == ["actor0", "actor2"]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: cluster.info(run)["warnings"], "a warning", said=lambda: said_by(cluster, run))
    assert_names(cluster.info(run)["warnings"][0], "actor0", "SIGKILL")
    wait_acting(cluster, run, 3)
    announce_the_limit(cluster, run)
    info = cluster.wait_status(run, "finished", "failed", patience_s=300)
    assert info["status"] == "finished" and len(info["resumed"]) == 1, said_by(cluster, run)
    assert_whole(cluster, run)
    assert not access.exists() and acting(run) == {}
    kept = [path for path in cluster.folder.rglob("*") if path.is_file() and token in path.read_bytes()]
    assert kept == []


def test_two_nodes_end_with_their_learner(cluster: Cluster, address: str) -> None:
    run = submitted(cluster, *TWO_NODES)
    wait_acting(cluster, run, 3)
    learner, _ = kills.processes(cluster.dir(run))
    cluster.kill(learner or 0)
    assert cluster.wait_status(run, "killed", patience_s=300)["exit_code"] == 137
    wait_for(lambda: not acting(run), "the end of the actors", 30)
    begun = kills.newest_step(cluster.dir(run))
    cluster.launch(f"resume={run}")
    wait_for(lambda: kills.newest_step(cluster.dir(run)) > begun, "rows", 240, lambda: said_by(cluster, run))
    cluster.regimen("cancel", run)
    wait_for(lambda: not acting(run), "the end of the actors", 60)

    def ended() -> bool:
        cluster.regimen("queue")  # it writes the end of a run that had no time to do so within Slurm's KillWait
        return bool(cluster.info(run)["status"] == "killed")

    wait_for(ended, "killed", said=lambda: said_by(cluster, run))
    assert cluster.wait_job(run, "CANCELLED")


def test_an_actor_that_fails_on_another_node_ends_the_run_with_its_error(cluster: Cluster, address: str) -> None:
    run = submitted(cluster, "hardware.nodes=2", "hardware.actors=1", "env.nan_at=130")
    info = cluster.wait_status(run, "diverged", "failed", "finished", patience_s=300)
    assert info["status"] == "diverged" and "actor0" in info["reason"], said_by(cluster, run)
    assert (files.read_json(cluster.dir(run) / "logs" / "actor0.json") or {})["error"] == "DivergedError"


def test_a_learner_and_an_actor_as_two_jobs(cluster: Cluster, address: str) -> None:
    made = certificate.make(address, cluster.folder)
    listening.write_token(cluster.folder / "token", "the token of a test")
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    channel = [f"host={address}", f"port={port}", "token=token", f"tls_certificate={made.certificate}"]
    channel += [f"tls_key={made.key}"]
    learner = submitted(cluster, "hardware.actors=0", *(f"hardware.channel.{value}" for value in channel))
    task = [s for s in TRAINING if s.startswith(("task=", "agent", "env."))]
    act = [*task, "stage=actor", "hardware=slurm", "hardware.submitit.mem_gb=2", "hardware.submitit.cpus_per_task=1"]
    act += [f"stage.learner=https://{address}:{port}", f"stage.certificate={made.certificate}", "stage.token=token"]
    cluster.launch("--config-dir", "conf", *act)
    (actor,) = [f.parent.name for f in cluster.folder.glob("outputs/*/run.json") if f.parent.name != learner]
    for run in (learner, actor):
        info = cluster.wait_status(run, "finished", "failed", patience_s=300)
        assert info["status"] == "finished", said_by(cluster, run)
    assert_whole(cluster, learner)
    assert cluster.info(actor)["headline"]["samples"] >= TOTAL
