"""Our tasks on `sim=isaaclab`, in the interpreter of `make isaaclab`: effects of events, contract, training, resume."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from helpers.launches import ROOT, environment, launch, record, start
from helpers.library_marks import needs
from helpers.supervised_runs import wait_for
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.system import host

PYTHON = host.made_interpreter("isaaclab")
FEW = ["sim=isaaclab", "hardware.threads=1"]
WALKER = ["task=h1_failure", *FEW, "env.num_envs=4", "env.episode_length_s=0.8", "agent=rsl_rl_ppo"]
WALKER += ["agent.num_steps_per_env=8", "agent.max_iterations=12", "stage.checkpoint_interval=16"]

pytestmark = needs(ISAAC_LAB)


def test_events_have_their_effect():
    options = ["-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=default", "--noconftest"]
    files = [f"tests/envs/isaaclab/{name}.py" for name in ("test_world", "test_world_on_ground")]
    command = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_a_task_keeps_the_rules_of_the_contract():
    short = ["env.decimation=1", "env.episode_length_s=0.15"]  # few steps: each takes long
    arguments = ["task=go2_flat", "sim=isaaclab", *short, "--num-envs", "4"]
    command = [sys.executable, "-m", "regimen.cli", "check-env", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_walker_is_trained_evaluated_with_failures_and_trained_again_with_an_interruption(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    out = launch(whole, *WALKER, "name=walker")
    first, found = record(whole, "walker")
    assert found["status"] == "finished", out
    assert f"isaaclab: {PYTHON}" in (first / "config.yaml").read_text()

    judged = ["stage=evaluate", "task=h1_failure", "policy=walker", "name=judged", "stage.envs_per_command=1"]
    out = launch(whole, *judged, *FEW, "env.episode_length_s=0.8")
    assert record(whole, "judged")[1]["status"] == "finished", out

    process = start(parts, *WALKER, "name=walker")
    last: Path = wait_for(lambda: next(parts.glob("outputs/*/checkpoints/last.pt"), None), seconds=300)
    second = last.parents[1]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert record(parts, "walker")[1]["status"] != "finished"
    out = launch(parts, f"resume={second.name}")
    assert record(parts, "walker")[1]["status"] == "finished", out

    one, other = (torch.load(each / "checkpoints" / "last.pt", weights_only=True) for each in (first, second))
    names = [name for name, _ in leaves(one)]
    assert names == [name for name, _ in leaves(other)]
    same = [(a.nan_to_num() == b.nan_to_num()).all() for (_, a), (_, b) in zip(leaves(one), leaves(other), strict=True)]
    assert len(names) > 50
    assert all(same), [name for name, equal in zip(names, same, strict=True) if not equal]


def leaves(value: Any, path: str = "") -> list[tuple[str, torch.Tensor]]:
    """The tensors of a checkpoint by their paths."""
    if isinstance(value, torch.Tensor):
        return [(path, value)]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [leaf for key, child in children if key != "run" for leaf in leaves(child, f"{path}/{key}")]
