"""Sweeps whose jobs a scheduler starts: detached by default, the same record, report and rerun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.supervised_runs import wait_for
from helpers.user_folder import make_lab
from regimen.cli.launch import launch

ROOT = Path(__file__).resolve().parents[3]
ARGUMENTS = ["-m", "--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act"]


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_lab(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def infos(lab: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(lab.glob("multirun/*/*/run.json"))]


def wait_for_the_end(lab: Path) -> None:
    """Wait until no job is left to do."""
    wait_for(lambda: not {info["status"] for info in infos(lab)} & {"queued", "running"})


@pytest.mark.slow
def test_a_detached_sweep_returns_at_once_and_is_rerun_when_its_jobs_have_ended(
    lab: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = [*ARGUMENTS, "seed=range(3)", "stage.fail_seeds=[1]", "stage.until=looked", "hardware=submitit_local"]
    assert launch([*sweep, "hardware.max_jobs=3"], ROOT / "conf") == 0
    said = capfd.readouterr().out
    assert len(infos(lab)) == 3 and all(info["queue"]["kind"] == "submitit_local" for info in infos(lab))
    jobs = {info["id"]: info["queue"]["job"] for info in infos(lab)}
    first, *_, last = jobs.values()
    assert_names(said, "3 jobs", first, last, "regimen queue")
    assert "sweep.json" not in said, "nothing is reported yet"
    assert launch(["sweep=latest"], ROOT / "conf") == 0
    assert_names(capfd.readouterr().out, *jobs, *jobs.values())
    (lab / "looked").touch()
    wait_for_the_end(lab)
    assert [info["status"] for info in infos(lab)] == ["finished", "failed", "finished"]
    code = (lab / "lab_stage.py").read_text()
    (lab / "lab_stage.py").write_text(code.replace("if config.seed in (self.cfg.fail_seeds or []):", "if False:"))
    assert launch(["sweep=latest"], ROOT / "conf") == 0
    said = capfd.readouterr().out
    assert_names(said, "1 job", infos(lab)[1]["queue"]["job"])
    assert f"code      {infos(lab)[1]['id']}  " in said
    wait_for_the_end(lab)
    assert [info["status"] for info in infos(lab)] == ["finished"] * 3
    assert launch(["sweep=latest"], ROOT / "conf") == 0
    said = capfd.readouterr().out
    assert_names(said, "3 of 3")
    assert "submitted" not in said
    assert len(list(lab.glob("multirun/*/sweep.png"))) == 1


@pytest.mark.slow
def test_with_wait_the_sweep_stays_and_reports(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sweep = [*ARGUMENTS, "seed=range(2)", "stage.fail_seeds=[1]", "hardware=submitit_local", "wait=true"]
    assert launch(sweep, ROOT / "conf") == 1
    said = capfd.readouterr().out
    (file,) = lab.glob("multirun/*/sweep.json")
    assert_names(said, "1 of 2 jobs", f"python launch.py sweep=multirun/{file.parent.name}")
    assert [job["status"] for job in json.loads(file.read_text())["jobs"]] == ["finished", "failed"]


@pytest.mark.slow
def test_some_jobs_here_and_some_given_away(lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sweep = [*ARGUMENTS, "hardware=submitit_local,cpu", "stage.sleep_s=1.5"]
    launch(sweep, ROOT / "conf")
    said = capfd.readouterr().out
    assert_names(said, "1 job", infos(lab)[0]["queue"]["job"])
    assert said.count("started   ") == 1
    (file,) = lab.glob("multirun/*/sweep.json")
    assert json.loads(file.read_text())["status"] == "submitted"
    wait_for_the_end(lab)
    assert launch(["sweep=latest"], ROOT / "conf") == 0
    assert_names(capfd.readouterr().out, "2 of 2 jobs")


def test_a_missing_scheduler_is_said_before_anything_is_written(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(lab))
    assert launch([*ARGUMENTS, "seed=range(3)", "hardware=slurm"], ROOT / "conf") == 2
    assert_names(
        capsys.readouterr().err, "hardware.scheduler=slurm", "sbatch", "hardware=submitit_local", "hardware=cpu"
    )
    assert not (lab / "multirun").exists()
