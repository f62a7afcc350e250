"""Sweeps: one process for each job, a cap, survival of failures, the truth at the end, and how to rerun the rest."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from helpers.messages import assert_names, raises_naming
from helpers.subprocesses import popen, said
from helpers.supervised_runs import wait_for
from helpers.user_folder import make_lab, write
from regimen.cli.launch import launch
from regimen.cli.rerun import rerun_verb
from regimen.orchestration.new_run import create_run
from regimen.orchestration.sweep import jobs
from regimen.runs.index.index import Index
from regimen.system.errors import PreflightError

ROOT = Path(__file__).resolve().parents[3]
ARGUMENTS = ["-m", "--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act"]


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_lab(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def start(*arguments: str) -> subprocess.Popen[str]:
    return popen([sys.executable, str(ROOT / "launch.py"), *ARGUMENTS, *arguments])


def began(folder: Path, count: int) -> None:
    """Wait until so many jobs are at work."""
    wait_for(lambda: len(list(folder.glob("multirun/*/*/began"))) >= count)


def record(folder: Path) -> dict[str, Any]:
    (sweep,) = (folder / "multirun").iterdir()
    data: dict[str, Any] = json.loads((sweep / "sweep.json").read_text())
    return data


def summary(told: str) -> str:
    """The line that counts the jobs that finished: it names the record."""
    (line,) = [line for line in told.splitlines() if "/sweep.json" in line]
    return line


def planned(told: str) -> list[str]:
    """The rows of a plan: number and arguments of each job."""
    return re.findall(r"^  (\d{3}  .*)", told, re.M)


@pytest.mark.slow
def test_a_sweep_survives_a_failing_job_and_says_how_to_rerun_it(lab: Path) -> None:
    sweep = start("seed=0,1,2", "stage.fail_seeds=[1]", "hardware.max_jobs=2")
    told = said(sweep)
    assert sweep.returncode == 1, told
    jobs = record(lab)["jobs"]
    assert [job["status"] for job in jobs] == ["finished", "failed", "finished"]
    assert [job["exit_code"] for job in jobs] == [0, 1, 0]
    assert jobs[2]["headline"] == {"score": 2.0}
    assert_names(summary(told), "2 of 3")
    assert [line.split()[:2] for line in told.splitlines() if line.startswith("001")] == [["001", "seed=1"]]
    (folder,) = (lab / "multirun").iterdir()
    assert f" python launch.py sweep=multirun/{folder.name}\n" in told
    assert imread(folder / "sweep.png").std() > 0, "something is drawn"
    rows = list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))
    assert [(row["seed"], row["status"], row["score"]) for row in rows] == [
        ("0", "finished", "0.0"), ("1", "failed", ""), ("2", "finished", "2.0")
    ]  # fmt: skip
    assert "(3 of 3)" in told and re.search(r" of 3, ETA \d+:\d\d\)", told)


@pytest.mark.slow
def test_at_most_max_jobs_run_at_once_each_in_a_run_of_its_own(lab: Path) -> None:
    sweep = start("seed=range(4)", "stage.sleep_s=0.5", "stage.company=2", "hardware.max_jobs=2")
    told = said(sweep)
    assert sweep.returncode == 0, told
    assert_names(summary(told), "4 of 4")
    runs = sorted(lab.glob("multirun/*/*/run.json"))
    assert [f.parent.name.rpartition(".")[2] for f in runs] == ["000", "001", "002", "003"]
    assert {f.parent.name.rpartition(".")[0] for f in runs} == {runs[0].parent.parent.name}
    spans = [[float((f.parent / name).read_text()) for name in ("began", "ended")] for f in runs]
    assert max(sum(a <= begin < b for a, b in spans) for begin, _ in spans) == 2
    for file in runs:
        assert (file.parent / "config.yaml").exists()
        assert (file.parent / ".hydra" / "overrides.yaml").exists()


@pytest.mark.slow
def test_ctrl_c_stops_all_jobs(lab: Path) -> None:
    sweep = start("seed=0,1,2", "stage.sleep_s=600", "hardware.max_jobs=2")
    began(lab, 2)
    sweep.send_signal(signal.SIGINT)
    told = said(sweep)
    assert sweep.returncode == 128 + signal.SIGINT, told
    data = record(lab)
    assert data["status"] == "stopped"
    assert data["jobs"][2]["status"] == "not started"
    for job in data["jobs"][:2]:
        assert job["status"] not in ("running", "finished", "waiting")
        (file,) = lab.glob(f"multirun/*/{job['run']}/run.json")
        assert json.loads(file.read_text())["status"] == job["status"]
    assert told.count("python launch.py sweep=multirun/") == 1
    (waiting,) = [json.loads(f.read_text()) for f in lab.glob("multirun/*/*.002/run.json")]
    assert (waiting["status"], waiting["queue"]["kind"], waiting["sweep"]) == ("queued", "local", data["id"])
    assert [row.status for row in Index((lab / "multirun",)).rows() if row.id == waiting["id"]] == ["lost"]


def test_all_jobs_are_checked_before_the_first_starts(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = launch([*ARGUMENTS, "seed=0,1,two", "hardware.threads=1,x"], ROOT / "conf")
    said = capsys.readouterr().err
    assert code == 2
    assert_names(said, "seed=two", "hardware.threads=x")
    assert re.findall(r"^ +(\d+)\. ", said, re.M) == ["1", "2"]
    assert not (lab / "multirun").exists()


def test_a_wrong_option_among_swept_ones_is_refused(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(["-m", "task=reach,reech"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "task=reach,reech", "`reech`", "`reach`")


def test_terms_may_be_swept_and_the_plan_lists_the_jobs(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-m", "task=h1_failure", "env.events.change_joint_torque.params.probability=0,0.5"]
    more = ["env.events.push_robot=null", "env.num_envs=256", "seed=range(3)", "dry_run=true", "hardware.max_jobs=2"]
    assert launch([*arguments, *more], ROOT / "conf") == 0
    said = capsys.readouterr().out
    rows = planned(said)
    assert re.findall(r"\d+", said[: said.index(rows[0])])[-2:] == ["6", "2"], "so many jobs, so many at once"
    assert len(rows) == 6 and rows[4] == "004  env.events.change_joint_torque.params.probability=0.5 seed=1"
    assert "env.events.push_robot" in said
    assert not (lab / "multirun").exists()


def test_a_glob_stands_for_every_option_that_fits(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(["-m", "task=glob(h1_*)", "dry_run=true"], ROOT / "conf") == 0
    names = ["h1_amp", "h1_failure", "h1_flat", "h1_rough"]
    assert planned(capsys.readouterr().out) == [f"00{i}  task={name}" for i, name in enumerate(names)]
    assert launch(["-m", "task=glob(x_*)"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "task=glob(x_*)")


def test_another_launcher_is_refused(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch([*ARGUMENTS, "seed=0", "hydra/launcher=basic"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "hydra/launcher=basic", "hydra/launcher=regimen")
    assert not (lab / "multirun").exists()


@pytest.mark.slow
def test_a_job_that_cannot_start_has_failed_alone(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    create = create_run

    def without_space(composed: Any, folder: Path, found: Any, run_id: str, **known: Any) -> Any:
        if run_id.endswith("000"):
            raise PreflightError("no space left")
        return create(composed, folder, found, run_id, **known)

    monkeypatch.setattr(jobs, "create_run", without_space)
    assert launch([*ARGUMENTS, "seed=0,1"], ROOT / "conf") == 1
    assert [(job["status"], job["exit_code"]) for job in record(lab)["jobs"]] == [("failed", 2), ("finished", 0)]
    assert_names(capfd.readouterr().out, "no space left")


def test_when_no_job_can_start_the_record_says_so(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_space(*args: Any, **known: Any) -> Any:
        raise PreflightError("no space left")

    monkeypatch.setattr(jobs, "create_run", without_space)
    assert launch([*ARGUMENTS, "seed=0,1"], ROOT / "conf") == 1
    assert record(lab)["status"] == "ended"
    assert [(job["status"], job["exit_code"]) for job in record(lab)["jobs"]] == [("failed", 2)] * 2


@pytest.mark.slow
def test_a_failing_sweep_leaves_no_job_behind(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(batch: Any) -> None:
        if list(lab.glob("multirun/*/*/began")):
            raise RuntimeError("a bug")

    monkeypatch.setattr(jobs.LocalSweep, "_show_progress", broken)
    with raises_naming(RuntimeError, "a bug"):
        launch([*ARGUMENTS, "seed=0", "stage.sleep_s=600"], ROOT / "conf")
    (file,) = lab.glob("multirun/*/*/run.json")
    assert json.loads(file.read_text())["status"] == "killed"
    assert record(lab)["jobs"][0]["exit_code"] == 128 + signal.SIGTERM


@pytest.mark.slow
def test_no_batch_follows_a_ctrl_c(lab: Path) -> None:
    batches = start("seed=0,1,2", "stage.sleep_s=600", "hydra.sweeper.max_batch_size=1")
    began(lab, 1)
    batches.send_signal(signal.SIGINT)
    told = said(batches)
    assert batches.returncode == 128 + signal.SIGINT, told
    assert len(list(lab.glob("multirun/*/*/began"))) == 1
    assert_names(summary(told), "0 of 3")
    assert [job["status"] for job in record(lab)["jobs"]][1:] == ["not started"] * 2
    runs = [json.loads(file.read_text()) for file in sorted(lab.glob("multirun/*/*/run.json"))]
    assert [(run["status"], bool(run["code"])) for run in runs][1:] == [("queued", True)] * 2


VARIABLES = """
import os
from dataclasses import dataclass

