"""Isaac Lab's tasks on Newton, in the interpreter of `make isaaclab`: contract, training, resume, evaluation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from ctypes.util import find_library
from pathlib import Path

import h5py

from helpers.launches import ROOT, environment, launch, record, start
from helpers.library_marks import needs
from helpers.messages import assert_names
from helpers.subprocesses import said
from helpers.supervised_runs import wait_for
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.runs.checkpoint import load
from regimen.system import host

sys.path.append(str(ROOT / "benchmarks"))
from kill_resume import differences, worker_of

PYTHON = host.made_interpreter("isaaclab")
TASK = ["task=isaaclab", "env.id=Isaac-Velocity-Flat-H1", "env.num_envs=4", "env.episode_length_s=0.8"]
SHORT = ["agent=rsl_rl_ppo", "agent.num_steps_per_env=8", "agent.max_iterations=2", "hardware.threads=1"]

pytestmark = needs(ISAAC_LAB)


def test_a_task_keeps_the_rules_of_the_contract():
    command = [sys.executable, "-m", "regimen.cli", "check-env", "task=isaaclab", "env.id=Isaac-Cartpole"]
    command += ["env.isaac.decimation=1", "env.episode_length_s=0.3", "--num-envs", "4"]  # few steps: each takes long
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


NEWTON = "env.physics=newton_mjwarp"
OPENED = {
    "Isaac-Velocity-Flat-H1": [],
    "Isaac-Velocity-Rough-H1": [],
    "Isaac-Velocity-Flat-UnitreeGo2": [],
    "Isaac-Velocity-Rough-UnitreeGo2": [],
    "Isaac-Cartpole": [],
    "Isaac-Cartpole-Direct": [],
    "IsaacContrib-Cartpole-Showcase-Direct": [],
    "Isaac-Ant": [],
    "Isaac-Ant-Direct": [],
    "IsaacContrib-Humanoid-AMP-Walk-Direct": [NEWTON],
    "IsaacContrib-Humanoid-AMP-Run-Direct": [NEWTON],
    "IsaacContrib-Humanoid-AMP-Dance-Direct": [NEWTON],
}
"""Tasks whose robots are among Regimen's models -> what they need besides their id."""

STEP = """
import json, sys, torch
from regimen import compose, open_env
for name, more in json.loads(sys.argv[1]).items():
    env = open_env(compose(["task=isaaclab", f"env.id={name}", "env.num_envs=4", "env.episode_length_s=0.2",
        "env.observation_noise=false", *more]))
    obs, draws, ends = env.reset(seed=0), torch.Generator().manual_seed(0), 0
    for _ in range(15):
        obs, reward, terminated, truncated, info = env.step(2 * torch.rand(4, env.io.num_actions, generator=draws) - 1)
        assert all(value.isfinite().all() for value in (*obs.values(), reward)), name
        ended = terminated | truncated
        ends += int(ended.sum())
        assert not torch.equal(info["final_obs"]["policy"][ended], obs["policy"][ended]) or not ended.any(), name
    assert ends >= 4, (name, ends)
    sizes = {group: sum(terms.values()) for group, terms in env.io.observations.items()}
    assert sizes == {group: value.shape[1] for group, value in obs.items()}, (name, sizes)
    env.close()
    print("stepped", name)
"""


def test_tasks_open_and_step_one_after_another_in_a_process():
    command = [str(PYTHON), "-c", STEP, json.dumps(OPENED)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("stepped ")] == list(OPENED), (
        done.stdout[-2000:] + done.stderr[-4000:]
    )


def test_a_task_of_isaac_sims_physics_is_refused_before_the_start(tmp_path):
    task = ["task=isaaclab", "env.id=IsaacContrib-Humanoid-AMP-Walk-Direct"]
    assert_names(launch(tmp_path, *task, "dry_run=true"), "isaacsim", NEWTON, "exit 2")
    assert_names(launch(tmp_path, *task, "env.physics=newton_mjwrp", "dry_run=true"), "newton_mjwarp", "exit 2")
    assert_names(launch(tmp_path, *task, NEWTON, "dry_run=true"), "exit 0")


