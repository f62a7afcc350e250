"""`hardware=submitit_local`: the path of Slurm on this machine, detached from the command that started it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.subprocesses import PATIENCE_S
from orchestration.slurm.cluster import COUNT, Cluster, wait_for
from orchestration.slurm.sandbox import Sandbox
from regimen.system.files import read_json

pytestmark = pytest.mark.slow
LOCAL = [*COUNT, "hardware=submitit_local"]


@pytest.fixture
def here(lab: Path, tmp_path: Path) -> Iterator[Cluster]:
    """A user's folder on a machine without a Slurm; nothing works there afterwards."""
    here = Cluster(lab, Sandbox(tmp_path / "no_slurm"))
    yield here
    if any(run["status"] in ("queued", "running", "preempted") for run in runs(here)):
        here.popen(sys.executable, "-m", "regimen.cli.main", "cancel", "all").communicate()


def runs(here: Cluster) -> list[dict[str, Any]]:
    files = [*here.folder.glob("outputs/*/run.json"), *sorted(here.folder.glob("multirun/*/*/run.json"))]
    return [read_json(file) or {} for file in files]


def test_a_run_outlives_the_command_and_its_terminal(here: Cluster) -> None:
    launch = here.start(*LOCAL, "stage.steps=80")
    said, _ = launch.communicate(timeout=PATIENCE_S)  # returns at the end of its pipe: nobody else holds it
    assert launch.returncode == 0, said
    (run,) = runs(here)
    assert_names(said, "submitted", f"outputs/{run['id']}", run["queue"]["job"])
    assert run["status"] in ("queued", "running")
    here.wait_step(run["id"])
    session = os.getsid(here.info(run["id"])["supervisor"]["pid"])
    assert session not in (os.getsid(0), launch.pid)
    assert here.wait_status(run["id"], "finished", "failed")["status"] == "finished", here.logs(run["id"])


def test_waiting_ends_with_the_code_of_the_run(here: Cluster) -> None:
    said = here.launch(*LOCAL, "wait=true", "stage.fail_at=1", code=1)
    assert "cannot count to 1" in said


def test_a_sweep_works_a_few_at_a_time_and_can_be_cancelled(here: Cluster) -> None:
    here.launch("-m", *LOCAL, "seed=range(5)", "stage.steps=100000", "hardware.max_jobs=2")
    wait_for(lambda: [run["status"] for run in runs(here)].count("running") == 2, "two work")
    table = here.regimen("queue")
    assert table.count("running") == 2 and table.count("hardware.max_jobs") == 3, table
    said = here.regimen("cancel", runs(here)[4]["id"], runs(here)[0]["id"])
    assert f"cancelled     {runs(here)[4]['id']}" in said and f"stopping      {runs(here)[0]['id']}" in said, said
    wait_for(lambda: runs(here)[2]["status"] == "running", "the next one starts")
    here.regimen("cancel", "all")
    wait_for(lambda: {run["status"] for run in runs(here)} == {"killed"}, "all are stopped")
    assert_names(runs(here)[2]["reason"], "SIGTERM", "checkpoint")
    assert json.loads(here.regimen("queue", "--json")) == []


def test_a_limit_is_survived(here: Cluster) -> None:
    here.launch(*LOCAL, "stage.steps=80")
    (run,) = runs(here)
    here.wait_step(run["id"])
    os.kill(here.info(run["id"])["supervisor"]["pid"], signal.SIGUSR2)  # what submitit sends half a minute before
    info = here.wait_status(run["id"], "finished", "failed")
    assert (info["status"], len(info["resumed"])) == ("finished", 1), here.logs(run["id"])
    assert (read_json(here.dir(run["id"]) / "result.json") or {})["whole"]


def test_a_process_that_is_killed_is_told(here: Cluster) -> None:
    here.launch(*LOCAL, "stage.steps=100000")
    (run,) = runs(here)
    here.wait_step(run["id"])
    here.kill(here.info(run["id"])["supervisor"]["pid"])
    info = here.wait_status(run["id"], "killed", "failed")
    if info["signal"] is None:  # the worker saved and ended, because its supervisor was gone
        assert_names(info["reason"], "supervisor", "killed")
    else:
        assert info["signal"] == signal.SIGKILL


def test_what_slurm_alone_knows_is_refused(here: Cluster) -> None:
    said = here.launch(*LOCAL, "hardware.submitit.partition=gpu", code=2)
    assert_names(said, "hardware.submitit.partition", "submitit_local")
    assert not (here.folder / "outputs").exists()
