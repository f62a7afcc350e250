"""Studies: another sweeper chooses the values of each job by the results of those before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.messages import assert_names
from helpers.user_folder import make_lab
from regimen.cli.launch import launch

ROOT = Path(__file__).resolve().parents[3]
LAB = ["--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act"]


def study(folder: Path, *arguments: str) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """What a study said, the best it found, and its jobs."""
    command = [sys.executable, str(ROOT / "launch.py"), "-m", "hydra/sweeper=optuna", *arguments]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    (sweep,) = (folder / "multirun").iterdir()
    file = sweep / "optimization_results.yaml"
    best = yaml.safe_load(file.read_text()) if file.is_file() else {}
    return done.stdout + done.stderr, best, json.loads((sweep / "sweep.json").read_text())["jobs"]


@pytest.mark.slow
def test_a_study_of_real_trainings_finds_its_best(tmp_path: Path) -> None:
    pytest.importorskip("optuna", minversion="4")
    said, best, jobs = study(
        tmp_path,
        *("task=reach", "agent.trainer.timesteps=48", "agent.agent.learning_rate=tag(log,interval(1e-4,1e-2))"),
        *("hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "hydra.sweeper.direction=maximize"),
        *("hydra.sweeper.sampler.seed=3", "hardware.max_jobs=2", "seed=1"),
    )
    assert [job["status"] for job in jobs] == ["finished"] * 4, said
    values = {
        next(o.partition("=")[2] for o in job["overrides"] if "learning_rate" in o): next(
            iter(job["headline"].values())
        )
        for job in jobs
    }
    assert len(values) == 4
    assert best["best_value"] == max(values.values())
    assert values[str(best["best_params"]["agent.agent.learning_rate"])] == best["best_value"]
    (line,) = [line for line in said.splitlines() if "optimization_results.yaml" in line]
    chosen = best["best_params"]["agent.agent.learning_rate"]
    assert_names(line, f"{best['best_value']:.4g}", f"agent.agent.learning_rate={chosen}")


@pytest.mark.slow
def test_a_failed_trial_does_not_end_the_study(tmp_path: Path) -> None:
    pytest.importorskip("optuna", minversion="4")
    make_lab(tmp_path)
    settings = ["hydra.sweeper.n_jobs=2", "hydra.sweeper.direction=maximize", "hydra.sweeper.sampler.seed=1"]
    grid = [*LAB, "seed=range(0,6)", "hydra.sweeper.n_trials=4", *settings, "hardware.max_jobs=2"]
    said, best, jobs = study(tmp_path, *grid, "stage.fail_seeds=[2]")
    scores = {job["run"][-1]: job["headline"].get("score") for job in jobs}
    assert sorted({job["status"] for job in jobs}) == ["failed", "finished"], said
    assert len(jobs) == 4 and best["best_value"] == max(score for score in scores.values() if score is not None)
    finished = sum(job["status"] == "finished" for job in jobs)
    assert_names(said, f"{finished} of 4 jobs")
    assert "python launch.py sweep=multirun/" in said


@pytest.mark.slow
def test_a_study_without_any_result_says_so(tmp_path: Path) -> None:
    pytest.importorskip("optuna", minversion="4")
    make_lab(tmp_path)
    said, best, jobs = study(
        tmp_path, *LAB, "seed=range(0,3)", "stage.fail_seeds=[0,1,2,3]", "hydra.sweeper.n_trials=1",
        "hydra.sweeper.n_jobs=1",
    )  # fmt: skip
    assert_names(said, "study")
    assert not best
    assert "Traceback" not in said
    assert [job["status"] for job in jobs] == ["failed"]


def test_a_sweeper_that_is_not_there_and_one_that_cannot_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert launch(["-m", "hydra/sweeper=optun", "seed=1,2"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "hydra/sweeper=optun")
    assert launch(["-m", "hydra/sweeper=basic", "seed=zip(1,2)"], ROOT / "conf") == 2
    assert_names(capsys.readouterr().err, "hydra/sweeper=basic", "seed=zip(1,2)")
    assert not (tmp_path / "multirun").exists()
