"""Our tasks on `sim=isaaclab`, in the interpreter of `make isaaclab`: effects of events, contract, training, resume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from regimen.envs.isaaclab import installed
from regimen.system import host

ROOT = Path(__file__).resolve().parents[2]
PYTHON = host.made_interpreter("isaaclab")
TRAINING = ["task=h1_failure", "sim=isaaclab", "env.num_envs=4", "env.episode_length_s=0.8", "agent=rsl_rl_ppo"]
TRAINING += ["agent.num_steps_per_env=8", "hardware.threads=1"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("isaaclab"),
    pytest.mark.skipif(
        PYTHON is None or bool(list(installed.problems(PYTHON))), reason="Isaac Lab is not installed: make isaaclab"
    ),
]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def record(folder: Path, name: str) -> tuple[Path, dict]:
    """The directory and the record of a run by its name."""
    records = {path.parent: json.loads(path.read_text()) for path in folder.glob("outputs/*/run.json")}
    ((directory, found),) = [(path, one) for path, one in records.items() if one["name"] == name]
    return directory, found


def test_events_have_their_effect():
    options = ["-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=default", "--noconftest"]
    file = "tests/envs/isaaclab/test_world.py"
    done = run(ROOT, str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


@pytest.mark.parametrize("task", ["go2_flat", "h1_failure", "reach"])
def test_a_task_keeps_the_rules_of_the_contract(task):
    arguments = [f"task={task}", "sim=isaaclab", "env.episode_length_s=0.8", "--num-envs", "4"]
    done = run(ROOT, sys.executable, "-m", "regimen.cli", "check-env", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_training_is_continued_and_its_policy_evaluated(tmp_path):
    launch = [sys.executable, str(ROOT / "launch.py")]
    done = run(tmp_path, *launch, *TRAINING, "agent.max_iterations=2", "name=walker")
    directory, first = record(tmp_path, "walker")
    assert first["status"] == "finished", done.stdout + done.stderr
    assert (directory / "checkpoints" / "last.pt").exists()

    judged = ["task=h1_failure", "sim=isaaclab", "policy=walker", "name=judged", "env.episode_length_s=0.8"]
    few = ["stage.envs_per_command=2", "env.evaluation.fault_grid=null", "hardware.threads=1"]
    done = run(tmp_path, *launch, "stage=evaluate", *judged, *few)
    assert record(tmp_path, "judged")[1]["status"] == "finished", done.stdout + done.stderr
