"""The manager-based environment on the project's own tasks."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env, task_config
from regimen.envs.conformance.check import require_env
from regimen.system.errors import ConfigError, DivergedError

TASKS = ("reach",)
WITH_CLIPS = ("go2_amp", "humanoid_amp", "humanoid_track")
SLOW = ("go2_flat", "h1_failure", "k1_walk", "h1_flat", *WITH_CLIPS)


@pytest.mark.parametrize("task", [*TASKS, *(pytest.param(task, marks=pytest.mark.slow) for task in SLOW)])
def test_every_task_keeps_the_contract(task):
    require_env(lambda n: make_env(task, n, episode_length_s=1.0), num_envs=4)


@pytest.mark.parametrize(("task", "size"), [("go2_flat", 50), ("h1_flat", 71), ("k1_walk", 80)])
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
    env.step(torch.full((2, 12), 1.0))
    assert torch.allclose(env._targets - env.default_joint_pos, torch.tensor(0.5), atol=1e-6)


def test_an_action_may_count_in_the_angle_at_which_each_motor_saturates():
    env = make_env("k1_walk", 2)
    scale = dict(zip(env.io.action.joints, env.io.action.scale, strict=True))
    assert scale["Left_Hip_Pitch"] == pytest.approx(0.25 * 30 / 80)
    assert scale["Head_pitch"] == pytest.approx(0.25 * 6 / 4)
    env.reset(seed=0)
    env.step(torch.full((2, 22), 2.0))
    moved = env._targets - env.default_joint_pos
    assert torch.allclose(moved, 2 * torch.tensor(env.io.action.scale).expand(2, 22), atol=1e-6)


def test_nan_action_names_the_joint():
    env = make_env("go2_flat", 2)
    env.reset(seed=0)
    action = torch.zeros(2, 12)
    action[1, 2] = torch.nan
    with raises_naming(DivergedError, "FL_calf_joint", "1 of 2"):
        env.step(action)


def test_non_finite_reward_names_the_term():
    env = make_env("go2_flat", 2)
    env.reset(seed=0)
    env.rewards.terms["lin_vel_z_l2"] = lambda: torch.tensor([1.0, torch.inf])
    with raises_naming(DivergedError, "lin_vel_z_l2"):
        env.step(torch.zeros(2, 12))


def test_null_switches_a_term_off():
    env = make_env("go2_flat", 2, events={"push_robot": None}, rewards={"stand_still": None})
    assert "push_robot" not in env.events.terms
    assert "stand_still" not in env.rewards.terms


def test_unmatched_joint_pattern_is_refused_with_names():
    with raises_naming(ConfigError, "rewards.joint_deviation.params.joints", ".*_hipp_joint", "FR_hip_joint"):
        make_env("go2_flat", 2, rewards={"joint_deviation": {"params": {"joints": ".*_hipp_joint"}}})


def test_unknown_parameter_is_refused_with_the_near_one():
    with raises_naming(ConfigError, "rewards.track_ang_vel_z_exp", "sdt", "std"):
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
    assert "time_out" not in info["ends"] and not any(mask.any() for mask in info["ends"].values())


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


class Delayed:
    """An observation with a memory: the joint positions of the step before."""

    def __init__(self, env):
        self.env, self.held, self.now = env, torch.zeros(env.num_envs, 2), torch.zeros(env.num_envs, 2)

    def __call__(self):
        return self.held

    def step(self):
        self.held, self.now = self.now, self.env.state.joint_pos.clone()

    def reset(self, env_ids):
        self.held[env_ids], self.now[env_ids] = 0.0, 0.0


def open_delayed():
    terms = {"delayed": {"func": "test_manager_env:Delayed"}}
    return make_env("reach", 4, episode_length_s=0.2, observations={"policy": {"terms": terms}})


@pytest.mark.slow
def test_observations_with_a_memory_advance_once_a_step_and_keep_the_contract(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "test_manager_env", __import__("sys").modules[__name__])
    env = open_delayed()
    env.reset(seed=0)
    before = [env.state.joint_pos.clone()]
    for step in range(5):
        obs, *_ = env.step(torch.ones(4, 2))
        if step:
            assert torch.equal(obs["policy"][:, -2:], before[-1])
        before.append(env.state.joint_pos.clone())
    require_env(lambda n: open_delayed() if n == 4 else make_env("reach", n), num_envs=4)


def test_final_observation_carries_the_command_of_its_own_step():
    env = make_env("go2_flat", 2, episode_length_s=0.1, observation_noise=False)
    env.reset(seed=0)
    env.fix_command("base_velocity", torch.tensor([[1.0, 0.0, 0.0]] * 2))
    phases = []
    for _ in range(5):
        *_, truncated, info = env.step(torch.zeros(2, 12))
        sin, cos = info["final_obs"]["policy"][0, -2:]
        phases.append(float(torch.atan2(sin, cos) / (2 * torch.pi)) % 1.0)
    assert truncated.all()
    advances = [(b - a) % 1.0 for a, b in pairwise(phases)]
    assert advances == pytest.approx([0.04] * 4, abs=1e-4)


def test_a_push_shows_in_the_observation_that_follows_it():
    change = {"push_robot": {"interval_range_s": [0.02, 0.02], "params": {"velocity_range": {"x": [5.0, 5.0]}}}}
    env = make_env("go2_flat", 2, events=change, observation_noise=False)
    env.reset(seed=0)
    obs, *_ = env.step(torch.zeros(2, 12))
    assert (torch.linalg.vector_norm(obs["policy"][:, :2], dim=1) > 2.0).all()


@pytest.mark.parametrize(
    ("task", "changes", "names"),
    [
        ("reach", {"rewards": {n: None for n in ("distance", "near", "action_rate_l2")}}, ("env.rewards", "weight")),
        (
            "h1_failure",
            {"events": {"change_joint_torque": {"mode": "startup"}}},
            ("env.events.change_joint_torque", "mode: reset"),
        ),
        ("go2_flat", {"commands": {"gait": {"params": {"offsets": [0.0]}}}}, ("GaitClock", "offsets", 1, 4, "RR_foot")),
        (
            "go2_flat",
            {"events": {"push_robot": {"interval_range_s": None}}},
            ("env.events.push_robot", "interval_range_s"),
        ),
    ],
)
def test_tasks_that_make_no_sense_are_refused(task, changes, names):
    with raises_naming(ConfigError, *names):
        make_env(task, 2, **changes)


def test_a_command_that_cannot_be_held_at_given_values_is_refused():
    env = make_env("h1_flat", 2)
    with raises_naming(ConfigError, "UniformVelocityCommand", 3, 1):
        env.fix_command("base_velocity", torch.ones(2, 1))
    with raises_naming(ConfigError, "env.commands.gait", "GaitClock", "fix"):
        env.fix_command("gait", torch.ones(2, 2))
