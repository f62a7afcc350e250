"""Rewards: each formula on states made by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from regimen.envs.terms import rewards, terminations


def make(n: int = 2, **state: torch.Tensor) -> SimpleNamespace:
    """An env on flat ground of which only the given readings exist."""
    command = SimpleNamespace(value=torch.zeros(n, 3), moving=torch.tensor([True, False]))
    gait = SimpleNamespace(stance=torch.tensor([[True, False], [True, True]]), swing_height=torch.zeros(n, 2))
    return SimpleNamespace(
        state=SimpleNamespace(**state),
        commands={"base_velocity": command, "gait": gait},
        step_dt=0.02,
        num_envs=n,
        height_above_ground=lambda places: places[..., 2],
    )


def test_velocity_tracking_is_one_on_target_and_falls_with_the_error():
    env = make(yaw_lin_vel=torch.tensor([[0.0, 0.0], [0.3, 0.4]]))
    assert rewards.track_lin_vel_xy_yaw_frame_exp(env, std=0.5).tolist() == pytest.approx([1.0, math.exp(-1.0)])


def test_turning_is_judged_about_the_vertical_or_the_own_axis():
    env = make(ang_vel=torch.tensor([[0, 0, 0.5], [0, 0, 0.0]]), world_yaw_rate=torch.tensor([0.0, 0.5]))
    assert rewards.track_ang_vel_z_exp(env, std=0.5).tolist() == pytest.approx([math.exp(-1.0), 1.0])
    assert rewards.track_ang_vel_z_world_exp(env, std=0.5).tolist() == pytest.approx([1.0, math.exp(-1.0)])


def test_tilt_counts_by_the_sine_squared():
    env = make(gravity=torch.tensor([[0.0, 0.0, -1.0], [0.6, 0.0, -0.8]]))
    assert rewards.flat_orientation_l2(env).tolist() == pytest.approx([0.0, 0.36])


def test_sums_of_squares_take_only_their_joints():
    env = make(joint_torque=torch.tensor([[1.0, 2.0], [3.0, 4.0]]), joint_acc=torch.ones(2, 2))
    assert rewards.joint_torques_l2(env, joints=torch.tensor([1])).tolist() == [4.0, 16.0]
    assert rewards.joint_acc_l2(env).tolist() == [2.0, 2.0]


def test_joint_limits_count_what_is_beyond():
    env = make(joint_pos=torch.tensor([[1.2, 0.0], [-1.5, 0.9]]))
    env.soft_joint_range = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])
    assert rewards.joint_pos_limits(env).tolist() == pytest.approx([0.2, 0.5])


def test_standing_pose_counts_only_while_standing():
    env = make(joint_offset=torch.tensor([[0.1, -0.2], [0.1, -0.2]]))
    assert rewards.joint_deviation_l1(env).tolist() == pytest.approx([0.3, 0.3])
    assert rewards.stand_still_joint_deviation_l1(env).tolist() == pytest.approx([0.0, 0.3])


def test_slide_counts_feet_on_the_ground():
    env = make()
    env.foot_vel = torch.tensor([[[3.0, 4.0, 9.0]], [[3.0, 4.0, 9.0]]])
    env.foot_force = torch.tensor([[50.0], [0.0]])
    assert rewards.feet_slide(env).tolist() == [5.0, 0.0]


def test_gait_contact_is_the_share_of_feet_that_obey():
    env = make()
    env.foot_force = torch.tensor([[50.0, 50.0], [50.0, 50.0]])
    assert rewards.gait_contact(env).tolist() == [0.5, 1.0]


def test_feet_height_follows_the_swing():
    env = make()
    env.foot_pos = torch.tensor([[[0, 0, 0.0], [0, 0, 0.1]], [[0, 0, 0.0], [0, 0, 0.1]]])
    env.commands["gait"].swing_height = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    value = rewards.feet_height_exp(env, height=0.1, std=0.1)
    assert value.tolist() == pytest.approx([1.0, (1.0 + math.exp(-1.0)) / 2])


def test_air_time_pays_on_landing_and_not_while_standing():
    env = make()
    env.foot_force = torch.zeros(2, 1)
    term = rewards.feet_air_time(env, threshold=0.1)
    for _ in range(10):
        assert term().tolist() == [0.0, 0.0]
    env.foot_force = torch.full((2, 1), 50.0)
    assert term().tolist() == pytest.approx([0.22 - 0.1, 0.0])
    assert term().tolist() == [0.0, 0.0]


def test_alive_and_terminated_are_opposites():
    env = make()
    env.terminated = torch.tensor([True, False])
    assert (rewards.is_alive(env) + rewards.is_terminated(env)).tolist() == [1.0, 1.0]


def test_terminations():
    env = make(
        contact_force=torch.tensor([[0.0, 5.0], [0.5, 0.0]]),
        root_pos=torch.tensor([[0, 0, 0.2], [0, 0, 0.9]]),
        gravity=torch.tensor([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]),
    )
    env.episode_length, env.max_episode_length = torch.tensor([99, 100]), 100
    assert terminations.time_out(env).tolist() == [False, True]
    assert terminations.illegal_contact(env, threshold=1.0).tolist() == [True, False]
    assert terminations.root_height_below_minimum(env, minimum_height=0.5).tolist() == [True, False]
    assert terminations.bad_orientation(env, limit_angle=1.0).tolist() == [False, True]
