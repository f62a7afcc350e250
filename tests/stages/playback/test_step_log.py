"""The log of every step: rows belong together, joints are in order, and nothing is lost when a run stops."""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from agents.export.made_policies import bundle_for
from helpers.tasks import make_env
from helpers.trainings import new_run, training_config
from regimen.runs import checkpoint
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.stages.playback.step_log import StepLog
from stages.pictures import is_drawn
from stages.test_evaluate import evaluate, save_policy


def log(path: Any, env: Any, ids: list[int], steps: int, wanted: int) -> tuple[StepLog, list[dict[str, torch.Tensor]]]:
    """Let random actions be watched for `steps`, `wanted` of them; also what a second pair of eyes saw."""
    observer, seen = StepLog(path, env, ids, wanted, {"task": "t"}), []
    generator = torch.Generator().manual_seed(0)
    obs = env.reset(seed=0)
    with observer:
        for step in range(steps):
            row = {"observations/policy": obs["policy"], "joint_pos": env.state.joint_pos.clone()}
            observer.on_step_start(step, obs)
            action = 2 * torch.rand(env.num_envs, env.io.num_actions, generator=generator) - 1
            obs, reward, terminated, truncated, _ = env.step(action)
            observer.on_step_end(action, reward, terminated, truncated)
            row |= {"action": action, "reward": reward, "terminated": terminated, "target": env._targets.clone()}
            seen.append({name: value[ids] for name, value in row.items()})
    return observer, seen


def test_a_row_holds_what_was_seen_done_and_paid(tmp_path):
    env = make_env("go2_flat", 4, episode_length_s=0.4)
    _, seen = log(tmp_path / "steps.h5", env, [3, 1], steps=60, wanted=50)
    with h5py.File(tmp_path / "steps.h5") as file:
        assert file["action"].shape == (50, 2, 12)
        for name in seen[0]:
            np.testing.assert_allclose(file[name][:], torch.stack([row[name] for row in seen[:50]]).numpy(), atol=1e-6)
        assert file["joint_torque"][:].std() > 0.1 and file["commands/base_velocity"].shape == (50, 2, 3)
        assert json.loads(file.attrs["joints"]) == env.joints
        ended = file["terminated"][:] | file["truncated"][:]
        assert ended.any() and (np.diff(file["episode"][:], axis=0) == ended[:-1]).all()


@pytest.mark.slow
def test_longer_than_an_episode_and_drawn(tmp_path):
    policy = tmp_path / "policy.pt"
    checkpoint.save(policy, bundle_for("skrl_ppo"))
    config = training_config("reach", 24, 4)
    config.stage = EvaluateCfg(
        envs_per_command=2, episode_length_s=0.5, bootstrap=20, log_data=True, log_steps=70, log_env_ids=[1]
    )
    config.policy = str(policy)
    run = new_run(tmp_path / "outputs", config)
    Evaluate(config.stage)(run, config)
    with h5py.File(run.logs / "steps.h5") as file:
        assert file["joint_pos"].shape == (70, 1, 2) and file["episode"][-1, 0] > 0
    assert is_drawn(run.dir / "figures" / "joints.png")
    assert json.loads((run.dir / "result.json").read_text())["log"]["env_ids"] == [1]
    assert {"logs/steps.h5", "figures/joints.png"} <= {row.path for row in run.artifacts()}


@pytest.mark.slow
def test_a_task_without_joints_is_logged_too(tmp_path):
    cfg = EvaluateCfg(envs_per_command=2, bootstrap=20, log_data=True, log_steps=5, log_env_ids=[0])
    result = evaluate(tmp_path, save_policy(tmp_path), cfg)
    with h5py.File(result["dir"] / "logs" / "steps.h5") as file:
        assert file["observations/policy"].shape == (5, 1, 4) and "joint_pos" not in file
    assert not (result["dir"] / "figures" / "joints.png").exists()


def test_what_was_seen_before_a_stop_is_there(tmp_path):
    env: Any = make_env("reach", 2)
    observer = StepLog(tmp_path / "steps.h5", env, [0], 100, {})
    with pytest.raises(KeyboardInterrupt), observer:
        observer.on_step_start(0, env.reset(seed=0))
        action = torch.zeros(2, 2)
        _, *rest, _ = env.step(action)
        observer.on_step_end(action, *rest)
        raise KeyboardInterrupt
    with h5py.File(tmp_path / "steps.h5") as file:
        assert file["reward"].shape == (1, 1)
