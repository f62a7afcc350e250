"""The curriculum: weights of rewards that change with what was reached, restarted, saved and shared like all else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import CONF, make_env
from regimen.agents import data_parallel
from regimen.config.compose import compose
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, ConfigErrors

PENALTIES = ["flat_orientation_l2", "action_rate_l2"]
SCALE = {"func": "RewardScaleByEpisodeLength", "params": {"rewards": PENALTIES, "step": 0.1}}


def go2(**term):
    env = make_env("go2_flat", 4, curriculum={"penalties": SCALE, **term})
    env.reset(seed=0)
    return env


def end(env, length: int) -> dict[str, float]:
    """What the curriculum logs when all episodes end after `length` steps."""
    env.episode_length[:] = length
    return env.curriculum.step(torch.arange(4))


def weights(env) -> dict[str, float]:
    return dict(zip(env.rewards.terms, (env.rewards.weights / env.step_dt).tolist(), strict=True))


def test_penalties_grow_while_episodes_last_and_shrink_while_they_are_short():
    env, whole = go2(), weights(make_env("go2_flat", 1))
    half = weights(env)
    for name, weight in whole.items():
        assert half[name] == pytest.approx(weight * (0.5 if name in PENALTIES else 1.0))
    assert end(env, env.max_episode_length) == {"Curriculum/penalties": pytest.approx(0.6)}
    for _ in range(9):
        end(env, env.max_episode_length)
    assert weights(env) == pytest.approx(whole), "and no further than the weights of the task"
    assert end(env, env.max_episode_length // 2) == {"Curriculum/penalties": 1.0}
    assert end(env, 1) == {"Curriculum/penalties": pytest.approx(0.9)}


def test_the_mean_length_is_that_of_about_as_many_episodes_as_there_are_envs():
    env = go2()
    env.episode_length[:] = env.max_episode_length
    env.curriculum.step(torch.tensor([0]))
    assert env.curriculum.terms["penalties"].length == pytest.approx(0.25)
    env.curriculum.step(torch.tensor([1, 2]))
    assert env.curriculum.terms["penalties"].length == pytest.approx(0.25 + 0.5 * 0.75)


class Steps:
    """A curriculum term with a memory: control steps since the reset of each env."""

    def __init__(self, env):
        self.steps = torch.zeros(env.num_envs)

    def __call__(self, env_ids):
        self.steps += 1
        return self.steps.max()

    def reset(self, env_ids):
        self.steps[env_ids] = 0


def test_a_term_with_a_memory_is_reset_where_episodes_begin(monkeypatch):
    monkeypatch.setitem(sys.modules, "test_curriculum", sys.modules[__name__])
    env = make_env("reach", 2, episode_length_s=0.2, curriculum={"own": {"func": "test_curriculum:Steps"}})
    env.reset(seed=0)
    env.episode_length[0] = 1
    steps = env.curriculum.terms["own"]
    told = [env.step(torch.zeros(2, 2))[-1]["log"].get("Curriculum/own") for _ in range(env.max_episode_length)]
    assert told[-2:] == [env.max_episode_length - 1, env.max_episode_length] and steps.steps.tolist() == [1, 0]


def test_a_weight_changes_after_so_many_steps_and_a_seeded_reset_begins_anew():
    change = {"func": "modify_reward_weight", "params": {"rewards": "action_rate_l2", "weight": -9.0, "num_steps": 3}}
    env = make_env("go2_flat", 4, curriculum={"slide": change})
    env.reset(seed=0)
    before, told = weights(env)["action_rate_l2"], []
    for _ in range(3):
        told.append(weights(env)["action_rate_l2"])
        env.step(torch.zeros(4, 12))
    assert told == [pytest.approx(before)] * 3 and weights(env)["action_rate_l2"] == pytest.approx(-9.0)
    env.reset()
    assert weights(env)["action_rate_l2"] == pytest.approx(-9.0)
    env.reset(seed=0)
    assert weights(env)["action_rate_l2"] == pytest.approx(before) and env.common_step_counter == 0


def test_it_goes_on_where_it_was():
    env = go2()
    end(env, env.max_episode_length)
    other = go2()
    other.load_state_dict(env.state_dict())
    assert weights(other) == weights(env)
    assert end(other, 1) == end(env, 1)
    assert weights(other) == weights(env)


def test_what_it_did_is_logged_with_the_episodes_that_ended():
    env = go2()
    env.episode_length[:] = env.max_episode_length - 1
    *_, info = env.step(torch.zeros(4, 12))
    assert info["log"]["Curriculum/penalties"] == pytest.approx(0.6)


def test_processes_share_the_mean_of_their_levels(monkeypatch):
    env = go2()
    end(env, env.max_episode_length)
    monkeypatch.setattr(data_parallel, "world_size", lambda: 2)
    monkeypatch.setattr(data_parallel, "total", lambda mine: mine + 0.8)
    data_parallel.share_curriculum(env)
    assert env.curriculum.terms["penalties"].level == pytest.approx(0.7)
    assert weights(env)["action_rate_l2"] == pytest.approx(0.7 * weights(make_env("go2_flat", 1))["action_rate_l2"])


def test_a_reward_that_is_not_there_is_told_before_the_simulator_starts():
    new = "+env.curriculum.x={func: modify_reward_weight, params: {rewards: action_rate_l, weight: 0.0, num_steps: 9}}"
    with raises_naming(ConfigErrors, "env.curriculum.x.params.rewards", "action_rate_l", "action_rate_l2"):
        preflight(compose(["task=go2_flat", new], [CONF]), Path("outputs"))
    with raises_naming(ConfigError, "curriculum.x.params.rewards", "action_rate_l", "action_rate_l2"):
        make_env("go2_flat", 1, curriculum={"x": {**SCALE, "params": {"rewards": ["action_rate_l"]}}})


def test_a_reward_of_weight_0_is_said_to_be_one():
    change = "{func: modify_reward_weight, params: {rewards: action_rate_l2, weight: -0.1, num_steps: 9}}"
    words = ["task=go2_flat", "env.rewards.action_rate_l2.weight=0", f"+env.curriculum.x={change}"]
    wanted = ("curriculum.x.params.rewards", "action_rate_l2", "env.rewards.action_rate_l2.weight=1.0e-9")
    with raises_naming(ConfigErrors, *wanted):
        preflight(compose(words, [CONF]), Path("outputs"))
    off = {"action_rate_l2": {"weight": 0.0}}
    with raises_naming(ConfigError, *wanted):
        make_env("go2_flat", 1, rewards=off, curriculum={"x": SCALE})
    both = {**SCALE, "params": {"rewards": [".*_l2"], "step": 0.1}}
    assert "action_rate_l2" not in make_env("go2_flat", 1, rewards=off, curriculum={"x": both}).rewards.terms