FAILURE = "regimen.envs.isaaclab.tasks:Regimen-Velocity-Flat-H1-Failure"

FAIL = """
import sys, torch
from regimen import compose, open_env

def opened(mode):
    event = "env.isaac.events.change_joint_torque.params."
    return open_env(compose(["task=isaaclab", f"env.id={sys.argv[1]}", "env.num_envs=4", "env.episode_length_s=2.0",
        "env.isaac.events.push_robot=null", f"{event}mode={mode}", f"{event}severity=null", f"{event}onset_s=[0.1,0.2]",
        f"{event}probability=1.0"]))

env = opened("free")
knee = env.io.action.joints.index("left_knee")
still = torch.zeros(4, env.io.num_actions)

def angles(steps):
    rows = []
    for _ in range(steps):
        obs, _, terminated, _, info = env.step(still)
        rows.append(obs["policy"][:, 12 + knee])
    return torch.stack(rows), info["labels"]

env.reset(seed=0)
_, labels = angles(20)
joints = [env.io.action.joints[k] for k in labels["fault_joint"].tolist()]
assert all(name.endswith(("hip_yaw", "hip_roll", "hip_pitch", "knee")) for name in joints), joints
assert labels["fault_limit"].eq(0).all(), labels
which = torch.tensor([knee, knee, -1, -1])
env.fix_event("change_joint_torque", joint=which, onset_s=torch.full((4,), 0.1), severity=torch.zeros(4))
env.reset(seed=0)
before, labels = angles(4)
assert labels["fault_joint"].eq(-1).all(), labels
after, labels = angles(20)
assert labels["fault_joint"].tolist() == which.tolist(), labels
bent = (after[-1] - before[-1]).abs()
assert bent[:2].min() > 2 * bent[2:].max() and bent[:2].min() > 0.3, bent  # without torque the knee gives way
env.close()

env = opened("lock")
env.reset(seed=0)
first = env.kinematics()["robot/joint_pos"]
draws = torch.Generator().manual_seed(0)
for _ in range(30):
    _, _, _, _, info = env.step(torch.rand(4, env.io.num_actions, generator=draws) - 0.5)
locked = info["labels"]["fault_joint"].long()
assert (locked >= 0).all(), locked
moved = (env.kinematics()["robot/joint_pos"] - first)[torch.arange(4), locked]
assert moved.abs().max() > 0.02, moved
env.reset()
assert torch.allclose(env.kinematics()["robot/joint_pos"], first, atol=1e-5)  # the pose of the task is what it was
env.close()
"""


