"""A student learns what its teacher does from what it sees itself, stops and resumes exactly, and is a policy."""

from __future__ import annotations

import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import assert_names, raises_naming
from helpers.point_env import PointEnv, PointEnvCfg, ToGoal
from helpers.tasks import CONF, make_env
from helpers.trainings import new_run, train
from regimen.agents.student import Student, StudentCfg
from regimen.config.compose import compose
from regimen.config.schema import Config, HardwareCfg
from regimen.envs.vec_env import IOSpec
from regimen.orchestration.preflight import preflight
from regimen.runs import checkpoint
from regimen.stages.train import TrainCfg
from regimen.system.errors import CheckpointError, ConfigError, ConfigErrors, StopRequested

pytestmark = pytest.mark.usefixtures("blank_figures")

SMALL: dict[str, Any] = {"observations": ["policy"], "hidden": [32, 32], "rollout": 8, "learning_rate": 3e-3}


def teacher(folder: Path) -> str:
    """A policy that moves to the goal."""
    path = folder / "teacher.pt"
    bundle = {"format": 1, "run": "taught", "agent": {"_target_": "helpers.point_env.ToGoal"}}
    checkpoint.save(path, bundle | {"io": PointEnv(1).io.to_dict(), "policy": {"gain": 0.8}, "step": 1, "samples": 1})
    return str(path)


def config(folder: Path, steps: int, **agent: Any) -> Config:
    return Config(
        env=PointEnvCfg(num_envs=32),
        agent=StudentCfg(**{**SMALL, "steps": steps, **agent}),
        hardware=HardwareCfg(threads=1),
        stage=TrainCfg(checkpoint_interval=8),
        policy=teacher(folder),
        seed=7,
        choices={"task": "point", "agent": "student", "hardware": "cpu", "stage": "train"},
    )


def last(run: Any) -> dict[str, Any]:
    return checkpoint.load(run.checkpoints / "last.pt")


@pytest.mark.parametrize("recurrent", [None, 16])
def test_it_acts_as_its_teacher(tmp_path: Path, recurrent: int | None) -> None:
    cfg = config(tmp_path, 480, recurrent=recurrent)
    run = new_run(tmp_path, cfg)
    train(run, cfg)
    rows = run.metrics()
    assert rows[-1]["Loss/imitation"] < 0.05 * rows[0]["Loss/imitation"]
    bundle, env = last(run), PointEnv(64)
    policy = Student.load_policy(bundle, IOSpec.from_dict(bundle["io"]), env.device)
    obs, state = env.reset(seed=1), None
    errors = []
    for _ in range(20):
        action, state = policy.act(obs, state)
        errors.append((action - ToGoal(0.8).act(obs, None)[0]).abs().mean())
        obs, _, terminated, truncated, _ = env.step(action)
        state = policy.reset(state, (terminated | truncated).nonzero().squeeze(1))
    assert float(torch.stack(errors).mean()) < 0.08, "the actions of the teacher are 0.4 on average"


@pytest.mark.parametrize("agent", [{}, {"recurrent": 16}, {"teacher_share": 0.5}])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, agent: dict[str, Any]) -> None:
    cfg = config(tmp_path, 48, **agent)
    whole, parts = new_run(tmp_path, cfg), new_run(tmp_path, cfg)
    train(whole, cfg)
    parts.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(parts, cfg)
    parts.stop_signal = None
    train(parts, cfg)
    first, second = last(whole)["policy"]["net"], last(parts)["policy"]["net"]
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_recurrent_student_remembers_within_an_episode_only() -> None:
    env = PointEnv(4)
    student = Student(StudentCfg(**SMALL, recurrent=8), env.io, 4, env.device, seed=0)
    torch.nn.init.normal_(student.net.head[-1].weight)
    bundle: Any = {"agent": asdict(student.cfg), "policy": {"net": student.net.state_dict()}}
    policy = Student.load_policy(bundle, env.io, env.device)
    obs = env.reset(seed=0)
    fresh, state = policy.act(obs, None)
    later, state = policy.act(obs, state)
    assert not torch.allclose(fresh, later)
    again, _ = policy.act(obs, policy.reset(state, torch.tensor([1, 2])))
    assert torch.allclose(again[[1, 2]], fresh[[1, 2]]) and not torch.allclose(again[0], fresh[0])


def test_what_is_learned_over_time_is_what_acts() -> None:
    """The actions of a rollout, episodes that begin in it included, are those that `act` returned step by step."""
    env = PointEnv(3)
    net = Student(StudentCfg(**SMALL, recurrent=8), env.io, 3, env.device, seed=0).net
    torch.nn.init.normal_(net.head[-1].weight)
    obs, starts = torch.randn(6, 3, 4), torch.rand(6, 3) < 0.4
    state, acted = torch.randn(3, 8), []
    first = state.clone()
    for step in range(6):
        action, state = net(obs[step], state * ~starts[step, :, None])
        acted.append(action)
    assert torch.allclose(net.over_time(obs, first, starts), torch.stack(acted), atol=1e-6)


def test_the_exported_network_is_the_policy_and_a_recurrent_one_is_refused() -> None:
    env = PointEnv(4)
    for recurrent in (None, 8):
        student = Student(StudentCfg(**SMALL, recurrent=recurrent), env.io, 4, env.device, seed=0)
        bundle: Any = {"agent": asdict(student.cfg), "policy": {"net": student.net.state_dict()}}
        policy = Student.load_policy(bundle, env.io, env.device)
        if recurrent is not None:
            with raises_naming(CheckpointError, "agent.recurrent"):
                policy.feed_forward()
            continue
        network, groups = policy.feed_forward()
        obs = env.reset(seed=0)
        assert groups == ["policy"] and torch.equal(network(obs["policy"]), policy.act(obs, None)[0])


def test_it_reads_its_own_group_of_a_task_and_the_teacher_another() -> None:
    env = make_env("go2_blind", 2)
    env.reset(seed=0)
    names = env.io.observations
    assert "height_scan" in names["policy"] and not {"height_scan", "base_lin_vel"} & names["student"].keys()
    student = Student(StudentCfg(hidden=[16]), env.io, 2, env.device, seed=0)
    assert student.net.norm.mean.shape == (env.io.size("student"),)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([], ["policy="]),
        (["agent.observations=[studnt]"], ["studnt", "student"]),
        (["agent.hidden=[0]"], ["agent.hidden", "hidden"]),
        (["agent.activation=gelu"], ["gelu", "elu"]),
        (["agent.teacher_share=2"], ["teacher_share"]),
        (["agent.rollout=0"], ["rollout"]),
        (["agent.stepz=1"], ["agent.stepz", "steps"]),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path: Path, overrides: list[str], names: list[str]) -> None:
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        preflight(compose(["task=go2_blind", "agent=student", *overrides], [CONF]), tmp_path)


def test_the_teacher_is_no_beginning_and_may_be_of_any_agent(tmp_path: Path) -> None:
    words = ["task=go2_flat", "agent=student", "agent.observations=[policy]", "policy=pretrained:go2_flat"]
    report = preflight(compose(words, [CONF]), tmp_path)
    assert_names(str(report.inputs["policy"]), "go2_flat")
