"""States and reasons in plain words, and what is made of a job that is over, without a Slurm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import change, recorded
from helpers.supervised_runs import make_run
from regimen.display.formatting import duration
from regimen.orchestration.slurm import job_states, requeue
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs.run import Run
from regimen.system import files, host


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("Resources", ["resources"]),
        ("DependencyNeverSatisfied", ["job", "failed"]),
        ("ReqNodeNotAvail, UnavailableNodes:n1", ["node"]),
        ("QOSMaxJobsPerUserLimit", ["QOS", "QOSMaxJobsPerUserLimit"]),
        ("AssocGrpCPUMinutesLimit", ["group", "AssocGrpCPUMinutesLimit"]),
        ("SomethingNew", ["something new"]),
    ],
)
def test_reasons_in_plain_words(code: str, names: list[str]) -> None:
    told = job_states.plain_reason(code)
    assert_names(told, *names)
    assert told != code and job_states.plain_reason("None") == ""


def test_a_start_that_is_known_is_said() -> None:
    assert_names(job_states.plain_reason("BeginTime", "2026-11-21T03:15:14"), "03:15:14")


def test_times_as_slurm_writes_them() -> None:
    assert [duration(s, "clock") for s in (5, 65, 3605, 90_061)] == ["0:05", "1:05", "1:00:05", "1-01:01:01"]


def fake(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_one_call_tells_all_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["7|RUNNING|n1|0:05|1:00:00|2026|None", "8_1|PENDING||0:00|1:00:00|N/A|Priority", "9|FAILED||1|2|3|None"]
    fake(
        tmp_path,
        "squeue",
        f"echo call >> {tmp_path}/calls\nprintf '{chr(92)}n'\ncat <<X\n" + "\n".join(rows) + "\nX",
        monkeypatch,
    )
    found = job_states.slurm_states(["7", "8_1", "10"])
    assert {job: (state.state, state.live) for job, state in found.items()} == {
        "7": ("RUNNING", True),
        "8_1": ("PENDING", True),
    }
    assert found["8_1"].reason == job_states.plain_reason("Priority")
    assert (tmp_path / "calls").read_text().count("call") == 1


def test_a_slurm_that_does_not_answer_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regimen.system.errors import PreflightError

    fake(tmp_path, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1", monkeypatch)
    with raises_naming(PreflightError, "squeue", "Unable to contact slurm controller"):
        job_states.slurm_states(["7"])


def queued(folder: Path, status: str = "queued", **queue: Any) -> Run:
    """A run that was submitted long ago."""
    run = make_run(folder, "finish", scheduler="slurm", submitit={})
    known = {"kind": "slurm", "job": "7", "folder": str(folder), "submitted": "2026-01-01T00:00:00+00:00", **queue}
    change(run.dir, status=status, queue=known)
    return run


@pytest.mark.parametrize(
    ("status", "state", "code", "ended", "names"),
    [
        ("queued", "CANCELLED", "DependencyNeverSatisfied", "killed", ["cancelled"]),
        ("queued", "CANCELLED", "None", "killed", ["cancelled"]),
        ("queued", "FAILED", "NonZeroExitCode", "failed", ["FAILED", "no such python"]),
        ("running", "NODE_FAIL", "None", "killed", ["NODE_FAIL"]),
        ("running", "CANCELLED", "None", "killed", ["cancelled"]),
        ("queued", None, "", "killed", ["gone"]),
        ("running", None, "", "killed", ["gone"]),
    ],
)
def test_what_became_of_a_run_whose_job_is_over(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    state: str | None,
    code: str,
    ended: str,
    names: list[str],
) -> None:
    (tmp_path / "7_0_log.out").write_text("no such python\n")
    run = queued(tmp_path, status)
    found = {"7": JobState("7", state, reason=job_states.plain_reason(code), code=code)} if state else {}
    monkeypatch.setattr(job_states, "slurm_states", lambda jobs: found)
    monkeypatch.setattr(requeue, "show_job", lambda job: {})
    assert job_states.reconcile([run]) == {}
    info = recorded(run)
    assert info["status"] == ended
    assert_names(info["reason"], "job 7", *names)
    assert ("started" in info["reason"]) == (status == "queued"), "it says whether the work had begun"
    assert code != "DependencyNeverSatisfied" or job_states.plain_reason(code) in info["reason"]
    assert info["exit_code"] and info["ended"]
    assert not run.reserve.exists()
    change(run.dir, status="running")
    assert job_states.reconcile([run], lambda status: False) == {}, "nothing is asked for"


def test_a_run_between_two_attempts_is_not_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = queued(tmp_path, "preempted")
    running = {"7": JobState("7", "RUNNING")}
    monkeypatch.setattr(job_states, "slurm_states", lambda jobs: running)
    assert run.id in job_states.reconcile([run])
    monkeypatch.setattr(job_states, "slurm_states", lambda jobs: {})
    job_states.reconcile([run])
    assert run.status == "preempted", "it had not said yet that it goes on"
    change(run.dir, queue={**recorded(run)["queue"], "again": True})
    job_states.reconcile([run])
    assert run.status == "killed"
    assert_names(recorded(run)["reason"], "job 7", "gone")


def test_a_new_job_and_one_that_is_worked_on_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_states, "slurm_states", lambda jobs: {})
    run = queued(tmp_path, submitted=files.iso_now())
    job_states.reconcile([run])
    assert run.status == "queued"
    run = queued(tmp_path, "running")
    change(run.dir, supervisor=host.process(os.getppid()))
    job_states.reconcile([run])
    assert run.status == "running"
