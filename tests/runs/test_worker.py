"""The worker reads the run directory and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.supervised_runs import ENV, ended, make_run, start
from regimen.runs import worker
from regimen.system import host
from regimen.system.files import read_json


def work(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "regimen.runs.worker", str(path)]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=60)


def test_threads_and_imports_of_a_light_stage(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish", threads=3)
    assert work(run.dir).returncode == 0
    result = read_json(run.dir / "result.json")
    assert result == {"headline": {"return": 12.5}, "torch": False, "threads": "3"}
    assert run.status == "running"  # judging is the supervisor's


@pytest.mark.slow
def test_seed_decides_what_the_global_generators_draw(tmp_path: Path) -> None:
    drawn = []
    for seed in (1, 1, 2):
        run = make_run(tmp_path / str(len(drawn)), "draw", seed)
        assert ended(start(run), run)[0]["status"] == "finished"
        drawn.append(run.record.headline)
    assert drawn[0] == drawn[1]
    assert all(drawn[0][name] != drawn[2][name] for name in ("torch", "numpy", "python"))


def test_error_is_left_for_the_supervisor(tmp_path: Path) -> None:
    run = make_run(tmp_path, "fail")
    done = work(run.dir)
    error = read_json(run.logs / "error.json")
    assert done.returncode == 1 and error is not None
    assert (error["kind"], error["message"]) == ("ValueError", "the gripper is upside down")
    assert "stages_for_tests.py" in error["traceback"] and "Traceback" in done.stderr


def test_unknown_stage_is_bad_input(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    run.config_path.write_text(
        run.config_path.read_text().replace("helpers.stages_for_tests.Act", "helpers.stages_for_tests.Atc")
    )
    done = work(run.dir)
    assert done.returncode == 2
    assert_names(done.stderr, "Atc", "Act")
    assert "Traceback" not in done.stderr


def test_null_threads_keep_what_the_user_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*worker.THREAD_VARIABLES, "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    worker.set_threads(None)
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert os.environ["MKL_NUM_THREADS"] == str(host.cores())
    worker.set_threads(2)
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_mujoco_warns_into_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mujoco = pytest.importorskip("mujoco")
    before = mujoco.MjLogConfig.get()
    monkeypatch.chdir(tmp_path)
    worker.keep_mujoco_log(tmp_path / "logs.txt")
    xml = "<mujoco><worldbody><body><freejoint/><geom size='.1'/></body></worldbody></mujoco>"
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    data.qpos[0] = float("nan")
    mujoco.mj_step(model, data)
    mujoco.MjLogConfig.set(before)
    assert "QPOS" in (tmp_path / "logs.txt").read_text()
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()
