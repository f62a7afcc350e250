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
from regimen.agents.skrl_ppo import SkrlPpo, SkrlPpoCfg
from regimen.agents.student import Student, StudentCfg
from regimen.agents.student.config import LatentCfg, teacher_of_kind
from regimen.agents.student.teachers import GroundTeachers
from regimen.config.compose import compose
from regimen.config.schema import Config, HardwareCfg
from regimen.config.structured import build
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert torch.allclose(net.over_time(obs, first, starts)[0], torch.stack(acted), atol=1e-6)


def test_the_exported_network_is_the_policy() -> None:
    env = PointEnv(4)
    obs = env.reset(seed=0)
    for recurrent in (None, 8):
        student = Student(StudentCfg(**SMALL, recurrent=recurrent), env.io, 4, env.device, seed=0)
        bundle: Any = {"agent": asdict(student.cfg), "policy": {"net": student.net.state_dict()}}
        policy = Student.load_policy(bundle, env.io, env.device)
        if recurrent is None:
            network, groups = policy.feed_forward()
            assert policy.recurrent() is None and groups == ["policy"]
            assert torch.equal(network(obs["policy"]), policy.act(obs, None)[0])
            continue
        step, state = policy.recurrent(), torch.randn(4, 8)
        assert step is not None and step.groups == ["policy"] and step.state == {"hidden": [8]}
        for found, wanted in zip(step.module(obs["policy"], state), policy.act(obs, state), strict=True):
            assert torch.allclose(found, wanted, atol=1e-6)
        with raises_naming(CheckpointError, "agent.recurrent"):
            policy.feed_forward()


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
        (["policy=pretrained:go2_flat"], ["policy.height_scan", "go2_blind"]),
        (["policy=pretrained:go2_flat", "agent.latent={layer: ground, size: 0}"], ["agent", "latent"]),
        (["task=go2_flat", "policy=pretrained:go2_flat", "experts=[pretrained:go2_flat]"], ["experts", "env.terrain"]),
        (["agent=skrl_ppo", "experts=[pretrained:go2_flat]"], ["agent=skrl_ppo", "agent=student"]),
        (["policy=pretrained:go2_flat", "experts=[pretrained:go2_flat]"], ["experts[0]", "stairs_up"]),
    ],
)
def test_bad_settings_are_refused_by_name(tmp_path: Path, overrides: list[str], names: list[str]) -> None:
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        preflight(compose(["task=go2_blind", "agent=student", *overrides], [CONF]), tmp_path)


def test_the_teacher_is_no_beginning_and_may_be_of_any_agent(tmp_path: Path) -> None:
    words = ["task=go2_flat", "agent=student", "agent.observations=[policy]", "policy=pretrained:go2_flat"]
    report = preflight(compose(words, [CONF]), tmp_path)
    assert_names(str(report.inputs["policy"]), "go2_flat")


ENCODED = {"name": "ground", "input": "OBSERVATIONS[:, 2:]", "layers": [3], "activations": "tanh"}
ACTED = {"name": "net", "input": "concatenate([OBSERVATIONS[:, :2], ground])", "layers": [8], "activations": "elu"}


def encoding_teacher(folder: Path) -> str:
    """A policy of skrl with a layer `ground` of 3 values."""
    io = PointEnv(1).io
    settings = compose(["task=reach", "agent=skrl_ppo"], [CONF]).plain["agent"]
    settings["models"]["policy"]["network"] = [ENCODED, ACTED]
    agent = SkrlPpo(build(SkrlPpoCfg, settings), io, 2, torch.device("cpu"), seed=3)
    path = folder / "encoding.pt"
    bundle = {"format": 1, "run": "taught", "agent": settings, "io": io.to_dict(), "policy": agent.policy_state()}
    checkpoint.save(path, bundle | {"step": 1, "samples": 1})
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", [None, 16])
def test_a_student_predicts_the_layer_of_its_teacher_and_acts_by_it(tmp_path: Path, recurrent: int | None) -> None:
    cfg = config(tmp_path, 240, recurrent=recurrent, latent=LatentCfg("ground", 3))
    cfg.policy = encoding_teacher(tmp_path)
    run = new_run(tmp_path, cfg)
    train(run, cfg)
    rows = run.metrics()
    for loss in ("Loss/latent", "Loss/imitation"):
        assert rows[-1][loss] < 0.2 * rows[0][loss], loss
    bundle = last(run)
    policy = Student.load_policy(bundle, IOSpec.from_dict(bundle["io"]), torch.device("cpu"))
    obs = PointEnv(4).reset(seed=0)
    acted, _ = policy.act(obs, None)
    torch.nn.init.zeros_(policy.net.adapter[-1].weight)
    assert not torch.equal(policy.act(obs, None)[0], acted)


