"""The library of clips: times, weights, mirror images, pairs of poses, and style features of clips and robots."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.messages import raises_naming
from helpers.motions import walk
from helpers.tasks import make_env
from regimen.config.task_schema import MotionCfg, MotionClipCfg
from regimen.envs.motion.clip import MotionClip
from regimen.envs.motion.library import MotionLibrary
from regimen.envs.motion.style_features import style_features, style_size
from regimen.envs.robots.robot import load
from regimen.envs.rotations import from_euler, multiply, rotate
from regimen.system.errors import ConfigError

HUMANOID, CPU, DT = load("humanoid"), torch.device("cpu"), 0.03
KEY = ["right_hand", "left_hand", "right_foot", "left_foot"]


def library(*clips: MotionClip, weights: list[float] | None = None, step_dt: float = DT) -> MotionLibrary:
    chosen = clips or (walk(),)
    return MotionLibrary(chosen, weights or [1.0] * len(chosen), HUMANOID, KEY, step_dt, CPU)


def at(lib: MotionLibrary, *times: float) -> torch.Tensor:
    return lib.pose_at(torch.zeros(len(times), dtype=torch.long), torch.tensor(times, dtype=torch.float64))


def test_at_a_frame_the_pose_is_that_of_the_frame_and_between_two_it_is_between_them() -> None:
    clip, lib = walk(), library()
    pose = at(lib, 10 / 30, 10.5 / 30, 11 / 30)
    np.testing.assert_allclose(pose[0, :3], clip.root_pos[10], atol=1e-6)
    np.testing.assert_allclose(pose[0, 7:35], clip.joint_pos[10], atol=1e-6)
    np.testing.assert_allclose(pose[1, 7:35], clip.joint_pos[10:12].mean(0), atol=1e-6)
    np.testing.assert_allclose(pose[:, 3:7].norm(dim=1), 1.0, atol=1e-6)


def test_before_and_after_its_ends_a_clip_rests() -> None:
    lib = library()
    pose = at(lib, -5.0, 0.0, float(lib.durations[0]), 99.0)
    torch.testing.assert_close(pose[0], pose[1])
    torch.testing.assert_close(pose[2], pose[3])
    assert not torch.allclose(pose[1], pose[2])


def test_velocities_are_those_of_the_interpolated_poses() -> None:
    lib, frame = library(), 1 / 30
    times = torch.rand(500, dtype=torch.float64) * (float(lib.durations[0]) - 2 * frame) + frame
    clip = torch.zeros(500, dtype=torch.long)
    before, here, after = (lib.at(clip, times + shift) for shift in (-frame, 0.0, frame))
    for poses, velocities in (("joint_pos", "joint_vel"), ("root_pos", "root_lin_vel")):
        found = getattr(here, velocities)
        error = (getattr(after, poses) - getattr(before, poses)) / (2 * frame) - found
        assert error.square().mean().sqrt() < 0.05 * found.square().mean().sqrt()


def test_clips_are_drawn_by_weight() -> None:
    short = walk().cut(0, 40)
    lib = library(walk(), short, short, weights=[1.0, 3.0, 0.0])
    clip_ids, times = lib.sample(4000, torch.Generator().manual_seed(0))
    share = torch.bincount(clip_ids, minlength=3) / 4000
    torch.testing.assert_close(share, torch.tensor([0.25, 0.75, 0.0]), atol=0.03, rtol=0)
    assert bool((times <= lib.durations[clip_ids]).all()) and bool((times >= 0).all())


def test_pairs_are_one_control_step_apart_and_repeat_with_the_generator() -> None:
    lib = library()
    pairs, again = (lib.sample_pairs(200, torch.Generator().manual_seed(3)) for _ in range(2))
    assert pairs.shape == (200, 2, lib.pose_size) and pairs.dtype == torch.float32
    torch.testing.assert_close(pairs, again, rtol=0, atol=0)
    speed = (pairs[:, 1, :2] - pairs[:, 0, :2]).norm(dim=1) / DT
    assert float(speed.mean()) == pytest.approx(1.54, abs=0.1)


def test_the_mirrored_library_holds_both_sides_equally() -> None:
    cfg = MotionCfg(clips={"walk": MotionClipCfg("humanoid_walk", 2.0), "off": None}, mirrored=True, key_bodies=KEY)
    lib = MotionLibrary.open(cfg, HUMANOID, DT, CPU)
    assert lib is not None and len(lib.clips) == 2
    assert lib.weights.tolist() == [0.5, 0.5]
    torch.testing.assert_close(
        lib.at(torch.tensor([0]), torch.tensor([0.7])).root_pos * torch.tensor([1.0, -1.0, 1.0]),
        lib.at(torch.tensor([1]), torch.tensor([0.7])).root_pos,
    )


def test_a_task_without_clips_has_no_library() -> None:
    assert MotionLibrary.open(MotionCfg(), HUMANOID, DT, CPU) is None


def test_unusable_libraries_are_refused() -> None:
    with raises_naming(ConfigError, "humanoid_walk", "0.0333"):
        library(walk().cut(0, 2))
    with raises_naming(ConfigError, "weights"):
        library(walk(), weights=[0.0])
    with raises_naming(ConfigError, "humanoid_walk", "go2"):
        MotionLibrary.open(MotionCfg(clips={"w": MotionClipCfg("humanoid_walk")}), load("go2"), DT, CPU)


def test_style_features_do_not_change_with_place_and_heading() -> None:
    lib = library()
    pairs = lib.sample_pairs(2000, torch.Generator().manual_seed(0)).double()
    before = style_features(pairs[:, 0], pairs[:, 1], DT, 28)
    assert before.shape == (2000, style_size(28, 4)) and bool(before.isfinite().all())
    heading = torch.rand(2000, dtype=torch.float64) * 2 * math.pi
    zero = torch.zeros_like(heading)
    turn, shift = from_euler(zero, zero, heading), torch.randn(2000, 3).double() * torch.tensor([9.0, 9.0, 0.0])

    def moved(pose: torch.Tensor) -> torch.Tensor:
        return torch.cat((rotate(turn, pose[:, :3]) + shift, multiply(turn, pose[:, 3:7]), pose[:, 7:]), dim=1)

    after = style_features(moved(pairs[:, 0]), moved(pairs[:, 1]), DT, 28)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    near = style_features(moved(pairs[:, 0]).float(), moved(pairs[:, 1]).float(), DT, 28)
    torch.testing.assert_close(near.double(), before, atol=2e-4, rtol=0)  # float32 positions at 30 m, over 0.03 s


@pytest.mark.parametrize("column", [2, 4, 5, 10, 40])
def test_style_features_change_with_height_tilt_joints_and_key_bodies(column: int) -> None:
    pairs = library().sample_pairs(10, torch.Generator().manual_seed(0))
    changed = pairs[:, 1].clone()
    changed[:, column] += 0.05
    changed[:, 3:7] /= changed[:, 3:7].norm(dim=1, keepdim=True)
    change = style_features(pairs[:, 0], changed, DT, 28) - style_features(pairs[:, 0], pairs[:, 1], DT, 28)
    assert bool((change.abs().max(dim=1).values > 1e-3).all())


@pytest.mark.parametrize("task", ["humanoid_amp", "go2_amp"])
def test_a_robot_in_the_poses_of_a_clip_has_the_features_of_the_clip(task: str) -> None:
    env = make_env(task, 32)
    lib, ids = env.motion, torch.arange(32)
    assert lib is not None
    clip_ids, times = lib.sample(32, torch.Generator().manual_seed(1), margin=env.step_dt)
    seen = []
    for moment in (times, times + env.step_dt):
        frames = lib.at(clip_ids, moment)
        pose = torch.cat((frames.root_pos, frames.root_quat), dim=1)
        env.world.reset(ids, pose, torch.zeros(32, 6), frames.joint_pos, torch.zeros_like(frames.joint_pos))
        env.state.update(ids, env._read(ids))
        seen.append(env.observations.compute({})["motion"])
    robot = style_features(*seen, env.step_dt, lib.num_joints)
    clip = style_features(
        lib.pose_at(clip_ids, times), lib.pose_at(clip_ids, times + env.step_dt), env.step_dt, lib.num_joints
    )
    torch.testing.assert_close(robot, clip, atol=1e-4, rtol=1e-5)


def test_the_mirror_image_of_the_group_motion_is_a_pose_of_the_mirrored_robot() -> None:
    env = make_env("humanoid_amp", 8)
    lib, mirror = env.motion, env.robot.mirror
    assert lib is not None and env.symmetry is not None and mirror is not None
    both = library(walk(), walk().mirrored(mirror))
    times = torch.rand(8, dtype=torch.float64) * 2
    here, there = (both.pose_at(torch.full((8,), k), times) for k in (0, 1))
    torch.testing.assert_close(env.symmetry.mirror_obs({"motion": here})["motion"], there, atol=1e-5, rtol=0)


def test_two_clips_of_different_rates_are_read_at_the_same_times() -> None:
    clip = walk()
    half = replace(
        clip, fps=15.0, root_pos=clip.root_pos[::2], root_quat=clip.root_quat[::2], joint_pos=clip.joint_pos[::2]
    )
    lib = library(clip, half)
    times = torch.arange(0, 2.4, 2 / 30, dtype=torch.float64)
    one, other = (lib.at(torch.full((len(times),), k), times) for k in (0, 1))
    torch.testing.assert_close(one.joint_pos, other.joint_pos, atol=1e-5, rtol=0)
