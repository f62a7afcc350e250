"""mjlab's tasks in the interpreter of `make mjlab`: contract, training, resume, evaluation, pictures, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.launches import ROOT, environment, launch, record, start
from helpers.library_marks import needs
from helpers.messages import assert_names
from helpers.supervised_runs import wait_for
from regimen.envs.mjlab.library import MJLAB
from regimen.runs.checkpoint import load
from regimen.system import host

PYTHON = host.made_interpreter("mjlab")
GO1 = "Mjlab-Velocity-Flat-Unitree-Go1"
ROUGH_GO1 = "Mjlab-Velocity-Rough-Unitree-Go1"
FEW_TERRAINS = "env.mjlab.scene.terrain.terrain_generator.num_rows=2"
TASK = ["task=mjlab", f"env.id={ROUGH_GO1}", FEW_TERRAINS, "env.num_envs=2", "env.episode_length_s=0.4"]
TRAIN = [
    *("agent=rsl_rl_ppo", "agent.from_task=true", "agent.num_steps_per_env=8", "agent.max_iterations=3"),
    *("stage.checkpoint_interval=8", "hardware.threads=1"),
]
HELD = "env.evaluation={command: twist, grid: [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], disturbances: [push_robot]}"

pytestmark = needs(MJLAB)


OPENED = (
    GO1,
    ROUGH_GO1,
    "Mjlab-Velocity-Flat-Unitree-G1",
    "Mjlab-Velocity-Rough-Unitree-G1",
    "Mjlab-Tracking-Flat-Unitree-G1",
    "Mjlab-Tracking-Flat-Unitree-G1-No-State-Estimation",
    "Mjlab-Lift-Cube-Yam",
    "Mjlab-Cartpole-Balance",
    "Mjlab-Cartpole-Swingup",
)
"""All tasks of mjlab without cameras."""

STEP = """
import sys
import numpy, torch
from regimen import compose, open_env

def swinging_arms(env, file):
    # A motion of 2 s in the form of mjlab's csv_to_npz, which uploads what it writes.
    inner, robot = env.env.inner, env.env.inner.scene["robot"]
    arms = robot.find_joints(".*_shoulder_pitch_joint")[0]
    bodies = [f"body_{what}_w" for what in ("pos", "quat", "lin_vel", "ang_vel")]
    frames = {name: [] for name in ("joint_pos", "joint_vel", *bodies)}
    for seconds in numpy.arange(0.0, 2.0, 0.02):
        pos, vel = robot.data.default_joint_pos.clone(), torch.zeros_like(robot.data.default_joint_pos)
        pos[:, arms] += 0.3 * numpy.sin(numpy.pi * seconds)
        vel[:, arms] += 0.3 * numpy.pi * numpy.cos(numpy.pi * seconds)
        robot.write_root_state_to_sim(robot.data.default_root_state.clone())
        robot.write_joint_state_to_sim(pos, vel)
        inner.sim.forward()
        for name, rows in frames.items():
            rows.append(getattr(robot.data, name.replace("body_", "body_link_"))[0].numpy().copy())
    numpy.savez(file, fps=[50], **{name: numpy.stack(rows) for name, rows in frames.items()})

motion, *tasks = sys.argv[1:]
for name in tasks:
    more = [f"env.mjlab.commands.motion.motion_file={motion}"] if "Tracking" in name else []
    env = open_env(compose(["task=mjlab", f"env.id={name}", "env.num_envs=2", "env.episode_length_s=0.2", *more]))
    obs, draws, ends = env.reset(seed=0), torch.Generator().manual_seed(0), 0
    for _ in range(12):
        obs, reward, terminated, truncated, info = env.step(2 * torch.rand(2, env.io.num_actions, generator=draws) - 1)
        assert all(values.isfinite().all() for values in (*obs.values(), *info["final_obs"].values(), reward)), name
        ended = terminated | truncated
        ends += int(ended.sum())
        assert not torch.equal(info["final_obs"]["policy"][ended], obs["policy"][ended]) or not ended.any(), name
    assert ends >= 2, (name, ends)
    if name == "Mjlab-Velocity-Flat-Unitree-G1":
        swinging_arms(env, motion)
    heights = env.io.observations["policy"].get("height_scan", 0)
    env.close()
    print("stepped", name, heights, flush=True)