@pytest.mark.parametrize(
    ("latent", "names"),
    [
        (LatentCfg("groun", 3), ["agent.latent.layer", "ground"]),
        (LatentCfg("ground", 4), ["agent.latent.size=3"]),
        (None, []),
    ],
)
def test_a_layer_that_the_teacher_lacks_is_named(tmp_path: Path, latent: LatentCfg | None, names: list[str]) -> None:
    cfg = config(tmp_path, 8, latent=latent or LatentCfg("ground", 3))
    if latent is not None:
        cfg.policy = encoding_teacher(tmp_path)
    with raises_naming(ConfigError, *(names or ["agent.latent", "skrl_ppo"])):
        train(new_run(tmp_path, cfg), cfg)


class Counting:
    """A recurrent policy whose action is its number, and the steps since the episode began."""

    def __init__(self, number: float) -> None:
        self.number = number

    def act(self, obs: dict[str, torch.Tensor], state: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        state = torch.zeros(len(obs["policy"])) if state is None else state + 1
        return torch.stack((torch.full_like(state, self.number), state + 0 * obs["policy"][:, 0]), 1), state

    def reset(self, state: torch.Tensor, env_ids: torch.Tensor) -> torch.Tensor:
        return state.index_fill(0, env_ids, -1.0)


def test_each_teacher_acts_in_its_own_envs_with_its_own_memory() -> None:
    teachers = GroundTeachers([Counting(0), Counting(1), Counting(2)], [2, 0, 2, 1, 0], torch.device("cpu"))
    obs, state = {"policy": torch.zeros(5, 3)}, None
    for _ in range(3):
        action, state = teachers.act(obs, state)
    assert action.tolist() == [[2, 2], [0, 2], [2, 2], [1, 2], [0, 2]]
    action, _ = teachers.act(obs, teachers.reset(state, torch.tensor([2, 4])))
    assert action.tolist() == [[2, 3], [0, 3], [2, 0], [1, 3], [0, 0]]


def test_an_expert_teaches_on_the_ground_that_is_its_own() -> None:
    kinds = ["stairs", "slope", "flat", "gaps"]
    assert teacher_of_kind(kinds, [["stairs", "flat"], ["slope", "flat"]]) == dict(
        zip(kinds, [1, 2, 0, 0], strict=True)
    )
    with raises_naming(ConfigError, "experts[1]", "flat"):
        teacher_of_kind(kinds, [["stairs", "flat"], ["flat"]])


class Always:
    """A recurrent policy whose action is 1, with a nested state."""

    def act(self, obs: dict[str, torch.Tensor], state: Any) -> tuple[torch.Tensor, Any]:
        seen = obs["policy"].sum(1)
        seen = seen if state is None else seen + state[1]["sums"][0]
        return torch.ones_like(obs["policy"][:, :2]) + 0.0 * seen[:, None], (None, {"sums": [seen]})

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        return state


class Stepped(Exception):
    """Ends a training."""


class OneIteration:
    """A session that ends with the first update, and keeps its losses and checkpoint."""

    def __init__(self) -> None:
        self.steps_done = 0
        self.losses: dict[str, float] = {}
        self.bundle: Any = None

    def step(self, *_: object) -> None:
        self.steps_done += 1

    def end_iteration(self, losses: dict[str, float], bundle: Any) -> None:
        self.losses, self.bundle = losses, bundle()
        raise Stepped


def one_iteration(envs: int) -> OneIteration:
    env, session = PointEnv(envs), OneIteration()
    student = Student(StudentCfg(**SMALL, recurrent=8, steps=16, epochs=1), env.io, envs, env.device, seed=0)
    student.use_teacher(Always())
    with pytest.raises(Stepped):
        student.learn(env, session, None)  # type: ignore[arg-type]
    return session


def test_the_logged_loss_is_the_mean_whatever_number_of_envs_the_minibatches_share() -> None:
    for envs in (4, 6, 9):
        assert one_iteration(envs).losses["Loss/imitation"] == pytest.approx(1.0, abs=0.1), envs


@pytest.mark.filterwarnings("ignore:.*meta parameter")
def test_a_checkpoint_is_resumed_on_the_devices_of_student_and_envs() -> None:
    saved = one_iteration(4).bundle["training"]
    env, meta = PointEnv(4), torch.device("meta")
    env.device, acted = meta, []

    def step(action: torch.Tensor) -> None:
        acted.append(action.device)
        raise Stepped

    env.step = step  # type: ignore[assignment]
    student = Student(StudentCfg(**SMALL, recurrent=8, steps=16, epochs=1), env.io, 4, meta, seed=0)
    student.use_teacher(Always())
    with pytest.raises(Stepped):  # devices that differ raise a RuntimeError before
        student.learn(env, OneIteration(), saved)  # type: ignore[arg-type]
    assert acted == [meta]
