"""Sweeps and runs of several machines on a real Slurm."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from helpers.messages import assert_names
from orchestration.slurm.cluster import COUNT, SMALL, Cluster, wait_for
from regimen.system import files

pytestmark = pytest.mark.slow
SWEEP = ["-m", *COUNT, "hardware=slurm", *SMALL]


def runs(cluster: Cluster) -> list[dict[str, Any]]:
    """The records of all jobs of the sweep, in order."""
    return [files.read_json(file) or {} for file in sorted(cluster.folder.glob("multirun/*/*/run.json"))]


def test_a_sweep_of_20_jobs_is_one_array_and_a_failed_job_is_its_own_affair(cluster: Cluster) -> None:
    said = cluster.launch(*SWEEP, "stage.steps=range(1,21)", "stage.fail_at=19", "stage.step_s=0.01")
    jobs = [run["queue"]["job"] for run in runs(cluster)]
    assert_names(said, "20 jobs", jobs[0], jobs[-1], "regimen queue")
    assert {job.partition("_")[0] for job in jobs} == {jobs[0].partition("_")[0]}
    assert [job.partition("_")[2] for job in jobs] == [str(number) for number in range(20)]
    wait_for(lambda: not {run["status"] for run in runs(cluster)} & {"queued", "running"}, "all jobs over")
    assert [run["status"] for run in runs(cluster)] == ["finished"] * 19 + ["failed"]
    wait_for(lambda: not cluster.slurm.ask("squeue", "-h"), "the jobs end with their runs")
    states = [cluster.slurm.job(job)["JobState"] for job in jobs]
    assert states == ["COMPLETED"] * 19 + ["FAILED"]
    assert json.loads(cluster.regimen("queue", "--json")) == []


def test_a_sweep_that_is_waited_for_and_then_repeated(cluster: Cluster) -> None:
    said = cluster.launch(*SWEEP, "seed=range(3)", "stage.fail_at=1,99", "wait=true", code=1)
    assert_names(said, "3 of 6")
    (folder,) = cluster.folder.glob("multirun/*")
    assert f"sweep={folder.relative_to(cluster.folder)}" in said


def test_a_job_of_a_sweep_at_its_limit_is_requeued_alone(cluster: Cluster) -> None:
    """The last job of an array has the array's number, by which Slurm would requeue all of them."""
    cluster.launch(*SWEEP, "seed=range(3)", "stage.steps=10000")
    first, ended, last = (run["id"] for run in runs(cluster))
    for run in (first, last):
        cluster.wait_step(run, 3)
    cluster.regimen("cancel", ended)
    cluster.wait_job(ended, "CANCELLED", "FAILED")
    assert cluster.info(first)["status"] == "running"
    job = cluster.info(last)["queue"]["job"]
    subprocess.run(["scancel", "--signal=USR2", job], env=cluster.slurm.env, check=True)
    wait_for(lambda: cluster.info(last)["resumed"], "the second attempt", said=lambda: cluster.logs(last))
    untouched = cluster.info(first)
    assert untouched["status"] == "running" and not untouched["resumed"], cluster.logs(first)
    assert cluster.info(ended)["status"] == "killed"
    assert [row["cause"] for row in cluster.info(last)["queue"]["restarts"]] == ["time limit"]


def test_cancelling_a_sweep(cluster: Cluster) -> None:
    cluster.launch(*SWEEP, "seed=range(12)", "stage.steps=10000")
    wait_for(lambda: {run["status"] for run in runs(cluster)} >= {"running", "queued"}, "some run, some wait")
    (folder,) = cluster.folder.glob("multirun/*")
    said = cluster.regimen("cancel", folder.name)
    assert said.count("cancelled     ") + said.count("stopping      ") == 12, said
    wait_for(lambda: not cluster.slurm.ask("squeue", "-h"), "the jobs end")
    cluster.regimen("queue")  # records those that were hit before their work could take a signal
    assert {run["status"] for run in runs(cluster)} == {"killed"}
    assert any(run["supervisor"] is None for run in runs(cluster)), "some had not started"
    assert any("SIGTERM" in run["reason"] for run in runs(cluster))


def test_two_machines_with_two_workers_each_stop_and_go_on_together(cluster: Cluster) -> None:
    if not cluster.slurm.named:
        pytest.skip("the nodes have no names of their own here (needs CAP_SYS_ADMIN)")
    arguments = ["--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=together", "hardware=slurm"]
    several = ["hardware.nodes=2", "hardware.processes=2", "stage.steps=20", "stage.restarts=1"]
    cluster.launch(*arguments, *SMALL, *several)
    (folder,) = [file.parent for file in cluster.folder.glob("outputs/*/run.json")]
    cluster.wait_step(folder.name, 3)
    assert cluster.job(folder.name)["NumNodes"] == "2"
    job = cluster.info(folder.name)["queue"]["job"]
    subprocess.run(["scancel", "--signal=USR2", job], env=cluster.slurm.env, check=True)
    wait_for(lambda: cluster.info(folder.name)["resumed"], "the second attempt", said=lambda: cluster.logs(folder.name))
    stopped = {(folder / f"stopped{rank}").read_text() for rank in range(4)}
    assert len(stopped) == 1
    info = cluster.wait_status(folder.name, "finished", "failed")
    assert info["status"] == "finished", cluster.logs(folder.name)
    assert info["headline"] == {"total": 10.0}
    result = files.read_json(folder / "result.json") or {}
    assert (result["workers"], str(result["first"])) == (4, stopped.pop())
    hosts = {(folder / f"host{rank}").read_text() for rank in range(4)}
    assert hosts == {"n1", "n2"}
    assert cluster.wait_job(folder.name, "COMPLETED")["ExitCode"] == "0:0"
