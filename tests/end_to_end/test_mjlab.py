"""mjlab's tasks in the interpreter of `make mjlab`: contract, training, resume, evaluation, pictures, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.launches import launch, record, start
from helpers.messages import assert_names
from helpers.supervised_runs import wait_for
from regimen.envs.foreign import installed
from regimen.envs.mjlab.library import MJLAB
from regimen.runs.checkpoint import load
from regimen.system import host

ROOT = Path(__file__).resolve().parents[2]
PYTHON = host.made_interpreter("mjlab")
GO1 = "Mjlab-Velocity-Flat-Unitree-Go1"
TASK = ["task=mjlab", f"env.id={GO1}", "env.num_envs=4", "env.episode_length_s=0.8"]
SHORT = ["agent=rsl_rl_ppo", "agent.num_steps_per_env=8", "agent.max_iterations=3", "hardware.threads=1"]
HELD = "env.evaluation={command: twist, grid: [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], disturbances: [push_robot]}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("mjlab"),
    pytest.mark.skipif(
        PYTHON is None or bool(list(installed.problems(MJLAB, PYTHON))), reason="mjlab is not installed: make mjlab"
    ),
]


ONE_END = """
import torch
from regimen.config.compose import compose_config
from regimen.envs import open_env

config = compose_config(["task=mjlab", "env.id={task}", "env.num_envs=2", "video=true", "env.render_size=[64,48]"])
env = open_env(config)
env.reset(seed=0)
inner = env.env.inner
twist = inner.command_manager.get_term("twist")
zero = torch.zeros(2, 12)
for _ in range(3):
    env.step(zero)
inner.episode_length_buf[1] = env.max_episode_length - 1
before = twist.metrics["error_vel_xy"].clone()
obs, _, terminated, truncated, info = env.step(zero)
assert truncated.tolist() == [False, True] and not terminated.any()

robot = inner.scene["robot"].data
error = (twist.command[:, :2] - robot.root_link_lin_vel_b[:, :2]).norm(dim=1)[0]
added = twist.metrics["error_vel_xy"][0] - before[0]
steps = twist.cfg.resampling_time_range[1] / env.step_dt
assert torch.isclose(added, error / steps, rtol=0.2), (added, error / steps)  # once, not twice
assert (obs["policy"][0] == info["final_obs"]["policy"][0]).all()
assert (obs["policy"][1] != info["final_obs"]["policy"][1]).any()
assert info["log"]["Episode_Termination/time_out"] == 1.0 and info["log"]["Episode_Termination/fell_over"] == 0.0

held, state = {{name: rows.clone() for name, rows in obs.items()}}, env.state_dict()
for _ in range(3):
    env.step(zero)
env.load_state_dict(state)
env.reset(seed=1)
assert all((obs[name] == rows).all() for name, rows in held.items()), "a restored state changed an observation"
picture = env.render()
assert picture.shape == (48, 64, 3) and picture.dtype == "uint8" and picture.std() > 0
env.close()
"""


@pytest.mark.parametrize("task", [GO1, "Mjlab-Lift-Cube-Yam", "Mjlab-Cartpole-Balance"])
def test_a_task_keeps_the_rules_of_the_contract(task):
    command = [sys.executable, "-m", "regimen.cli", "check-env", "--num-envs", "4", "task=mjlab", f"env.id={task}"]
    arguments = ["env.episode_length_s=0.6", *([HELD] if task == GO1 else [])]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_end_of_one_episode_leaves_the_others_and_held_observations_alone():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(PYTHON), "-c", ONE_END.format(task=GO1)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_go1_is_trained_and_evaluated_with_pictures(tmp_path):
    out = launch(tmp_path, *TASK, *SHORT, "name=whole", "agent.from_task=true")
    run, whole = record(tmp_path, "whole")
    assert whole["status"] == "finished", out
    bundle = load(run / "checkpoints" / "last.pt")
    assert bundle["io"]["action"]["joints"][:2] == ["FR_hip_joint", "FR_thigh_joint"]
    assert bundle["io"]["observations"]["policy"]["joint_pos"] == 12
    assert bundle["agent"]["obs_groups"] == {"actor": ["policy"], "critic": ["critic"]}

    out = launch(
        tmp_path, "stage=evaluate", *TASK, HELD, "policy=whole", "name=judged", "stage.envs_per_command=2", "video=true"
    )
    judged, info = record(tmp_path, "judged")
    assert info["status"] == "finished", out
    assert list(judged.rglob("*.mp4")), out


def test_a_killed_training_that_goes_on_equals_one_that_was_not(tmp_path):
    each = [*TASK, *SHORT, "stage.checkpoint_interval=8"]
    out = launch(tmp_path / "whole", *each, "name=whole")
    whole, info = record(tmp_path / "whole", "whole")
    assert info["status"] == "finished", out

    process = start(tmp_path / "cut", *each, "name=cut")
    wait_for(lambda: list(tmp_path.glob("cut/outputs/*/checkpoints/last.pt")), 600.0)
    process.terminate()
    process.communicate()
    cut, info = record(tmp_path / "cut", "cut")
    assert info["status"] != "finished", "stopped too late to show anything"
    out = launch(tmp_path / "cut", f"resume={cut.name}")
    assert record(tmp_path / "cut", "cut")[1]["status"] == "finished", out
    a, b = (load(run / "checkpoints" / "last.pt")["policy"]["actor"] for run in (whole, cut))
    assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def test_a_wrong_key_is_refused_without_mjlab(tmp_path):
    launch(tmp_path, *TASK, "dry_run=true")  # fills the catalogue
    before = os.times().children_user
    out = launch(tmp_path, *TASK, "dry_run=true", "env.mjlab.decimaton=8")
    assert_names(out, "env.mjlab.decimaton", "decimation")
    assert os.times().children_user - before < 3.0
