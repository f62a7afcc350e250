"""Motion clips: their file, their mirror image, and what makes one unusable."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.messages import assert_names, raises_naming
from helpers.motions import save, walk
from regimen.config.motion_files import resolve_motion, shipped_motions
from regimen.envs.motion.clip import MotionClip, read_clip
from regimen.envs.robots.robot import load
from regimen.system.errors import ConfigError

HUMANOID = load("humanoid")


def own_arrays(**changes: Any) -> dict[str, Any]:
    clip = walk()
    arrays = {"format": "regimen_motion", "format_version": 1, "fps": clip.fps, "robot": "humanoid"}
    arrays |= {"joint_names": np.array(clip.joints), "root_pos": clip.root_pos, "root_quat": clip.root_quat}
    return arrays | {"joint_pos": clip.joint_pos} | changes


def spoilt(array: np.ndarray, row: int, value: float) -> np.ndarray:
    array = array.copy()
    array[row, 0] = value
    return array


@pytest.mark.parametrize("name", shipped_motions())
def test_every_clip_that_is_shipped_is_sound_and_states_its_terms(name: str) -> None:
    clip = read_clip(resolve_motion(name), load(name.split("_")[0]))
    assert clip.source and clip.license
    assert clip.frames > 20


def test_a_written_clip_is_read_back(tmp_path: Path) -> None:
    clip = replace(walk(), source="here", license="ours", repairs=["one", "two"], cyclic=True)
    clip.save(tmp_path / "a.npz")
    back = read_clip(tmp_path / "a.npz", HUMANOID)
    for name in ("root_pos", "root_quat", "joint_pos"):
        np.testing.assert_allclose(getattr(back, name), getattr(clip, name), atol=1e-6)
    assert (back.fps, back.joints, back.source, back.license, back.repairs, back.cyclic, back.robot) == (
        30.0, HUMANOID.joints and list(HUMANOID.joints), "here", "ours", ["one", "two"], True, "humanoid",
    )  # fmt: skip


def test_joints_are_brought_into_the_order_of_the_robot(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(len(HUMANOID.joints))
    clip = walk()
    names = np.array(clip.joints)[order]
    path = save(tmp_path / "a.npz", own_arrays(joint_names=names, joint_pos=clip.joint_pos[:, order]))
    np.testing.assert_allclose(read_clip(path, HUMANOID).joint_pos, clip.joint_pos)


def test_the_order_of_quaternions_is_that_of_the_file(tmp_path: Path) -> None:
    quat = walk().root_quat[:, [1, 2, 3, 0]]
    path = save(tmp_path / "a.npz", own_arrays(root_quat=quat, quat_order="xyzw"))
    np.testing.assert_allclose(read_clip(path, HUMANOID).root_quat, walk().root_quat)
    path = save(tmp_path / "b.npz", own_arrays(quat_order="zyxw"))
    with raises_naming(ConfigError, "zyxw", "wxyz", "xyzw"):
        read_clip(path, HUMANOID)


def bad_files() -> dict[str, tuple[dict[str, Any], tuple[str, ...]]]:
    clip = walk()
    one = {name: getattr(clip, name)[:1] for name in ("root_pos", "root_quat", "joint_pos")}
    return {
        "not a number": (own_arrays(joint_pos=spoilt(clip.joint_pos, 7, np.nan)), ("joint_pos", "frame 7")),
        "infinite": (own_arrays(root_pos=spoilt(clip.root_pos, 3, np.inf)), ("root_pos", "frame 3")),
        "one frame": (own_arrays(**one), ("1 frame",)),
        "no frame": (own_arrays(**{n: a[:0] for n, a in one.items()}), ("0 frames",)),
        "negative time": (own_arrays(fps=-30.0), ("fps", "-30")),
        "no rate": (own_arrays(fps=np.nan), ("fps", "nan")),
        "length of quaternions": (own_arrays(root_quat=clip.root_quat * 2), ("root_quat", "unit", "2")),
        "time back": (own_arrays(time=np.r_[np.arange(70), np.arange(7)] / 30), ("time", "frame 69")),
        "uneven time": (own_arrays(time=np.arange(77) ** 1.1 / 30), ("time", "fps")),
        "other joints": (
            own_arrays(joint_names=np.array(["tail", *clip.joints[1:]])), ("tail", "abdomen_x", "humanoid", "--robot"),
        ),
        "joint twice": (own_arrays(joint_names=np.array([clip.joints[1], *clip.joints[1:]])), (clip.joints[1],)),
        "fewer joints": (own_arrays(joint_pos=clip.joint_pos[:, 1:]), ("joint_pos", "(77, 27)", "(77, 28)")),
        "frames differ": (own_arrays(root_pos=clip.root_pos[1:]), ("root_pos", "(76, 3)", "(77, 3)")),
        "array missing": ({k: v for k, v in own_arrays().items() if k != "root_pos"}, ("root_pos", "docs/motion.md")),
        "texts": (own_arrays(joint_pos=clip.joint_pos.astype(str)), ("joint_pos",)),
        "later version": (own_arrays(format_version=2), ("format_version" * 0 + "version 2",)),
        "objects": (own_arrays(joint_names=np.array(clip.joints, dtype=object)), ("joint_names.npy", "objects")),
        "format of others": ({"fps": np.array(3.0)}, ("regimen motion", "--robot humanoid")),
    }  # fmt: skip


@pytest.mark.parametrize("case", bad_files())
def test_a_bad_file_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    arrays, named = bad_files()[case]
    with raises_naming(ConfigError, "a.npz", *named):
        read_clip(save(tmp_path / "a.npz", arrays), HUMANOID)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    for name, content in (("text.npz", b"hello"), ("empty.npz", b""), ("cut.npz", b"PK\x03\x04abc")):
        (tmp_path / name).write_bytes(content)
        with raises_naming(ConfigError, name, "numpy.savez"):
            read_clip(tmp_path / name, HUMANOID)
    with raises_naming(ConfigError, "missing.npz"):
        read_clip(tmp_path / "missing.npz", HUMANOID)


def test_damaged_bytes_never_lead_to_another_error_or_to_a_bad_clip(tmp_path: Path) -> None:
    save(tmp_path / "sound.npz", own_arrays())
    whole, draw, refused = (tmp_path / "sound.npz").read_bytes(), random.Random(0), 0
    path = tmp_path / "a.npz"
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 20)):
            # Half of the damage in the headers at the end and the beginning, where it does most.
            place = draw.choice(
                [draw.randrange(len(whole)), draw.randrange(400), len(whole) - 1 - draw.randrange(1500)]
            )
            damaged[place] = draw.randrange(256)
        path.write_bytes(bytes(damaged[: len(whole) if draw.random() < 0.8 else draw.randrange(len(whole))]))
        try:
            clip = read_clip(path, HUMANOID)
        except ConfigError:
            refused += 1
            continue
        assert clip.problems(HUMANOID) == []
    assert refused > 200


def test_mirrored_twice_it_is_the_clip_itself() -> None:
    clip = walk()
    assert HUMANOID.mirror is not None
    once = clip.mirrored(HUMANOID.mirror)
    twice = once.mirrored(HUMANOID.mirror)
    for name in ("root_pos", "root_quat", "joint_pos"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(clip, name))
        assert not np.allclose(getattr(once, name), getattr(clip, name))


def test_the_mirror_image_mirrors_the_bodies() -> None:
    from regimen.data.motion.model_poses import ModelPoses

    clip, poses, mirror = walk(), ModelPoses(HUMANOID), HUMANOID.mirror
    assert mirror is not None
    here, there = poses.body_positions(clip), poses.body_positions(clip.mirrored(mirror))
    order = mirror.order(poses.bodies)
    np.testing.assert_allclose(there, here[:, order] * (1, -1, 1), atol=1e-5)


def test_velocities_are_those_between_the_frames() -> None:
    t = np.arange(61) / 30
    yaw = 0.5 * t
    clip = MotionClip(
        "arc", 30.0, ["a"], np.stack((np.sin(yaw), 1 - np.cos(yaw), 0 * t), 1),
        np.stack((np.cos(yaw / 2), 0 * t, 0 * t, np.sin(yaw / 2)), 1), np.sin(t)[:, None],
    )  # fmt: skip
    np.testing.assert_allclose(clip.root_ang_vel, np.tile((0, 0, 0.5), (61, 1)), atol=1e-9)
    np.testing.assert_allclose(clip.joint_vel[1:-1, 0], np.cos(t)[1:-1], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(clip.root_lin_vel[1:-1], axis=1), 0.5, atol=1e-4)


def test_velocities_of_a_cycle_are_those_across_its_seam() -> None:
    t = np.arange(61) / 60 * 2 * np.pi
    yaw = t / 4  # a quarter turn in a cycle of 2 s
    arc = np.stack((np.sin(yaw), 1 - np.cos(yaw), 0 * t), 1)
    quat = np.stack((np.cos(yaw / 2), 0 * t, 0 * t, np.sin(yaw / 2)), 1)
    clip = MotionClip("arc", 30.0, ["a"], arc, quat, np.sin(t)[:, None], cyclic=True)
    slope = np.pi
    np.testing.assert_allclose(clip.joint_vel[[0, -1], 0], slope, rtol=0.01)
    np.testing.assert_allclose(np.linalg.norm(clip.root_lin_vel, axis=1), np.pi / 4, rtol=0.01)
    np.testing.assert_allclose(clip.root_lin_vel[0], (np.pi / 4, 0, 0), atol=0.01)
    np.testing.assert_allclose(clip.root_lin_vel[-1], (0, np.pi / 4, 0), atol=0.01)
    np.testing.assert_allclose(clip.root_ang_vel[:, 2], np.pi / 4, rtol=0.01)


def test_neighbouring_quaternions_get_the_same_sign() -> None:
    clip = walk()
    signs = np.where(np.arange(clip.frames) % 3 == 0, -1.0, 1.0)[:, None]
    flipped = replace(clip, root_quat=clip.root_quat * signs)
    assert ((flipped.root_quat[1:] * flipped.root_quat[:-1]).sum(1) > 0).all()


def test_an_unknown_clip_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with raises_naming(ConfigError, "humanoid_wolk", "humanoid_walk"):
        resolve_motion("humanoid_wolk")
    with pytest.raises(ConfigError) as caught:
        resolve_motion(str(tmp_path / "mine.npz"))
    assert_names(str(caught.value), "mine.npz")
