"""The manager-based environment on the project's own tasks."""

from __future__ import annotations

import pytest
import torch

from regimen.envs.check import require_env
from regimen.errors import ConfigError, DivergedError
from tasks import make_env, task_config

TASKS = ("reach", "go2_flat", "h1_flat", "h1_failure")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_keeps_the_contract(task):
    require_env(lambda n: make_env(task, n, episode_length_s=2.0), num_envs=8)


@pytest.mark.parametrize(("task", "size"), [("go2_flat", 50), ("h1_flat", 71)])
def test_observation_has_the_documented_size(task, size):
    assert make_env(task, 2).io.size() == size


def test_zero_action_targets_the_default_pose():
    env = make_env("go2_flat", 2)
    env.reset(seed=0)
    env.step(torch.zeros(2, 12))
    assert torch.allclose(env._targets, env.default_joint_pos.expand(2, 12))


def test_action_moves_the_target_by_its_scale():
    env = make_env("go2_flat", 2)
    env.reset(seed=0)
    env.step(torch.full((2, 12), 2.0))
    assert torch.allclose(env._targets - env.default_joint_pos, torch.tensor(0.5), atol=1e-6)


def test_nan_action_names_the_joint():
    env = make_env("go2_flat", 2)
    env.reset(seed=0)
    action = torch.zeros(2, 12)
    action[1, 2] = torch.nan
    with pytest.raises(DivergedError, match="FL_calf_joint is not finite in 1 of 2 envs"):
        env.step(action)


def test_non_finite_reward_names_the_term():
    env = make_env("go2_flat", 2)
    env.reset(seed=0)
    env.rewards.terms["lin_vel_z_l2"] = lambda: torch.tensor([1.0, torch.inf])
    with pytest.raises(DivergedError, match="`lin_vel_z_l2` is not finite"):
        env.step(torch.zeros(2, 12))


def test_null_switches_a_term_off():
    env = make_env("go2_flat", 2, events={"push_robot": None}, rewards={"stand_still": None})
    assert "push_robot" not in env.events.terms
    assert "stand_still" not in env.rewards.terms


def test_unmatched_joint_pattern_is_refused_with_names():
    with pytest.raises(ConfigError, match=r"joint_deviation.*\.\*_hipp.*Did you mean"):
        make_env("go2_flat", 2, rewards={"joint_deviation": {"params": {"joints": ".*_hipp_joint"}}})


def test_unknown_parameter_is_refused_with_the_near_one():
    with pytest.raises(ConfigError, match="no parameter `sdt`. Did you mean `std`"):
        make_env("go2_flat", 2, rewards={"track_ang_vel_z_exp": {"params": {"sdt": 1.0}}})


def test_observation_noise_can_be_switched_off():
    quiet = make_env("go2_flat", 4, observation_noise=False)
    quiet.reset(seed=0)
    obs, *_ = quiet.step(torch.zeros(4, 12))
    assert torch.equal(obs["policy"][:, 12:24], quiet.state.joint_offset)


def test_noise_stays_within_its_half_width():
    env = make_env("go2_flat", 64)
    env.reset(seed=0)
    obs, *_ = env.step(torch.zeros(64, 12))
    error = (obs["policy"][:, 12:24] - env.state.joint_offset).abs()
    assert 0.005 < error.max() <= 0.01 + 1e-6


def test_episode_log_holds_every_reward_and_termination():
    env = make_env("reach", 4)
    env.reset(seed=0)
    for _ in range(env.max_episode_length):
        *_, truncated, info = env.step(torch.zeros(4, 2))
    assert truncated.all()
    assert {f"Episode_Reward/{n}" for n in task_config("reach").rewards} <= set(info["log"])
    assert info["log"]["Episode_Termination/time_out"] == 1.0


def test_fixed_commands_stay():
    env = make_env("h1_flat", 3)
    env.reset(seed=0)
    values = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [1.0, 0.0, 0.0]])
    env.fix_command("base_velocity", values)
    for _ in range(5):
        env.step(torch.zeros(3, 19))
    assert torch.equal(env.commands["base_velocity"].value, values)
    assert env.commands["base_velocity"].moving.tolist() == [False, True, True]


def test_stagger_spreads_the_time_outs():
    env = make_env("reach", 64)
    env.reset(seed=0)
    env.stagger()
    assert env.episode_length.float().std() > 0.2 * env.max_episode_length


def test_pushes_change_the_velocity_of_due_envs():
    change = {"push_robot": {"interval_range_s": [0.02, 0.02], "params": {"velocity_range": {"x": [5.0, 5.0]}}}}
    env = make_env("go2_flat", 2, events=change)
    env.reset(seed=0)
    before = env.state.world.root_lin_vel[:, 0].clone()
    env.step(torch.zeros(2, 12))
    env.step(torch.zeros(2, 12))
    assert ((env.state.world.root_lin_vel[:, 0] - before) > 2.0).all()