def test_a_joint_of_isaac_labs_h1_fails_as_one_of_ours_does():
    command = [str(PYTHON), "-c", FAIL, FAILURE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_h1_with_failures_is_trained_by_the_tasks_own_settings_filmed_and_recorded(tmp_path):
    task = ["experiment=isaaclab_h1_failure", "env.num_envs=4", "env.episode_length_s=0.6", "hardware.threads=1"]
    out = launch(tmp_path, *task, "agent.trainer.timesteps=24", "name=trained")
    run, info = record(tmp_path, "trained")
    assert info["status"] == "finished", out
    agent = load(run / "checkpoints" / "last.pt")["agent"]["agent"]
    assert (agent["entropy_loss_scale"], agent["gae_lambda"]) == (0.01, 0.95)  # those of Isaac Lab

    drawn = find_library("EGL") is not None
    film = [f"video={drawn}", "stage.video_seconds=0.4", "stage.envs_per_command=1"]
    out = launch(tmp_path, *task, "stage=evaluate", "policy=trained", *film, "name=judged")
    judged, info = record(tmp_path, "judged")
    assert info["status"] == "finished", out
    assert not drawn or (judged / "video" / "eval.mp4").stat().st_size > 1000

    out = launch(tmp_path, *task, "stage=collect", "policy=trained", "stage.steps=40", "name=collected")
    collected, info = record(tmp_path, "collected")
    assert info["status"] == "finished", out
    with h5py.File(collected / "data" / "episodes.h5") as file:
        names = []
        file.visit(names.append)
    assert any(name.endswith("fault_joint") for name in names), names


def test_fast_sac_trains_a_task(tmp_path):
    task = ["task=isaaclab", "env.id=Isaac-Cartpole", "env.episode_length_s=0.5", "hardware.threads=1"]
    few = ["env.num_envs=4", "agent.num_learning_iterations=40", "agent.batch_size=16", "agent.logging_interval=10"]
    out = launch(tmp_path, *task, "agent=fast_sac", "agent.action_bound=1.0", *few, "name=swung")
    run, info = record(tmp_path, "swung")
    assert info["status"] == "finished", out
    assert info["headline"]["samples"] == 4 * 40
    bundle = load(run / "checkpoints" / "last.pt")
    assert all(part.isfinite().all() for part in bundle["policy"].values() if hasattr(part, "isfinite"))


def test_a_killed_training_of_h1_continues_bit_for_bit(tmp_path):
    settings = [*TASK, *SHORT, "env.episode_length_s=0.5", "agent.max_iterations=8", "stage.checkpoint_interval=8"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    out = launch(whole, *settings, "name=whole")
    run, info = record(whole, "whole")
    assert info["status"] == "finished", out
    rows = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    assert {"Train/return", "Episode_Termination/time_out"} <= {name for row in rows for name in row}
    io = load(run / "checkpoints" / "last.pt")["io"]
    assert io["action"]["joints"][0] == "left_hip_yaw"
    assert io["observations"]["policy"]["joint_pos"] == 19

    launcher = start(killed, *settings, "name=killed")
    last = wait_for(lambda: next(killed.glob("outputs/*/checkpoints/last.pt"), None), 600.0)
    os.kill(worker_of(launcher.pid), signal.SIGKILL)
    said(launcher)
    assert load(last)["step"] < load(run / "checkpoints" / "last.pt")["step"]
    out = launch(killed, "resume=killed")
    assert record(killed, "killed")[1]["status"] == "finished", out
    assert not differences(_trained(run), _trained(last.parents[1]))


def _trained(run: Path) -> dict:
    return {k: v for k, v in load(run / "checkpoints" / "last.pt").items() if k != "run"}


def test_a_dry_run_with_a_warm_catalogue_needs_no_simulator(tmp_path):
    launch(tmp_path, *TASK, "dry_run=true")
    started = time.process_time(), os.times().children_user
    assert_names(launch(tmp_path, *TASK, "dry_run=true", "env.isaac.decimaton=8"), "env.isaac.decimaton", "decimation")
    assert os.times().children_user - started[1] < 3.0


def test_own_robots_weigh_what_their_models_weigh(tmp_path):
    code = f"""
import mujoco, pathlib
from pxr import Usd, UsdPhysics
from regimen.envs.isaaclab import assets
assets.write_own(pathlib.Path({str(tmp_path)!r}) / "own")
for name, model in assets.MODELS.items():
    stage = Usd.Stage.Open(str(pathlib.Path({str(tmp_path)!r}) / "own" / name))
    prims = list(stage.Traverse())
    masses = [UsdPhysics.MassAPI(p).GetMassAttr().Get() for p in prims if p.HasAPI(UsdPhysics.MassAPI)]
    shapes = [p for p in prims if p.HasAPI(UsdPhysics.CollisionAPI)]
    compiled = mujoco.MjModel.from_xml_path(str(model))
    touches = compiled.geom_contype | compiled.geom_conaffinity
    solid = int(((touches != 0) & (compiled.geom_bodyid != 0)).sum())
    assert abs(sum(masses) - compiled.body_mass.sum()) < 1e-4, (name, sum(masses))
    assert len(shapes) == solid, (name, len(shapes), solid)
    moved = [p.GetName() for p in prims if p.IsA(UsdPhysics.RevoluteJoint) or p.IsA(UsdPhysics.PrismaticJoint)]
    assert moved == [compiled.joint(j).name for j in range(compiled.njnt) if compiled.jnt_type[j] != 0], moved
"""
    done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
