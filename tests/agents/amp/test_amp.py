"""AMP: losses and rewards that belong together, the ring, mixed rewards, true last transitions, exact resume."""

from __future__ import annotations

import math
import signal
from typing import Any

import pytest

pytest.importorskip("rl_games", reason="make rl_games")

import torch
import yaml

from agents.test_skrl_ppo import assert_equal
from helpers.messages import raises_naming
from helpers.point_env import PointEnv
from helpers.tasks import CONF, make_env, task_config
from helpers.trainings import new_run, train
from regimen.agents.amp.model import discriminator_loss, gradient_penalty, style_reward
from regimen.agents.amp.replay import ReplayRing
from regimen.agents.rl_games import RlGames
from regimen.agents.rl_games.config import RlGamesCfg
from regimen.agents.runner.components import ComponentsCfg
from regimen.config.compose import compose_config
from regimen.config.schema import Config, HardwareCfg
from regimen.envs import open_env
from regimen.envs.motion.style_features import style_features
from regimen.envs.sims.mujoco import MujocoWorldCfg
from regimen.runs import checkpoint
from regimen.stages.train import TrainCfg
from regimen.system.errors import ConfigError, StopRequested

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.mark.parametrize("loss", ["lsgan", "bce"])
def test_the_reward_grows_with_the_logit_and_is_bounded(loss):
    logit = torch.linspace(-1.0, 1.0, 50)
    reward = style_reward(logit, loss)
    assert (reward.diff() > 0).all() and reward.min() >= 0
    far = style_reward(torch.tensor([-100.0, 100.0]), loss)
    assert far.isfinite().all() and far.min() >= 0 and far.max() <= 9.3
    assert style_reward(torch.tensor([-1.0, 1.0]), "lsgan").tolist() == [0.0, 1.0]


def test_losses_of_data_that_cannot_be_told_apart():
    zero = torch.zeros(8)
    assert discriminator_loss(zero, zero, "bce").item() == pytest.approx(math.log(2))
    assert discriminator_loss(zero, zero, "lsgan").item() == pytest.approx(1.0)
    assert discriminator_loss(zero - 1, zero + 1, "lsgan").item() == 0.0


def test_the_gradient_penalty_of_a_linear_function_is_its_squared_weights():
    inputs, weights = torch.randn(6, 3, requires_grad=True), torch.tensor([1.0, -2.0, 0.5])
    assert gradient_penalty(inputs @ weights, inputs).item() == pytest.approx(weights.square().sum().item())


def test_the_ring_holds_the_last_rows():
    ring, generator = ReplayRing(5, 1, "cpu"), torch.Generator().manual_seed(0)
    ring.add(torch.arange(3.0)[:, None])
    assert ring.count == 3 and not ring.is_full
    assert set(ring.sample(50, generator).flatten().tolist()) == {0.0, 1.0, 2.0}
    ring.add(torch.arange(3.0, 7.0)[:, None])
    assert ring.is_full and sorted(ring.rows.flatten().tolist()) == [2.0, 3.0, 4.0, 5.0, 6.0]
    ring.add(torch.arange(10.0, 22.0)[:, None])
    assert sorted(ring.rows.flatten().tolist()) == [17.0, 18.0, 19.0, 20.0, 21.0]


def amp_section(**settings: Any) -> RlGamesCfg:
    """`agent=amp` with small networks."""
    section = yaml.safe_load((CONF / "agent" / "amp.yaml").read_text())
    params = section["params"]
    params["config"] |= {"max_epochs": 2, "horizon_length": 8, "amp_minibatch_size": 32, "amp_replay_buffer_size": 200}
    params["config"] |= {"minibatch_size_per_env": 4, **settings}
    params["network"]["mlp"]["units"] = params["network"]["disc"]["units"] = [16]
    return RlGamesCfg(params=params, components=ComponentsCfg(**section["components"]))


def amp_config(**settings: Any) -> Config:
    return Config(
        env=task_config("go2_amp", num_envs=6, episode_length_s=0.2),
        sim=MujocoWorldCfg(),
        agent=amp_section(**settings),
        hardware=HardwareCfg(threads=1),
        stage=TrainCfg(checkpoint_interval=8),
        seed=0,
        choices={"task": "go2_amp", "sim": "mujoco", "agent": "amp", "hardware": "cpu", "stage": "train"},
    )


@pytest.mark.slow
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    config = amp_config(max_epochs=3)
    whole, parts = new_run(tmp_path, config), new_run(tmp_path, config)
    train(whole, config)
    parts.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(parts, config)
    parts.stop_signal = None
    train(parts, config)
    first, second = ({**checkpoint.load(run.checkpoints / "last.pt"), "run": ""} for run in (whole, parts))
    assert_equal(first, second)
    assert parts.record.warnings == []


class Session:
    def __init__(self, total_steps: int) -> None:
        self.steps_done, self.total_steps, self.rows = 0, total_steps, []

    def step(self, *_: Any) -> None:
        self.steps_done += 1

    def end_iteration(self, losses: dict[str, float], bundle: Any) -> None:
        self.rows.append(losses)


