"""Tasks with a hidden goal: the contract, the split of goals, the goal that stays, and who knows it gets there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.messages import raises_naming
from regimen.envs.conformance.check import require_env
from regimen.envs.hidden_goal import ACTIONS, DarkRoom, DarkRoomCfg, PointGoal, PointGoalCfg
from regimen.system.errors import ConfigError

TASKS = [(DarkRoom, DarkRoomCfg), (PointGoal, PointGoalCfg)]


def opened(kind, num_envs=16, seed=0, goals="all"):
    cfg = dict(TASKS)[kind](num_envs=num_envs, goals=goals)
    return kind(cfg, seed)


def episode_returns(env, choose, episodes=1):
    total = torch.zeros(episodes, env.num_envs)
    for k in range(episodes * env.max_episode_length):
        total[k // env.max_episode_length] += env.step(choose(env))[1]
    return total


@pytest.mark.parametrize("kind", [DarkRoom, PointGoal])
def test_contract(kind):
    require_env(lambda n: opened(kind, n))


@pytest.mark.parametrize("kind", [DarkRoom, PointGoal])
def test_held_out_goals_are_never_trained_on(kind):
    goals = {split: {tuple(g) for g in opened(kind, 1500, 3, split).goal.tolist()} for split in ("train", "held_out")}
    every = {tuple(g) for g in opened(kind, 1500, 4).goal.tolist()}
    assert not goals["train"] & goals["held_out"]
    assert goals["train"] | goals["held_out"] == every
    assert 0.15 < len(goals["held_out"]) / len(every) < 0.3


@pytest.mark.parametrize("kind", [DarkRoom, PointGoal])
def test_the_split_does_not_depend_on_the_seed_but_the_draw_does(kind):
    one, two = (opened(kind, 1500, seed, "held_out").goal for seed in (0, 1))
    assert {tuple(g) for g in one.tolist()} == {tuple(g) for g in two.tolist()}
    assert not torch.equal(one, two)


@pytest.mark.parametrize("kind", [DarkRoom, PointGoal])
def test_the_goal_stays_over_episodes_and_is_drawn_at_reset(kind):
    env = opened(kind)
    env.reset(seed=5)
    goal = env.goal.clone()
    episode_returns(env, lambda e: torch.rand(e.num_envs, e.io.num_actions), episodes=3)
    assert torch.equal(env.goal, goal)
    env.reset()
    assert not torch.equal(env.goal, goal)
    env.reset(seed=5)
    assert torch.equal(env.goal, goal)


@pytest.mark.parametrize(("kind", "at_least"), [(DarkRoom, 12.0), (PointGoal, 10.0)])
def test_who_knows_the_goal_gets_there_and_chance_does_not(kind, at_least):
    env = opened(kind, 64)
    best = episode_returns(env, lambda e: e.optimal_action(), episodes=2)
    assert best.min() >= at_least
    assert torch.equal(best[0], best[1])
    torch.manual_seed(0)
    chance = episode_returns(env, lambda e: 2 * torch.rand(e.num_envs, e.io.num_actions) - 1)
    assert chance.mean() < 0.5 * best.mean()


def test_moves_of_the_dark_room():
    env = opened(DarkRoom, 5)
    env.step(torch.eye(5)[[ACTIONS.index(name) for name in ("stay", "up", "down", "left", "right")]])
    assert (env.position - 4).tolist() == [[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]]
    for _ in range(6):
        obs = env.step(torch.eye(5))[0]["policy"]
    assert env.position[1].tolist() == [0, 4]
    assert obs[1].tolist() == [-1.0, 0.0]


def test_any_scores_are_a_choice():
    env = opened(DarkRoom, 1)
    env.step(torch.tensor([[-3.0, -0.5, -9.0, -1.0, -2.0]]))
    assert env.position.tolist() == [[3, 4]]


def test_reward_of_the_dark_room_is_paid_on_the_goal_only():
    env = opened(DarkRoom, 1)
    env.goal = torch.tensor([[4.0, 6.0]])
    right, stay = torch.eye(5)[[4]], torch.eye(5)[[0]]
    assert [float(env.step(action)[1]) for action in (right, right, stay, right)] == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("kind", [DarkRoom, PointGoal])
def test_picture_shows_walker_and_goal(kind):
    env = opened(kind)
    before = env.render()
    assert before.shape == (144, 144, 3) and before.dtype == np.uint8
    env.step(env.optimal_action())
    assert (env.render() != before).any()


def test_bad_figures_are_named():
    lines = DarkRoomCfg(num_envs=0, episode_length_s=0.01, goals="secret").problems({})
    assert [line.partition("=")[0] for line in lines] == ["num_envs", "episode_length_s", "goals"]


def test_a_command_is_refused():
    with raises_naming(ConfigError, "speed", "env.evaluation.command"):
        opened(DarkRoom).fix_command("speed", torch.zeros(16, 1))
