"""Single runs on a real Slurm: refusals, failures that others see, frozen configuration, cancelling, waiting."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest

from helpers.messages import assert_names
from helpers.subprocesses import PATIENCE_S
from helpers.user_folder import write
from orchestration.slurm.cluster import COUNT, SMALL, Cluster, wait_for
from orchestration.slurm.counting import SOURCE
from orchestration.slurm.sandbox import NODES
from regimen.orchestration.slurm import job_states
from regimen.system import files

pytestmark = pytest.mark.slow
SLURM = [*COUNT, "hardware=slurm", *SMALL]


def nothing_written(cluster: Cluster) -> bool:
    return not any((cluster.folder / name).exists() for name in ("outputs", "multirun", ".submitit"))


def test_a_partition_that_is_not_there_is_refused_before_anything_is_written(cluster: Cluster) -> None:
    said = cluster.launch(*SLURM, "hardware.submitit.partition=gpu", code=2)
    assert_names(said, "invalid partition specified: gpu", "hardware.submitit", "partition=gpu", "sinfo")
    assert nothing_written(cluster)


@pytest.mark.parametrize(
    "asked", ["mem_gb=900", "cpus_per_task=64", "gres=gpu:2", "additional_parameters.licenses=isaac:1"]
)
def test_more_than_any_node_has_is_refused(cluster: Cluster, asked: str) -> None:
    said = cluster.launch(*SLURM, f"hardware.submitit.{asked}", code=2)
    key, _, value = asked.partition("=")
    assert_names(said, "hardware.submitit", *key.split("."), value, "sinfo")
    assert nothing_written(cluster)


def test_without_sbatch_a_launch_says_where_to_launch(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cluster.slurm.env, "PATH", "/nowhere")
    said = cluster.launch(*SLURM, code=2)
    assert_names(said, "hardware.scheduler=slurm", "sbatch", "hardware=submitit_local", "hardware=cpu")
    assert nothing_written(cluster)


def test_a_controller_that_is_gone_is_an_error_before_anything_is_written(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = cluster.folder / "slurm.conf"
    text = (cluster.slurm.folder / "slurm.conf").read_text()
    other.write_text(text.replace(f"SlurmctldPort={cluster.slurm.ports}", "SlurmctldPort=9\nMessageTimeout=2"))
    monkeypatch.setitem(cluster.slurm.env, "SLURM_CONF", str(other))
    said = cluster.launch(*SLURM, code=2)
    assert_names(said, "contact slurm controller")
    assert nothing_written(cluster)


def test_a_failed_run_is_a_failed_job_and_its_dependant_never_starts(cluster: Cluster) -> None:
    run = cluster.count("stage.fail_at=1", "stage.steps=200", "name=parent")
    child = cluster.count(f"hardware.submitit.additional_parameters={{dependency:'afterok:{run['queue']['job']}'}}")
    info = cluster.wait_status(run["id"], "failed")
    assert info["exit_code"] == 1
    assert "cannot count to 1" in info["reason"]
    job = cluster.wait_job(run["id"], "FAILED")
    assert job["ExitCode"] == "1:0"
    wait_for(lambda: "JobState=FAILED" in (cluster.slurm.folder / "log/jobs").read_text(), "jobcomp")
    assert cluster.wait_job(child["id"], "PENDING")["Reason"] in ("Dependency", "DependencyNeverSatisfied")
    wait_said(cluster, job_states.plain_reason("DependencyNeverSatisfied"))
    assert f"cancelled     {child['id']}" in cluster.regimen("cancel", child["id"])
    assert cluster.info(child["id"])["status"] == "killed"


def wait_said(cluster: Cluster, word: str) -> None:
    """Wait until `regimen queue` says `word`."""
    said = [""]

    def told() -> bool:
        said[0] = cluster.regimen("queue")
        return word in said[0]

    wait_for(told, word, said=lambda: said[0])


def test_an_edit_while_queued_changes_nothing(cluster: Cluster) -> None:
    run = cluster.count("hardware.submitit.additional_parameters.begin=now+600")
    assert run["status"] == "queued"
    write(cluster.folder / "conf/stage/count.yaml", "# Counts\n_target_: counting.Count\nword: edited\n")
    write(cluster.folder / "counting.py", SOURCE.replace("cfg.word}", "'edited'}"))
    begin = ["scontrol", "update", f"jobid={run['queue']['job']}", "starttime=now"]
    subprocess.run(begin, env=cluster.slurm.env, check=True)
    info = cluster.wait_status(run["id"], "finished", "failed")
    assert info["status"] == "finished", cluster.logs(run["id"])
    assert files.read_json(cluster.dir(run["id"]) / "result.json")["word"] == "first"
    assert cluster.wait_job(run["id"], "COMPLETED")["ExitCode"] == "0:0"


def test_waiting_shows_the_work_and_ends_with_its_code(cluster: Cluster) -> None:
    said = cluster.launch(*SLURM, "wait=true", "stage.fail_at=2", code=1)
    (file,) = cluster.folder.glob("outputs/*/run.json")
    assert_names(said, "submitted", f"outputs/{file.parent.name}")
    assert said.splitlines()[-1].startswith("failed ")
    assert "cannot count to 2" in said
    assert "finished" in cluster.launch(*SLURM, "wait=true")


def test_ctrl_c_ends_the_waiting_and_not_the_job(cluster: Cluster) -> None:
    waiting = cluster.start(*SLURM, "wait=true", "stage.steps=100")
    wait_for(lambda: list(cluster.folder.glob("outputs/*/progress.json")), "work")
    waiting.send_signal(signal.SIGINT)
    said, _ = waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 128 + signal.SIGINT
    (run,) = [path.parent.name for path in cluster.folder.glob("outputs/*/run.json")]
    assert f"regimen cancel {run}" in said.splitlines()[-1]
    assert cluster.wait_status(run, "finished", "killed")["status"] == "finished"


def test_cancelling_a_job_that_waits_and_one_that_works(cluster: Cluster) -> None:
    works = cluster.count("stage.steps=10000", "name=works", "stage.save_s=1")
    waits = cluster.count("hardware.submitit.additional_parameters.begin=now+600", "name=waits")
    cluster.wait_step(works["id"])
    table = cluster.regimen("queue")
    assert [line.split()[1:4] for line in table.splitlines()[1:]] == [
        ["works", works["queue"]["job"], "running"],
        ["waits", waits["queue"]["job"], "pending"],
    ], table
    told = {row["name"]: row for row in json.loads(cluster.regimen("queue", "--json"))}
    assert told["works"]["node"] in ("n1", "n2")
    assert told["works"]["progress"]["iteration"] >= 1
    assert re.search(r"\d\d:\d\d:\d\d", told["waits"]["reason"]), "when it will start"
    said = cluster.regimen("cancel", "works", "waits")
    assert f"stopping      {works['id']}" in said
    assert f"cancelled     {waits['id']}: job {waits['queue']['job']} " in said
    assert cluster.info(waits["id"])["status"] == "killed"
    info = cluster.wait_status(works["id"], "killed", "preempted")
    assert (info["status"], info["exit_code"], info["signal"]) == ("killed", 143, 15)
    assert_names(info["reason"], "SIGTERM", "checkpoint")
    assert (cluster.dir(works["id"]) / "checkpoints/last.pt").exists()
    assert cluster.wait_job(works["id"], "CANCELLED")["Restarts"] == "0"
    assert json.loads(cluster.regimen("queue", "--json")) == []


def test_a_job_taken_away_by_scancel_is_recorded_by_the_next_look(cluster: Cluster) -> None:
    run = cluster.count("hardware.submitit.additional_parameters.begin=now+600")
    waiting = cluster.count("hardware.submitit.additional_parameters.begin=now+600")
    subprocess.run(["scancel", run["queue"]["job"]], env=cluster.slurm.env, check=True)
    cluster.wait_job(run["id"], "CANCELLED")
    said = cluster.regimen("queue")
    assert f"killed: {run['id']}: job {run['queue']['job']} " in said
    assert waiting["id"] in said
    assert cluster.info(run["id"])["status"] == "killed"


def test_references_that_mean_no_job(cluster: Cluster) -> None:
    run = cluster.count("name=quick", "stage.steps=1")
    cluster.wait_status(run["id"], "finished")
    assert_names(cluster.regimen("cancel", "quick", code=2), "quick", run["id"], "finished")
    assert_names(cluster.regimen("cancel", "slow", code=2), "slow")
    assert os.path.exists(cluster.folder / "outputs")


def test_a_cluster_in_maintenance_takes_jobs_for_later(cluster: Cluster) -> None:
    nodes = f"nodename={','.join(NODES)}"
    subprocess.run(
        ["scontrol", "update", nodes, "state=drain", "reason=maintenance"], env=cluster.slurm.env, check=True
    )
    try:
        run = cluster.count("stage.steps=1")
        assert cluster.job(run["id"])["JobState"] == "PENDING"
        assert len(cluster.slurm.ask("squeue", "-h").splitlines()) == 1
    finally:
        subprocess.run(["scontrol", "update", nodes, "state=resume"], env=cluster.slurm.env, check=True)
    assert cluster.wait_status(run["id"], "finished")["exit_code"] == 0


def test_a_job_can_be_given_away_from_inside_of_another(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interactive allocation leaves variables that contradict what the new job asks for."""
    for name, value in {"JOB_ID": "999", "MEM_PER_CPU": "64", "NODEID": "1", "RESTART_COUNT": "3"}.items():
        monkeypatch.setitem(cluster.slurm.env, f"SLURM_{name}", value)
    run = cluster.count("stage.steps=1")
    assert cluster.wait_status(run["id"], "finished", "failed", "killed")["status"] == "finished", cluster.logs(
        run["id"]
    )
