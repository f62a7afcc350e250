"""Killed without warning and resumed equals never interrupted, bit for bit, through the whole launcher."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.subprocesses import popen
from helpers.supervised_runs import wait_for

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "reach": ["task=reach", "env.num_envs=16", "agent.trainer.timesteps=960", "stage.checkpoint_interval=48"],
    "go2_flat": ["task=go2_flat", "env.num_envs=16", "agent.trainer.timesteps=240", "stage.checkpoint_interval=48"],
}


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return popen([sys.executable, str(ROOT / "launch.py"), *arguments], cwd=folder)


def complete(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def the_run(folder: Path) -> Path:
    (run,) = folder.glob("outputs/*")
    return run


def wait_for_checkpoint(folder: Path) -> Path:
    """Wait for the first of many checkpoints of the only run in `folder`; return the run."""
    last: Path = wait_for(lambda: next(folder.glob("outputs/*/checkpoints/last.pt"), None))
    return last.parents[1]


def worker_of(run: Path) -> int:
    """Number of the process that works under the supervisor of a run."""
    supervisor = json.loads((run / "run.json").read_text())["supervisor"]["pid"]
    (child,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return int(child)


def final_state(run: Path) -> dict[str, Any]:
    bundle = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    return {k: v for k, v in bundle.items() if k != "run"}


def rows(run: Path) -> list[dict[str, Any]]:
    """Logged metrics without those that are times."""
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "time_s" and "Perf/" not in k and "(ms)" not in k} for row in read]


def assert_same(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{k}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a.nan_to_num(), b.nan_to_num()), where
    else:
        assert a == b, where


@pytest.mark.parametrize("task", SETTINGS)
def test_kill_9_then_resume_equals_uninterrupted(tmp_path, task):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    assert complete(start(whole, *SETTINGS[task]))[0] == 0

    process = start(parts, *SETTINGS[task])
    run = wait_for_checkpoint(parts)
    os.kill(worker_of(run), signal.SIGKILL)
    assert complete(process)[0] == 128 + signal.SIGKILL
    assert json.loads((run / "run.json").read_text())["status"] == "killed"

    assert complete(start(parts, f"resume={run.name}"))[0] == 0
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "finished"
    assert len(record["resumed"]) == 1
    assert_same(final_state(the_run(whole)), final_state(run))
    assert rows(the_run(whole)) == rows(run)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path, *SETTINGS["reach"])
    run = wait_for_checkpoint(tmp_path)
    process.send_signal(signal.SIGINT)
    code, output = complete(process)
    assert code == 128 + signal.SIGINT
    assert f"resume={run.name}" in output.splitlines()[-1]
    assert "Traceback" not in output


def test_a_training_that_diverges_says_so_and_names_the_tensor(tmp_path):
    wild = {"learning_rate": "1e30", "grad_norm_clip": "0.0", "learning_rate_scheduler": "null"}
    process = start(tmp_path, *SETTINGS["reach"], *(f"agent.agent.{k}={v}" for k, v in wild.items()))
    code, output = complete(process)
    record = json.loads((the_run(tmp_path) / "run.json").read_text())
    assert code == 3
    assert record["status"] == "diverged"
    assert re.search(r"`[\w./ ]+`", record["reason"]), "the name of a tensor or of a loss"
    assert "diverged" in output.splitlines()[-1]


HIDDEN_STATE = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class Walk(gym.Env):
    metadata = {"render_fps": 10}
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1)
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x += 0.1 * float(action[0])
        return np.array([self.x], np.float32), -abs(self.x), abs(self.x) > 3, False, {}

gym.register("Walk-v0", entry_point=Walk, max_episode_steps=20)
"""


@pytest.mark.parametrize(
    ("agent", "settings"),
    [
        ("skrl_ppo", ["agent.trainer.timesteps=4800", "stage.checkpoint_interval=24"]),
        ("rsl_rl_ppo", ["agent.max_iterations=200", "stage.checkpoint_interval=24"]),
        ("fast_sac", ["agent.learning_starts=8", "agent.logging_interval=8", "stage.checkpoint_interval=8"]),
    ],
)
def test_a_training_whose_envs_hide_their_state_is_resumed_with_new_episodes(
    tmp_path: Path, agent: str, settings: list[str]
) -> None:
    (tmp_path / "walks.py").write_text(HIDDEN_STATE)
    process = start(tmp_path, "task=gym", "env.id=walks:Walk-v0", "env.num_envs=4", f"agent={agent}", *settings)
    run = wait_for_checkpoint(tmp_path)
    process.send_signal(signal.SIGINT)
    code, screen = complete(process)
    assert code == 130 and f"resume={run.name}" in screen.splitlines()[-1]
    before = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    process = start(tmp_path, f"resume={run.name}")
    wait_for(lambda: read_step(run) > before["step"])
    process.send_signal(signal.SIGINT)
    code, screen = complete(process)
    record = json.loads((run / "run.json").read_text())
    assert code == 130 and record["status"] == "killed"
    assert any("new episodes" in line for line in record["warnings"])


def read_step(run: Path) -> int:
    return int(torch.load(run / "checkpoints" / "last.pt", weights_only=True)["step"])
