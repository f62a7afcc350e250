"""The Runner from Python, as users of rl_games write it: registries, load, train, play."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rl_games", reason="make rl_games")

import torch

from helpers.messages import raises_naming
from helpers.point_env import PointEnv
from helpers.rl_games_parts import PPO, PatientPlayer, RingAgent, WideBuilder, changed
from regimen.agents.runner import Runner
from regimen.system.errors import ConfigError

pytestmark = pytest.mark.usefixtures("blank_figures")

OWN = changed(PPO, ring_shift=1, max_epochs=2, network={"name": "wide", "width_factor": 2})
OWN |= {"algo": {"name": "ring"}, "seed": 0}


def build_runner(env: PointEnv) -> Runner:
    runner = Runner(env)
    runner.algo_factory.register_builder("ring", lambda **kwargs: RingAgent(**kwargs))
    runner.player_factory.register_builder("ring", PatientPlayer)
    runner.network.register("wide", lambda **kwargs: WideBuilder())
    return runner


def test_it_trains_and_plays_as_in_rl_games(tmp_path):
    runner = build_runner(PointEnv(8, length=6, noise=0.0))
    runner.load({"params": OWN})
    agent = runner.run_train({"train": True, "play": False})
    assert type(agent) is RingAgent and agent.epoch_num == 2
    assert agent.model.a2c_network.actor_mlp[0].out_features == 32
    still = runner.run({"train": False, "play": True})
    assert still["games"] == 8 and still["av_steps"] == 6
    torch.save(agent.get_full_state_weights(), tmp_path / "ring.pth")
    again = build_runner(PointEnv(8, length=6, noise=0.0))
    again.load({"params": OWN})
    assert again.run_play({"checkpoint": tmp_path / "ring.pth"}) == still
    agent = again.run_train({"checkpoint": tmp_path / "ring.pth", "sigma": -3.0})
    assert agent.epoch_num == 3, "the epochs of the file count"


def test_the_configuration_is_not_changed_and_seeds_are_kept():
    runner = build_runner(PointEnv(8))
    given = {"params": changed(OWN)}
    runner.load(given)
    first = runner.run_train().model.state_dict()
    assert given == {"params": changed(OWN)}
    second = runner.run_train().model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_frames_of_all_envs_limit_a_training():
    runner = build_runner(PointEnv(8))
    runner.load({"params": changed(OWN, max_epochs=-1, max_frames=65)})
    assert runner.run_train().epoch_num == 2


class Uneven(PointEnv):
    """Env 0 ends in each step without a reward, env 1 in each tenth with a reward of 1 a step."""

    def step(self, action: torch.Tensor) -> Any:
        obs, _, terminated, _, info = super().step(0 * action)
        self.steps = getattr(self, "steps", 0) + 1
        ends = torch.tensor([True, self.steps % 10 == 0])
        return obs, torch.tensor([0.0, 1.0]), ends, torch.zeros_like(terminated), info


def test_the_first_episode_of_each_env_is_played_or_as_many_as_are_asked_for():
    runner = build_runner(PointEnv(8))
    runner.load({"params": OWN})
    runner.run_train()
    runner.env = Uneven(2, length=99)
    assert runner.run_play() == {"av_reward": 5.0, "av_steps": 5.5, "games": 2.0}
    runner.params["config"]["player"] = {"games_num": 2}
    runner.env = Uneven(2, length=99)
    assert runner.run_play() == {"av_reward": 0.0, "av_steps": 1.0, "games": 2.0}


def test_what_is_missing_unknown_or_taken_is_named():
    runner = build_runner(PointEnv(8))
    with raises_naming(ConfigError, "actor_critic", "network"):
        runner.register("network", "actor_critic", WideBuilder)
    with raises_naming(ConfigError, "ring", "registered"):
        runner.register("algo", "ring", RingAgent)
    with raises_naming(ConfigError, "algos", "algo"):
        runner.register("algos", "x", RingAgent)
    with raises_naming(ConfigError, "params"):
        runner.load(OWN)
    with raises_naming(ConfigError, "rnig", "ring"):
        runner.load({"params": OWN | {"algo": {"name": "rnig"}}})
    with raises_naming(ConfigError, "params.model.name"):
        runner.load({"params": {key: value for key, value in OWN.items() if key != "model"}})
    with raises_naming(ConfigError, "load"):
        runner.run_train()
    runner.load({"params": OWN})
    with raises_naming(ConfigError, "checkpoint"):
        runner.run_play()
    runner.load({"params": changed(OWN, max_epochs=-1, max_frames=-1)})
    with raises_naming(ConfigError, "max_epochs", "max_frames"):
        runner.run_train()
    lacking = changed(OWN)
    del lacking["config"]["gamma"]
    runner.load({"params": lacking})
    with raises_naming(ConfigError, "gamma"):
        runner.run_train()