"""

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


def in_library(script: str, *arguments: str) -> str:
    """Run a script in the interpreter of mjlab; return what it printed."""
    command = [str(PYTHON), "-W", "ignore", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """A folder with one finished training, and the directory of that run."""
    folder = tmp_path_factory.mktemp("trained")
    out = launch(folder, *TASK, *TRAIN, "name=whole")
    run, info = record(folder, "whole")
    assert info["status"] == "finished", out
    return folder, run


def test_every_task_without_cameras_is_stepped_through_ends_of_its_episodes(tmp_path):
    lines = [line.split() for line in in_library(STEP, str(tmp_path / "motion.npz"), *OPENED).splitlines()]
    scanned = {line[1]: int(line[2]) for line in lines if line[:1] == ["stepped"]}
    assert tuple(scanned) == OPENED
    assert {name for name, heights in scanned.items() if heights} == {name for name in OPENED if "Rough" in name}


@pytest.mark.parametrize("task", ["Mjlab-Cartpole-Balance"])
def test_a_task_keeps_the_rules_of_the_contract(task):
    command = [sys.executable, "-m", "regimen.cli", "check-env", "--num-envs", "2", "task=mjlab", f"env.id={task}"]
    command += ["env.episode_length_s=0.4"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_end_of_one_episode_leaves_the_others_and_held_observations_alone():
    in_library(ONE_END.format(task=GO1))


def test_a_training_on_rough_terrain_names_what_it_observes_and_moves(trained):
    bundle = load(trained[1] / "checkpoints" / "last.pt")
    assert bundle["io"]["action"]["joints"][:2] == ["FR_hip_joint", "FR_thigh_joint"]
    assert bundle["io"]["observations"]["policy"]["joint_pos"] == 12
    assert bundle["io"]["observations"]["policy"]["height_scan"] == 187
    assert bundle["agent"]["obs_groups"] == {"actor": ["policy"], "critic": ["critic"]}


def test_a_policy_is_evaluated_with_pictures(trained):
    folder, _ = trained
    held = [*TASK, HELD, "stage.envs_per_command=1", "video=true", "env.render_size=[64,48]"]
    out = launch(folder, "stage=evaluate", *held, "policy=whole", "name=judged")
    judged, info = record(folder, "judged")
    assert info["status"] == "finished", out
    assert list(judged.rglob("*.mp4")), out


def test_a_stopped_training_that_is_resumed_equals_one_that_was_not(trained, tmp_path):
    process = start(tmp_path, *TASK, *TRAIN, "name=cut")
    wait_for(lambda: list(tmp_path.glob("outputs/*/checkpoints/last.pt")), 600.0)
    process.terminate()
    process.communicate()
    cut, info = record(tmp_path, "cut")
    assert info["status"] != "finished", "stopped too late to show anything"
    out = launch(tmp_path, f"resume={cut.name}")
    assert record(tmp_path, "cut")[1]["status"] == "finished", out
    a, b = (load(run / "checkpoints" / "last.pt")["policy"]["actor"] for run in (trained[1], cut))
    assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def test_a_wrong_key_is_refused_without_mjlab(tmp_path):
    launch(tmp_path, *TASK, "dry_run=true")  # fills the catalogue
    before = os.times().children_user
    out = launch(tmp_path, *TASK, "dry_run=true", "env.mjlab.decimaton=8")
    assert_names(out, "env.mjlab.decimaton", "decimation")
    assert os.times().children_user - before < 3.0