@pytest.fixture(scope="module")
def one_epoch():
    """An agent after one epoch, and what its env returned: (groups before, final groups, reward, cut) of each step."""
    env = make_env("go2_amp", 6, episode_length_s=0.1)
    made = RlGames(amp_section(max_epochs=1, task_reward_w=0.0), env.io, 6, torch.device("cpu"), 0)
    seen, step = [], env.step

    def recorded(action: torch.Tensor) -> Any:
        before = made.adapter.groups["motion"].clone()
        result = step(action)
        seen.append((before, result[4]["final_obs"]["motion"].clone(), result[1].clone(), result[2], result[3]))
        return result

    env.step = recorded
    session = Session(8)
    made.learn(env, session, None)
    return made, seen, session


def test_transitions_are_those_of_the_env_the_last_of_an_episode_included(one_epoch):
    made, seen, _ = one_epoch
    assert any(cut.any() for *_, cut in seen)
    for row, (before, after, *_) in enumerate(seen):
        expected = style_features(before, after, made.adapter.io.step_dt, 12)
        assert torch.equal(made.agent.transitions[row], expected)
    moved = torch.stack([(after[:, :2] - before[:, :2]).norm(dim=1) for before, after, *_ in seen])
    assert moved.max() < 0.1, "no jump to the pose of a new episode"


def test_a_task_of_weight_0_leaves_the_values_at_time_outs(one_epoch):
    made, seen, _ = one_epoch
    agent = made.agent
    rewards = agent.experience_buffer.tensor_dict["rewards"]
    task = torch.stack([reward for *_, reward, _, _ in seen])[..., None]
    cut = torch.stack([(truncated & ~terminated) for *_, terminated, truncated in seen])[..., None]
    assert torch.allclose(rewards - agent.time_out_values, task, atol=1e-6)
    assert torch.equal(agent.time_out_values != 0, cut)
    mixed = {}
    kept, agent.tau, agent.gamma = agent.gamma, 0.0, 0.0
    zeros = torch.zeros_like(rewards)
    mixed = agent.discount_values(zeros[0, :, 0], zeros[0], zeros[..., 0], zeros, rewards)
    agent.gamma = kept
    style = agent.model.style_reward(agent.transitions.flatten(0, 1), "lsgan").view_as(mixed)
    assert torch.allclose(mixed, 1.5 * style * made.adapter.io.step_dt + agent.time_out_values, atol=1e-6)


def test_the_discriminator_is_logged_and_learns_alone(one_epoch):
    made, _, session = one_epoch
    assert {"losses/disc_loss", "style/reward", "style/task_reward", "style/agent_accuracy"} <= session.rows[0].keys()
    fresh = RlGames(made.cfg, made.adapter.io, 6, torch.device("cpu"), 0)
    changed = [
        name
        for (name, new), old in zip(fresh.agent.model.named_parameters(), made.agent.model.parameters(), strict=True)
        if not torch.equal(new, old)
    ]
    assert any("disc_mlp" in name for name in changed) and any("actor_mlp" in name for name in changed)
    owned = {id(p) for group in made.agent.disc_optimizer.param_groups for p in group["params"]}
    others = [name for name, p in made.agent.model.named_parameters() if id(p) in owned]
    assert others and all("disc" in name for name in others)


def test_the_clips_and_the_robot_have_one_kind_of_features(one_epoch):
    made, _, _ = one_epoch
    demo = made.agent._demo(64)
    assert demo.shape[1] == made.agent.transitions.shape[2] and demo.isfinite().all()


def test_the_player_measures_the_style(one_epoch, tmp_path):
    made, _, _ = one_epoch
    bundle = {"agent": made.cfg.__dict__ | {"components": vars(made.cfg.components)}, "policy": {}}
    bundle["policy"] = made.training.policy_state() | {"num_envs": 6}
    env = make_env("go2_amp", 6, episode_length_s=0.1)
    figures = RlGames.play(bundle, env, "amp_continuous", 0)
    assert figures["games"] >= 6 and 0.0 <= figures["style_reward"] <= 1.0


def test_the_clips_of_a_task_whose_policy_observes_a_fault_estimate():
    estimate = ["env.estimate.mode=oracle", "env.estimate.joints=['.*calf.*']"]
    env = open_env(compose_config(["task=go2_amp", "env.num_envs=6", *estimate]))
    made = RlGames(amp_section(max_epochs=1), env.io, 6, torch.device("cpu"), 0)
    made.learn(env, session := Session(8), None)
    assert session.steps_done == 8


def test_a_task_without_poses_or_an_unknown_loss_is_refused():
    env = PointEnv(6)
    with raises_naming(ConfigError, "motion", "task"):
        RlGames(amp_section(), env.io, 6, torch.device("cpu"), 0)
    with raises_naming(ConfigError, "disc_loss", "lsgan"):
        io = make_env("go2_amp", 1).io
        RlGames(amp_section(disc_loss="lsgn"), io, 6, torch.device("cpu"), 0)
    lacking = amp_section()
    del lacking.params["config"]["amp_minibatch_size"]
    with raises_naming(ConfigError, "agent.params", "amp_minibatch_size"):
        RlGames(lacking, io, 6, torch.device("cpu"), 0)
