"""What happens to machines and jobs, on a real Slurm: the run is whole in the end, or says truthfully why not."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import pairwise
from typing import Any

import pytest

from end_to_end.test_resume import SETTINGS, assert_same, final_state, rows
from helpers.messages import assert_names
from orchestration.slurm.cluster import Cluster, wait_for
from orchestration.slurm.sandbox import NODES
from regimen.system import files

pytestmark = pytest.mark.slow
LONG = ("stage.steps=60", "stage.step_s=0.2")
ENDLESS = "stage.steps=100000"


def whole(cluster: Cluster, run: str) -> dict[str, Any]:
    """run.json of a run that counted everything once, after its end."""
    info = cluster.wait_status(run, "finished", "failed")
    assert info["status"] == "finished", cluster.logs(run)
    assert (files.read_json(cluster.dir(run) / "result.json") or {})["whole"]
    assert cluster.wait_job(run, "COMPLETED")["ExitCode"] == "0:0"
    return info


def scontrol(cluster: Cluster, *words: str) -> None:
    subprocess.run(["scontrol", *words], env=cluster.slurm.env, check=True)


def urgent(cluster: Cluster, node: str, seconds: int = 3) -> None:
    """Have a job of a higher priority take a whole node for some seconds."""
    command = ["sbatch", "-p", "urgent", "-w", node, "--exclusive", "-o", "/dev/null", "--wrap", f"sleep {seconds}"]
    subprocess.run(command, env=cluster.slurm.env, check=True, stdout=subprocess.DEVNULL)


def going_on(cluster: Cluster, run: str, restarts: int = 1) -> dict[str, Any]:
    """run.json of a run that waits to go on, so many times by now."""
    wait_for(lambda: len((cluster.info(run)["queue"] or {}).get("restarts", [])) == restarts, f"restart {restarts}")
    return cluster.info(run)


def announce_the_limit(cluster: Cluster, run: str, step: int = 1) -> None:
    """Send what Slurm sends when a limit is near; it looks every half minute only, which is long for a test."""
    cluster.wait_step(run, step)
    subprocess.run(["scancel", "--signal=USR2", cluster.info(run)["queue"]["job"]], env=cluster.slurm.env, check=True)


def test_a_killed_worker_is_a_failed_job(cluster: Cluster) -> None:
    run = cluster.count(ENDLESS)
    cluster.kill(cluster.wait_step(run["id"]))
    info = cluster.wait_status(run["id"], "killed")
    assert (info["exit_code"], info["signal"]) == (137, 9)
    assert_names(info["reason"], "SIGKILL")
    assert cluster.wait_job(run["id"], "FAILED")["ExitCode"] == "137:0"


def test_a_killed_supervisor_is_a_failed_job_that_goes_on_where_it_was(cluster: Cluster) -> None:
    run = cluster.count(*LONG)
    cluster.wait_step(run["id"], 3)
    cluster.kill(cluster.info(run["id"])["supervisor"]["pid"])
    cluster.wait_job(run["id"], "FAILED")
    said = cluster.regimen("queue")
    info = cluster.info(run["id"])
    assert info["status"] == "killed", said  # by the worker, if it could still save, else by this look
    assert_names(cluster.launch(f"resume={run['id']}"), "submitted", f"outputs/{run['id']}")
    info = whole(cluster, run["id"])
    assert info["queue"]["job"] != run["queue"]["job"]
    assert len(info["resumed"]) == 1


def test_a_drained_node_lets_its_job_end(cluster: Cluster) -> None:
    run = cluster.count("stage.steps=30")
    cluster.wait_step(run["id"])
    node = cluster.job(run["id"])["NodeList"]
    try:
        scontrol(cluster, "update", f"nodename={node}", "state=drain", "reason=maintenance")
        other = cluster.count("stage.steps=1")
        assert whole(cluster, run["id"])["resumed"] == []
        whole(cluster, other["id"])
        assert cluster.job(other["id"])["NodeList"] != node
    finally:
        scontrol(cluster, "update", f"nodename={node}", "state=resume")


def test_a_lost_node_gives_its_run_to_another(cluster: Cluster) -> None:
    run = cluster.count(*LONG)
    cluster.wait_step(run["id"], 3)
    node = cluster.job(run["id"])["NodeList"]
    try:
        cluster.slurm.lose_node(node)
        os.utime(cluster.dir(run["id"]) / ".supervisor", (0, 0))  # as if it had been silent for long
        scontrol(cluster, "update", f"nodename={node}", "state=down", "reason=lost")
        info = whole(cluster, run["id"])
        assert [row["previous_status"] for row in info["resumed"]] == ["running"]
        job = cluster.job(run["id"])
        assert (job["NodeList"], job["Restarts"]) == (next(n for n in NODES if n != node), "1")
    finally:
        cluster.slurm.start_node(node)
        scontrol(cluster, "update", f"nodename={node}", "state=resume")


def test_preemption_at_a_limit_of_an_hour_loses_nothing(cluster: Cluster) -> None:
    """A real training, twice taken away by others, equals one that nobody disturbed, bit for bit."""
    arguments = [*SETTINGS["reach"], "hardware=slurm_preemptible", "hardware.submitit.mem_gb=1"]
    arguments += ["hardware.submitit.cpus_per_task=1", "hardware.submitit.partition=normal"]
    cluster.launch(*arguments, "name=calm", "hardware.submitit.additional_parameters.nodelist=n2")
    cluster.launch(*arguments, "name=disturbed", "hardware.submitit.additional_parameters.nodelist=n1")
    runs = {files.read_json(f)["name"]: f.parent for f in cluster.folder.glob("outputs/*/run.json")}
    run = runs["disturbed"].name
    assert "TimeLimit=01:00:00" in cluster.slurm.ask("scontrol", "show", "job", cluster.info(run)["queue"]["job"])
    for attempt in (1, 2):
        wait_for(lambda: (runs["disturbed"] / "progress.json").exists(), "the training")
        urgent(cluster, "n1")
        info = going_on(cluster, run, attempt)
        assert (info["status"], info["exit_code"]) == ("preempted", 75)
        step = info["queue"]["restarts"][-1]["step"]
        assert_names(info["reason"], "preempted", "SIGUSR2", "checkpoint", step)
        wait_for(lambda n=attempt: len(cluster.info(run)["resumed"]) == n, "the next attempt")
    for name, folder in runs.items():
        assert cluster.wait_status(folder.name, "finished", "failed")["status"] == "finished", name
    assert cluster.wait_job(run, "COMPLETED")["Restarts"] == "2"
    assert_same(final_state(runs["calm"]), final_state(runs["disturbed"]))
    assert rows(runs["calm"]) == rows(runs["disturbed"])


def test_preemption_announced_by_sigterm_alone(cluster: Cluster) -> None:
    cluster.slurm.announce_preemption(by_user_signal=False)
    try:
        run = cluster.count(*LONG, "hardware.submitit.additional_parameters.nodelist=n1")
        cluster.wait_step(run["id"], 3)
        urgent(cluster, "n1")
        info = going_on(cluster, run["id"])
        assert_names(info["reason"], "preempted", "SIGTERM", "checkpoint", info["queue"]["restarts"][-1]["step"])
        assert [row["previous_status"] for row in whole(cluster, run["id"])["resumed"]] == ["preempted"]
    finally:
        cluster.slurm.announce_preemption(by_user_signal=True)


def test_a_time_limit_is_survived(cluster: Cluster) -> None:
    """The shortest limit that leaves a job time to start, announced by Slurm itself 30 to 60 s after the start."""
    limit = ["hardware.submitit.timeout_min=2", "hardware.submitit.signal_delay_s=60"]
    run = cluster.count("stage.restarts=1", *limit)
    info = whole(cluster, run["id"])
    assert len(info["resumed"]) == len(info["queue"]["restarts"]) == 1
    assert info["queue"]["restarts"][0]["cause"] == "time limit"


def test_a_chain_of_limits_goes_on_while_it_gets_on(cluster: Cluster) -> None:
    run = cluster.count("stage.restarts=3")
    for attempt in (1, 2, 3):
        announce_the_limit(cluster, run["id"])
        info = going_on(cluster, run["id"], attempt)
        assert_names(info["reason"], "time limit", "SIGUSR2", "checkpoint", info["queue"]["restarts"][-1]["step"])
        assert info["queue"]["again"] is True
        wait_for(lambda n=attempt: len(cluster.info(run["id"])["resumed"]) == n, "the next attempt")
    restarts = whole(cluster, run["id"])["queue"]["restarts"]
    assert all(a["step"] < b["step"] for a, b in pairwise(restarts))


def test_a_chain_that_does_not_get_on_ends(cluster: Cluster) -> None:
    run = cluster.count("stage.stuck=true", ENDLESS)
    wait_for(lambda: cluster.info(run["id"])["status"] == "running", "work")
    announce_the_limit(cluster, run["id"], 0)
    wait_for(lambda: len(cluster.info(run["id"])["resumed"]) == 1, "the second attempt")
    announce_the_limit(cluster, run["id"], 0)
    wait_for(lambda: cluster.info(run["id"])["queue"].get("again") is False, "the end")
    info = cluster.info(run["id"])
    assert (info["status"], info["exit_code"]) == ("preempted", 75)
    assert_names(info["reason"], "hardware.submitit.timeout_min", "stage.checkpoint_interval")
    assert cluster.wait_job(run["id"], "FAILED")["ExitCode"] == "75:0"
    assert json.loads(cluster.regimen("queue", "--json")) == []


def test_a_bound_on_restarts(cluster: Cluster) -> None:
    run = cluster.count(ENDLESS, "hardware.submitit.max_num_timeout=1")
    announce_the_limit(cluster, run["id"])
    wait_for(lambda: len(cluster.info(run["id"])["resumed"]) == 1, "the second attempt")
    announce_the_limit(cluster, run["id"], 2)
    wait_for(lambda: cluster.info(run["id"])["queue"].get("again") is False, "the bound")
    assert_names(cluster.info(run["id"])["reason"], "hardware.submitit.max_num_timeout=1")
    assert len(cluster.info(run["id"])["queue"]["restarts"]) == 1
