"""Sweeps: one process for each job, a cap, survival of failures, the truth at the end, and how to rerun the rest."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab import make_lab, write
from regimen import launcher, sweep, sweep_report
from regimen.errors import PreflightError
from regimen.launcher import launch

ROOT = Path(__file__).resolve().parents[1]
ARGUMENTS = ["-m", "--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act"]


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_lab(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "launch.py"), *ARGUMENTS, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def record(folder: Path) -> dict[str, Any]:
    (sweep,) = (folder / "multirun").iterdir()
    data: dict[str, Any] = json.loads((sweep / "sweep.json").read_text())
    return data


def test_a_sweep_survives_a_failing_job_and_says_how_to_rerun_it(lab: Path) -> None:
    sweep = start("seed=0,1,2", "stage.fail_seeds=[1]", "hardware.max_jobs=2")
    said, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 1, said
    jobs = record(lab)["jobs"]
    assert [job["status"] for job in jobs] == ["finished", "failed", "finished"]
    assert [job["exit_code"] for job in jobs] == [0, 1, 0]
    assert jobs[2]["headline"] == {"score": 2.0}
    assert "2 of 3 jobs finished" in said
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("001")] == [["001", "seed=1"]]
    (command,) = [line for line in said.splitlines() if line.strip().startswith("python launch.py")]
    rerun = [a for a in shlex.split(command)[2:] if not a.startswith("stage.fail_seeds")]
    assert "seed=1" in rerun
    assert subprocess.run([sys.executable, str(ROOT / "launch.py"), *rerun], capture_output=True).returncode == 0
    assert [json.loads(f.read_text())["status"] for f in lab.glob("outputs/*/run.json")] == ["finished"]


def test_at_most_max_jobs_run_at_once_each_in_a_run_of_its_own(lab: Path) -> None:
    sweep = start("seed=range(4)", "stage.sleep_s=0.5", "hardware.max_jobs=2")
    said, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 0, said
    assert "4 of 4 jobs finished" in said
    runs = sorted(lab.glob("multirun/*/*/run.json"))
    assert [f.parent.name.rpartition(".")[2] for f in runs] == ["000", "001", "002", "003"]
    assert {f.parent.name.rpartition(".")[0] for f in runs} == {runs[0].parent.parent.name}
    spans = [[float((f.parent / name).read_text()) for name in ("began", "ended")] for f in runs]
    assert max(sum(a <= begin < b for a, b in spans) for begin, _ in spans) == 2
    for file in runs:
        assert (file.parent / "config.yaml").exists()
        assert (file.parent / ".hydra" / "overrides.yaml").exists()


def test_ctrl_c_stops_all_jobs(lab: Path) -> None:
    sweep = start("seed=0,1,2", "stage.sleep_s=60", "hardware.max_jobs=2")
    deadline = time.monotonic() + 30
    while len(list(lab.glob("multirun/*/*/began"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=30)
    assert sweep.returncode == 128 + signal.SIGINT, said
    data = record(lab)
    assert data["status"] == "stopped"
    assert data["jobs"][2]["status"] == "not started"
    for job in data["jobs"][:2]:
        assert job["status"] not in ("running", "finished", "waiting")
        (file,) = lab.glob(f"multirun/*/{job['run']}/run.json")
        assert json.loads(file.read_text())["status"] == job["status"]
    assert said.count("python launch.py") == 3


def test_all_jobs_are_checked_before_the_first_starts(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = launch([*ARGUMENTS, "seed=0,1,two", "hardware.threads=1,x"], ROOT / "conf")
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith("2 problems, nothing was started:")
    assert "`seed` must be a whole number, not `two`" in said
    assert "`hardware.threads` must be a whole number, not `x`" in said
    assert not (lab / "multirun").exists()


def test_a_wrong_option_among_swept_ones_is_refused(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(["-m", "task=reach,reech"], ROOT / "conf") == 2
    assert "argument `task=reach,reech`: there is no task `reech`. Did you mean `reach`?" in capsys.readouterr().err


def test_terms_may_be_swept_and_the_plan_lists_the_jobs(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-m", "task=h1_failure", "env.events.change_joint_torque.params.probability=0,0.5"]
    more = ["env.events.push_robot=null", "env.num_envs=256", "seed=range(3)", "dry_run=true", "hardware.max_jobs=2"]
    assert launch([*arguments, *more], ROOT / "conf") == 0
    said = capsys.readouterr().out
    assert "A sweep of 6 jobs, 2 at once:" in said
    assert "004  env.events.change_joint_torque.params.probability=0.5 seed=1" in said
    assert "env.events.push_robot" in said
    assert not (lab / "multirun").exists()


def test_another_launcher_is_refused(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch([*ARGUMENTS, "seed=0", "hydra/launcher=basic"], ROOT / "conf") == 2
    assert "hydra/launcher=regimen" in capsys.readouterr().err
    assert not (lab / "multirun").exists()


def test_a_job_that_cannot_start_has_failed_alone(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    create = launcher.create_run

    def without_space(composed: Any, folder: Path, found: Any, run_id: str) -> Any:
        if run_id.endswith("000"):
            raise PreflightError("no space left")
        return create(composed, folder, found, run_id)

    monkeypatch.setattr(sweep, "create_run", without_space)
    assert launch([*ARGUMENTS, "seed=0,1"], ROOT / "conf") == 1
    assert [(job["status"], job["exit_code"]) for job in record(lab)["jobs"]] == [("failed", 2), ("finished", 0)]
    assert "not started: no space left" in capfd.readouterr().out


def test_a_failing_sweep_leaves_no_job_behind(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(batch: Any) -> None:
        if list(lab.glob("multirun/*/*/began")):
            raise RuntimeError("a bug")

    monkeypatch.setattr(sweep._Batch, "_show_progress", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        launch([*ARGUMENTS, "seed=0", "stage.sleep_s=60"], ROOT / "conf")
    (file,) = lab.glob("multirun/*/*/run.json")
    assert json.loads(file.read_text())["status"] == "killed"
    assert record(lab)["jobs"][0]["exit_code"] == 128 + signal.SIGTERM


def test_no_batch_follows_a_ctrl_c(lab: Path) -> None:
    batches = start("seed=0,1,2", "stage.sleep_s=60", "hydra.sweeper.max_batch_size=1")
    deadline = time.monotonic() + 30
    while not list(lab.glob("multirun/*/*/began")) and time.monotonic() < deadline:
        time.sleep(0.05)
    batches.send_signal(signal.SIGINT)
    said, _ = batches.communicate(timeout=30)
    assert batches.returncode == 128 + signal.SIGINT, said
    assert len(list(lab.glob("multirun/*/*/run.json"))) == 1


def test_what_was_stopped_is_resumed_and_what_failed_begins_anew_with_its_policy(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lab / "multirun/s"
    jobs = [
        {"run": f"s.{i:03d}", "overrides": ["task=reach", "policy=latest", f"seed={i}"], "policy": f"{lab}/a b.pt"}
        | {"status": status, "exit_code": code}
        for i, (status, code) in enumerate([("preempted", 75), ("killed", 137), ("failed", 1)])
    ]
    write(folder / "sweep.json", json.dumps({"jobs": jobs}))
    write(folder / "s.000/checkpoints/last.pt", "")
    write(folder / "s.000/run.json", "{}")
    assert sweep_report.report(folder) == 1
    said = capsys.readouterr().out
    assert "  python launch.py resume=multirun/s/s.000\n" in said
    commands = [shlex.split(line)[2:] for line in said.splitlines() if " task=reach " in line and "launch.py" in line]
    assert commands == [["task=reach", "policy='a b.pt'", f"seed={i}"] for i in (1, 2)]
