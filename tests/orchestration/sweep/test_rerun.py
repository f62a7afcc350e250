"""`launch.py sweep=<dir>`: only what did not finish runs again, in place, and what is gone is made anew."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.subprocesses import popen
from helpers.supervised_runs import wait_for
from helpers.user_folder import make_lab, write
from regimen.cli.launch import launch
from regimen.orchestration.sweep import command
from regimen.orchestration.sweep.record import SweepRecord
from regimen.system.errors import PreflightError, RunReferenceError

ROOT = Path(__file__).resolve().parents[3]
ARGUMENTS = ["-m", "--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act"]


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_lab(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def info(folder: Path, number: int) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / f"{folder.name}.{number:03d}" / "run.json").read_text())
    return data


def change(folder: Path, number: int, **fields: Any) -> None:
    file = folder / f"{folder.name}.{number:03d}" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.slow
def test_what_failed_was_lost_or_deleted_runs_again_and_nothing_else(
    lab: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert launch([*ARGUMENTS, "seed=range(5)", "stage.fail_seeds=[1]", "hardware.max_jobs=3"], ROOT / "conf") == 1
    (folder,) = (lab / "multirun").iterdir()
    finished = [info(folder, n)["ended"] for n in (0, 4)]
    config, signature = folder / f"{folder.name}.002/config.yaml", info(folder, 2)["signature"]["config"]
    frozen = config.read_text()
    shutil.rmtree(folder / f"{folder.name}.002")
    dead = {"pid": 2**22 + 1, "start": 1, "host": os.uname().nodename}
    change(folder, 3, status="running", supervisor=dead, ended=None)
    code = (lab / "lab_stage.py").read_text()
    write(lab / "lab_stage.py", code.replace("if config.seed in (self.cfg.fail_seeds or []):", "if False:"))
    capfd.readouterr()
    assert launch([f"sweep=multirun/{folder.name}"], ROOT / "conf") == 0
    said = capfd.readouterr().out
    assert_names(said, f"multirun/{folder.name}/sweep.json", "5 of 5 jobs")
    assert f"code      {folder.name}.001  " in said
    assert f"created   {folder.name}.002" in said
    assert [said.count(f"started   {folder.name}.{n:03d}") for n in range(5)] == [0, 1, 1, 1, 0]
    assert [info(folder, n)["ended"] for n in (0, 4)] == finished
    assert [len(info(folder, n)["resumed"]) for n in range(5)] == [0, 1, 0, 1, 0]
    assert info(folder, 2)["overrides"][-2:] == ["stage.fail_seeds=[1]", "hardware.max_jobs=3"]
    assert (config.read_text(), info(folder, 2)["signature"]["config"]) == (frozen, signature), "threads as well"
    assert info(folder, 3)["code"] == info(folder, 0)["code"] != info(folder, 1)["code"]

    assert launch(["sweep=latest"], ROOT / "conf") == 0
    said = capfd.readouterr().out
    assert_names(said, f"multirun/{folder.name}", "5 jobs", "finished")
    assert "started   " not in said


@pytest.mark.slow
def test_jobs_that_never_started_start_as_they_were_frozen(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(batch: Any, job: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr("regimen.orchestration.sweep.jobs.LocalSweep._start", interrupted)
        assert launch([*ARGUMENTS, "seed=0,1"], ROOT / "conf") == 128 + signal.SIGTERM
    (folder,) = (lab / "multirun").iterdir()
    assert [info(folder, n)["status"] for n in (0, 1)] == ["queued", "queued"]
    write(lab / "conf/stage/act.yaml", "# Acts\n_target_: lab_stage.Act\nfail_seeds: [0, 1]\n")
    assert launch([f"sweep={folder.name[:12]}"], ROOT / "conf") == 0
    assert [info(folder, n)["resumed"] for n in (0, 1)] == [[], []]
    assert json.loads((folder / "sweep.json").read_text())["status"] == "ended"


@pytest.mark.slow
def test_when_the_sweep_itself_was_killed_the_working_job_is_left_alone_and_the_rest_starts(
    lab: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    each_works_until_both_have_begun = "stage.company=2"
    command = [sys.executable, str(ROOT / "launch.py"), *ARGUMENTS, "seed=0,1", each_works_until_both_have_begun]
    process = popen(command)
    wait_for(lambda: list(lab.glob("multirun/*/*/began")))
    process.kill()
    process.wait()
    (folder,) = (lab / "multirun").iterdir()
    assert launch(["sweep=latest"], ROOT / "conf") == 1, "one of them was not seen to end"
    said = capfd.readouterr().out
    assert f"skipped   {folder.name}.000  " in said
    assert f"started   {folder.name}.001" in said and f"started   {folder.name}.000" not in said
    wait_for(lambda: info(folder, 0)["status"] != "running")
    assert [info(folder, n)["status"] for n in (0, 1)] == ["finished", "finished"]
    assert [info(folder, n)["resumed"] for n in (0, 1)] == [[], []]


def sweep(root: Path, name: str, *statuses: str) -> Path:
    jobs = [{"run": f"{name}.{i:03d}", "overrides": [f"seed={i}"], "status": s} for i, s in enumerate(statuses)]
    data = {"status": "ended", "jobs": jobs, "process": {"pid": 4321, "host": "here"}}
    return write(root / name / "sweep.json", json.dumps(data)).parent


def test_a_sweep_is_named_by_directory_id_beginning_or_latest(tmp_path: Path) -> None:
    root = tmp_path / "multirun"
    with raises_naming(RunReferenceError, "`x`", root, "-m"):
        command.find("x", root)
    first, second = sweep(root, "20260101-a1", "finished"), sweep(root, "20260102-b2", "finished", "failed")
    assert [command.find(r, root) for r in (str(first), "20260101-a1", "20260101", "latest")] == [
        *[first] * 3, second
    ]  # fmt: skip
    with raises_naming(RunReferenceError, "2026", "20260101-a1", "1 of 1", "20260102-b2", "1 of 2"):
        command.find("2026", root)
    with raises_naming(RunReferenceError, "20260102-b3", "`20260102-b2`"):
        command.find("20260102-b3", root)


def test_only_one_process_starts_jobs_of_a_sweep(tmp_path: Path) -> None:
    folder = sweep(tmp_path, "s", "failed")
    with SweepRecord.open(folder).owned(), raises_naming(PreflightError, "sweep s", "kill 4321", "here"):
        command.rerun(str(folder))


def test_other_arguments_beside_the_sweep_are_refused(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(["sweep=latest", "seed=1"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "sweep=latest", "seed=1")


def test_inputs_of_a_job_made_anew_are_those_of_the_first_time() -> None:
    from regimen.orchestration.sweep.record import Job

    job = Job("s.000", ["task=reach", "policy=latest", "seed=1"], inputs={"policy": "/a b/it's.pt", "data": ["/d,1"]})
    arguments = command._arguments(job)
    from regimen.config import sweep_grid

    parsed = sweep_grid.make_parser(None).parse_overrides(arguments)
    assert {o.key_or_group: o.value() for o in parsed} == {
        "task": "reach", "seed": 1, "policy": "/a b/it's.pt", "data": ["/d,1"]
    }  # fmt: skip