@dataclass
class ReadCfg:
    _target_: str = "lab_variables.Read"

class Read:
    def __init__(self, cfg): ...

    def __call__(self, run, config):
        run.finish({}, {name: os.environ.get(name) for name in ("LAB_OWN", "LAB_ALL")})
"""
"""A stage whose result is the environment variables that it has."""


@pytest.mark.slow
def test_each_job_has_its_own_environment_variables_and_its_repetition_too(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(pattern: str) -> list[list[str | None]]:
        found = [json.loads(file.read_text()) for file in sorted(lab.glob(pattern))]
        return [[result["LAB_OWN"], result["LAB_ALL"]] for result in found]

    monkeypatch.delenv("LAB_OWN", raising=False)
    write(lab / "lab_variables.py", VARIABLES)
    write(lab / "conf/stage/read.yaml", "# Reads\n_target_: lab_variables.Read\n")
    write(lab / "conf/experiment/plain.yaml", "# @package _global_\n# P\nseed: 1\n")
    own = "# @package _global_\n# O\nhydra: {job: {env_set: {LAB_OWN: 'seed ${seed}'}}}\n"
    write(lab / "conf/experiment/own.yaml", own)
    arguments = [*ARGUMENTS[:-1], "stage=read", "experiment=own,plain", "hydra.job.env_set.LAB_ALL=1e3"]
    assert launch(arguments, ROOT / "conf") == 0
    assert results("multirun/*/*/result.json") == [["seed 0", "1e3"], [None, "1e3"]]
    assert not {"LAB_OWN", "LAB_ALL"} & os.environ.keys()
    (first,) = lab.glob("multirun/*/*.000")
    rerun_verb([str(first)])
    assert results("outputs/*/result.json") == [["seed 0", "1e3"]]


def test_lists_that_advance_together(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paired = ["task=zip(go2_flat,h1_flat)", "env.num_envs=zip(64,32)", "agent.agent.entropy_loss_scale=zip(range(2))"]
    assert launch(["-m", "seed=0,1", *paired, "dry_run=true"], ROOT / "conf") == 0
    assert planned(capsys.readouterr().out)[1:] == [
        "001  seed=0 task=h1_flat env.num_envs=32 agent.agent.entropy_loss_scale=1",
        "002  seed=1 task=go2_flat env.num_envs=64 agent.agent.entropy_loss_scale=0",
        "003  seed=1 task=h1_flat env.num_envs=32 agent.agent.entropy_loss_scale=1",
    ]
    assert launch(["-m", "task=zip(go2_flat,h1_flt)", "seed=zip(1,2)"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "h1_flt", "h1_flat")
    assert launch(["-m", "task=zip(go2_flat,h1_flat)", "seed=zip(1,2,3)"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "task=zip(go2_flat,h1_flat)", "2", "seed=zip(1,2,3)", "3")
    assert launch(["task=zip(go2_flat,h1_flat)"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "task=zip(go2_flat,h1_flat)", "-m")


@pytest.mark.slow
def test_a_paired_sweep_runs_and_a_job_listed_twice_runs_once(lab: Path) -> None:
    sweep = start("seed=zip(3,4,4)", "stage.sleep_s=zip(0.0,0.1,0.1)", "hardware.max_jobs=2")
    told = said(sweep)
    assert sweep.returncode == 0, told
    assert_names(told, "1 duplicate")
    assert [job["overrides"][4:6] for job in record(lab)["jobs"]] == [
        ["seed=3", "stage.sleep_s=0.0"], ["seed=4", "stage.sleep_s=0.1"]
    ]  # fmt: skip


@pytest.mark.slow
def test_an_edit_while_jobs_wait_has_no_effect(lab: Path) -> None:
    sweep = start("seed=0,1", "stage.until=edited")
    began(lab, 1)
    write(lab / "conf/stage/act.yaml", "# Acts\n_target_: lab_stage.Act\nfail_seeds: [1]\n")
    code = (lab / "lab_stage.py").read_text()
    write(lab / "lab_stage.py", code.replace('(run.dir / "began")', "raise RuntimeError('edited')"))
    (lab / "edited").touch()
    told = said(sweep)
    assert sweep.returncode == 0, told
    assert [job["status"] for job in record(lab)["jobs"]] == ["finished"] * 2
