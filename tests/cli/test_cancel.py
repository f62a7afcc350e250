"""`regimen cancel` ends a run without a scheduler too, if it works on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import ago, record_run
from helpers.supervised_runs import make_run, start, wait_for, worker_pid
from regimen.cli import main
from regimen.runs.record import read_record
from regimen.system import host


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


@pytest.mark.slow
def test_a_run_of_this_machine_saves_and_ends(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(outputs, "loop")
    process = start(run)
    wait_for(lambda: worker_pid(run))
    assert main.main(["cancel", run.id]) == 0
    assert_names(capsys.readouterr().out, run.id, process.pid)
    assert process.wait(60) == 143
    record = read_record(run.dir)
    assert record is not None and str(record.status) == "killed"


def test_what_does_not_work_here_is_refused(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = {**host.process(os.getpid()).to_dict(), "host": "elsewhere"}
    record_run(outputs, "away", name="far", status="running", supervisor=here, started=ago(seconds=5))
    (outputs / "away" / ".supervisor").touch()
    record_run(outputs, "done", name="ended")
    assert main.main(["cancel", "far"]) == 2
    assert_names(capsys.readouterr().err, "away", "elsewhere", f"kill {os.getpid()}")
    assert main.main(["cancel", "ended"]) == 2
    assert_names(capsys.readouterr().err, "ended")


def test_a_name_of_two_running_runs_is_refused(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        record_run(outputs, name, name="twin", status="running", supervisor=host.process(os.getpid()))
    assert main.main(["cancel", "twin"]) == 2
    assert_names(capsys.readouterr().err, "a", "b")
