"""A task whose actions are velocities of a trained walker, with a hidden direction as its goal."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from helpers.tasks import open_config, task_config
from regimen.envs.conformance.check import require_env
from regimen.envs.low_level.wrapper import CommandingEnv
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, ConfigError, IOMismatchError

PRETRAINED = Path(__file__).resolve().parents[3] / "pretrained"
WALKER = PRETRAINED / "go2_flat" / "policy.pt"


class _Opened:
    """What `CommandingEnv.wrap` reads of a run's configuration."""

    def __init__(self, env):
        self.env = env


def opened(num_envs=8, policy=WALKER, seed=0, goals="all", **changes):
    low = {"policy": str(policy), "decimation": changes.pop("decimation", 10)}
    commands = {"direction": {"params": {"goals": goals}}}
    cfg = task_config("go2_hidden", num_envs=num_envs, low_level=low, commands=commands, **changes)
    return CommandingEnv.wrap(open_config(cfg, seed), _Opened(cfg))


@pytest.mark.slow
def test_contract():
    require_env(lambda n: opened(n, decimation=2, episode_length_s=0.4))


@pytest.mark.slow
def test_the_solution_walks_along_the_hidden_direction_and_against_it_is_punished():
    env = opened(16)
    env.reset(seed=1)
    returns = {}
    for sign in (1.0, -1.0):
        env.reset(seed=1)
        direction = env.optimal_action()
        total = torch.zeros(env.num_envs)
        for _ in range(30):  # 6 s
            obs, reward, terminated, *_ = env.step(sign * direction)
            total += reward
        assert not terminated.any()
        heading = obs["policy"][:, :2]
        assert ((heading * direction).sum(1) * sign > 0.9).all()
        returns[sign] = total
    assert (returns[1.0] > 1.8).all()  # metres; a turn of half a circle takes 4 s
    assert (returns[-1.0] < -1.8).all()


@pytest.mark.slow
def test_the_reward_is_the_displacement_along_the_direction():
    env = opened(8, episode_length_s=20.0)
    obs = env.reset(seed=2)
    direction, start, total = env.optimal_action(), obs["policy"][:, 4:], torch.zeros(8)
    for _ in range(15):
        obs, reward, *_ = env.step(torch.tensor([[1.0, 0.0]]).expand(8, 2))
        total += reward
    moved = ((obs["policy"][:, 4:] - start) * direction).sum(1)
    assert torch.allclose(total, moved, atol=0.03)


def test_an_action_of_zero_stands():
    env = opened(4)
    env.reset(seed=0)
    for _ in range(10):
        obs, *_ = env.step(torch.zeros(4, 2))
    assert obs["policy"][:, 4:].norm(dim=1).max() < 0.1


def test_an_episode_that_ends_within_an_action_ends_with_it():
    env = opened(4, decimation=10, episode_length_s=0.5)  # 25 steps: 2.5 actions
    env.reset(seed=0)
    for _ in range(2):
        *_, truncated, _ = env.step(env.optimal_action())
        assert not truncated.any()
    obs, _, terminated, truncated, info = env.step(env.optimal_action())
    assert truncated.all()
    assert not terminated.any()
    displaced = info["final_obs"]["policy"][:, 4:].norm(dim=1)
    assert (displaced > obs["policy"][:, 4:].norm(dim=1)).all()
    assert all(values.isfinite().all() for values in info["metrics"].values())


def test_the_direction_stays_over_episodes_and_is_drawn_at_the_seeded_reset():
    env = opened(16, decimation=5, episode_length_s=0.3)
    env.reset(seed=5)
    first = env.optimal_action()
    for _ in range(7):
        env.step(torch.zeros(16, 2))
    assert torch.equal(env.optimal_action(), first)
    env.reset(seed=5)
    assert torch.equal(env.optimal_action(), first)
    env.reset(seed=6)
    assert not torch.equal(env.optimal_action(), first)


def test_held_out_directions_are_none_of_the_trained_ones():
    def angles(goals):
        value = opened(192, goals=goals).optimal_action()
        return {round(math.degrees(math.atan2(y, x)), 2) for x, y in value.tolist()}

    train, held_out = angles("train"), angles("held_out")
    assert not train & held_out
    assert (len(train), len(held_out)) == (72, 24)


def test_unknown_goals_are_refused():
    with pytest.raises(ConfigError, match="held_out"):
        opened(2, goals="heldout")


def test_a_policy_of_another_robot_is_refused():
    with pytest.raises(IOMismatchError):
        opened(2, policy=PRETRAINED / "h1_flat" / "policy.pt")


def test_a_file_that_is_no_policy_is_refused(tmp_path):
    checkpoint.save(tmp_path / "other.pt", {"format": checkpoint.FORMAT})
    with pytest.raises(CheckpointError):
        opened(2, policy=tmp_path / "other.pt")
