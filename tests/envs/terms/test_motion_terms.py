"""Terms that read motion clips: starts, the tracked motion, its rewards and ends."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env
from regimen.envs.motion.style_features import style_features
from regimen.envs.terms.motion_command import MotionCommand
from regimen.system.errors import ConfigError


def tracked(num_envs: int = 32, **changes: object) -> tuple:
    env = make_env("humanoid_track", num_envs, **changes)
    env.reset(seed=0)
    return env, env.commands["motion"]


def test_starts_are_from_clips_with_the_probability_and_else_from_standing() -> None:
    env = make_env("humanoid_amp", 256, events={"reset_from_motion": {"params": {"probability": 0.25}}})
    env.reset(seed=0)
    standing = (env.state.joint_pos - env.default_joint_pos).abs().max(1).values < 1e-5
    assert float((~standing).float().mean()) == pytest.approx(0.25, abs=0.08)
    assert float(env.state.lin_vel[~standing].norm(dim=1).mean()) == pytest.approx(1.54, abs=0.15)
    assert float(env.state.lin_vel[standing].abs().max()) == 0.0


def test_a_start_from_a_clip_moves_as_the_clip_in_the_direction_that_it_faces() -> None:
    env = make_env("humanoid_amp", 128, events={"reset_from_motion": {"params": {"probability": 1.0}}})
    env.reset(seed=0)
    assert float(env.state.yaw_lin_vel[:, 0].mean()) == pytest.approx(1.54, abs=0.1)
    assert float(env.state.yaw_lin_vel[:, 1].abs().mean()) < 0.3
    heading = 2 * torch.atan2(env.state.root_quat[:, 3], env.state.root_quat[:, 0])
    assert float(heading.cos().mean().abs()) < 0.3  # all directions


def test_a_task_without_clips_says_what_to_add() -> None:
    with raises_naming(ConfigError, "reset_from_motion", "env.motion.clips"):
        make_env("humanoid_amp", 2, motion={"clips": {"walk": None}}, observations={
            "policy": {"terms": {"key_bodies": None}}, "motion": {"terms": {"pose": {"func": "base_pos_z"}}},
        }).reset(seed=0)  # fmt: skip


def test_the_pose_at_the_end_of_an_episode_is_that_before_the_reset() -> None:
    env = make_env("humanoid_amp", 64, terminations={"base_tilt": {"params": {"limit_angle": 0.2}}})
    lib, before, ends = env.motion, env.reset(seed=0)["motion"], 0
    assert lib is not None
    for _ in range(25):
        obs, _, terminated, truncated, info = env.step(torch.zeros(64, 28))
        done = terminated | truncated
        final = torch.where(done[:, None], info["final_obs"]["motion"], obs["motion"])
        phi = style_features(before, final, env.step_dt, lib.num_joints)
        moved = (final[:, :3] - before[:, :3]).norm(dim=1)
        assert (
            bool(phi.isfinite().all()) and float(moved.max()) < 10 * env.step_dt
        )  # no jump of a reset between the two
        jumped = (obs["motion"][done, 7:35] - before[done, 7:35]).abs().max(1).values if done.any() else torch.zeros(0)
        ends += int((jumped > (final[done, 7:35] - before[done, 7:35]).abs().max(1).values).sum())
        before = obs["motion"]
    assert ends > 20


def test_the_robot_starts_on_the_tracked_motion() -> None:
    env, command = tracked(64)
    # The command is one control step ahead of the start.
    joints = (command.joint_pos - env.state.joint_pos) / env.step_dt
    assert float((joints - env.state.joint_vel).square().mean().sqrt()) < 0.5
    ahead = (command.root_pos - env.state.root_pos)[:, :2].norm(dim=1) / env.step_dt
    assert float(ahead.mean()) == pytest.approx(1.54, abs=0.15)
    assert float(command.root_turn().max()) < 0.1
    torch.testing.assert_close(command.value[:, :28], command.joint_pos - env.default_joint_pos)


def test_a_cyclic_clip_goes_on_without_a_jump() -> None:
    env, command = tracked(16)
    at, joints = command.root_pos.clone(), command.joint_pos.clone()
    start, steps = at.clone(), 200
    for _ in range(steps):
        command.step()
        assert float((command.root_pos - at).norm(dim=1).max()) < 3.0 * env.step_dt
        assert float((command.joint_pos - joints).abs().max()) < 13.0 * env.step_dt
        at, joints = command.root_pos.clone(), command.joint_pos.clone()
    assert not bool(command.finished.any())
    walked = (at - start)[:, :2].norm(dim=1)
    assert float(walked.min()) > 0.6 * 1.5 * steps * env.step_dt  # along a slight arc


def test_a_clip_that_is_not_cyclic_rests_at_its_end() -> None:
    env, command = tracked(8, motion={"clips": {"walk": {"file": "humanoid_walk"}}})
    for _ in range(math.ceil(2.6 / env.step_dt)):
        command.step()
    at = command.root_pos.clone()
    command.step()
    assert bool(command.finished.all())
    torch.testing.assert_close(command.root_pos, at)


def test_starts_move_to_where_episodes_fail() -> None:
    env, command = tracked(64)
    even = command.start_chances()
    command.time[:] = 0.9  # every env is in the last of five sections …
    env.terminated[:] = True
    env.common_step_counter = 5
    command.step()
    chances = command.start_chances()
    assert chances.argmax() in (len(even) - 1, len(even) - 2)
    torch.testing.assert_close(chances.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert float(chances[0]) == pytest.approx(0.25 * float(even[0]))  # … and a quarter of the starts is drawn evenly
    saved = env.state_dict()
    other, fresh = tracked(64)
    assert float(fresh.failures.sum()) == 0.0
    other.load_state_dict(saved)
    torch.testing.assert_close(fresh.failures, command.failures)
    env.reset(seed=1)  # a seeded reset starts anew
    assert float(command.failures.sum()) == 0.0


@pytest.mark.slow
def test_failures_count_without_its_event_too() -> None:
    env, command = tracked(16, events={"reset_to_motion": None})
    env.reset(seed=0)
    ended = 0
    for _ in range(60):
        ended += int(env.step(torch.full((16, env.io.num_actions), 5.0))[2].sum())
    assert ended > 0
    assert float(command.failures.sum()) == pytest.approx(ended, rel=0.1)  # the older ones fade


def test_without_its_event_the_command_begins_at_the_robot() -> None:
    env, command = tracked(16, events={"reset_to_motion": None})
    assert float((command.root_pos - env.state.root_pos)[:, :2].norm(dim=1).max()) < 0.2


def test_rewards_are_one_on_the_motion_and_less_beside_it() -> None:
    env, command = tracked(8)
    frames = {n: getattr(command, n) for n in ("root_pos", "root_quat", "joint_pos", "joint_vel")}
    env.world.reset(
        torch.arange(8), torch.cat((frames["root_pos"], frames["root_quat"]), 1), torch.zeros(8, 6),
        frames["joint_pos"], frames["joint_vel"],
    )  # fmt: skip
    env.state.update(torch.arange(8), env._read(torch.arange(8)))
    terms = {n: t for n, t in env.rewards.terms.items() if n.startswith("motion_")}
    on = {n: term() for n, term in terms.items()}
    for name, value in on.items():
        torch.testing.assert_close(value, torch.ones(8), atol=2e-3, rtol=0, msg=name)
    assert not any(
        bool(env.terminations.terms[n]().any()) for n in ("motion_anchor", "motion_anchor_turn", "motion_bodies")
    )
    command.root_pos += torch.tensor([0.6, 0.0, 0.0])
    command.joint_pos, command.joint_vel = command.joint_pos + 0.3, command.joint_vel + 3.0
    command.bodies = command.bodies + 0.4
    command.root_quat = torch.roll(command.root_quat, 1, dims=1)
    assert all(bool((terms[name]() < 0.5).all()) for name in terms)
    assert all(
        bool(env.terminations.terms[n]().all()) for n in ("motion_anchor", "motion_anchor_turn", "motion_bodies")
    )


def test_the_relative_speed_pays_nothing_for_standing_and_most_at_the_command() -> None:
    env = make_env("go2_amp", 4)
    env.reset(seed=0)
    term, value = env.rewards.terms["track_velocity"], env.commands["base_velocity"].value
    value[:] = torch.tensor([0.8, 0.0, 0.0])
    env.state.ang_vel[:] = 0.0
    for speed, paid in ((0.0, 0.0), (0.4, 0.5), (0.8, 1.0), (1.2, 0.5), (2.4, -0.5)):
        env.state.lin_vel[:] = torch.tensor([speed, 0.0, 0.0])
        torch.testing.assert_close(term(), torch.full((4,), paid))


def test_feet_in_step() -> None:
    env = make_env("go2_amp", 2)
    env.reset(seed=0)
    feet = env.robot.feet
    env.state.contact_force[:] = 0.0
    for name in ("FL_foot", "RR_foot"):
        env.state.contact_force[:, env.bodies.index(name)] = 50.0
    assert feet == ("FL_foot", "FR_foot", "RL_foot", "RR_foot")
    metrics = env.metrics.compute()
    torch.testing.assert_close(metrics["diagonal_sync"], torch.ones(2))
    torch.testing.assert_close(metrics["front_sync"], torch.zeros(2))
    wrong = {"diagonal_sync": {"params": {"pairs": [["FL_foot", "RX_foot"]]}}}
    with raises_naming(ConfigError, "RX_foot", "RR_foot"):
        make_env("go2_amp", 2, metrics=wrong).metrics.compute()


def test_the_command_is_a_command() -> None:
    _, command = tracked(4)
    assert isinstance(command, MotionCommand)
    assert set(command.metrics()) >= {"joint_error", "body_error", "root_error", "root_turn_error"}
    assert float(command.metrics()["joint_error"].max()) < 0.2
