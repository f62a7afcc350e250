"""Files of others: repaired where a repair is proven, refused with the reason where not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.messages import assert_names, raises_naming
from helpers.motions import isaac_lab_arrays, save, walk, with_doubled_frames, with_rotation_vectors
from regimen.data.motion.motion_file import DOG_JOINTS, LAIKAGO_BASE, robot_of
from regimen.data.motion.repair import import_clip
from regimen.envs.motion.clip import MotionClip
from regimen.envs.robots.robot import Robot, load
from regimen.system.errors import ConfigError

HUMANOID = load("humanoid")


def imported(path: Path, robot: Robot = HUMANOID, quat_order: str | None = None) -> MotionClip:
    return import_clip(path, robot, quat_order).clip


def test_a_sound_file_needs_no_repair(tmp_path: Path) -> None:
    clip = imported(save(tmp_path / "a.npz", isaac_lab_arrays(walk())))
    assert clip.repairs == []
    np.testing.assert_allclose(clip.joint_pos, walk().joint_pos, atol=1e-6)


def test_doubled_frames_rotation_vectors_and_sunk_soles_become_the_clip_that_they_were(tmp_path: Path) -> None:
    sunk = replace(walk(), root_pos=walk().root_pos - (0, 0, 0.06))
    arrays = with_doubled_frames(with_rotation_vectors(isaac_lab_arrays(sunk)))
    arrays["dof_velocities"][1::2] = 0.0  # what differences of doubled frames give
    result = import_clip(save(tmp_path / "a.npz", arrays), HUMANOID)
    clip, wanted = result.clip, walk()
    assert result.fk_error is not None and result.fk_error < 1e-4  # the bodies of the file, from the repaired angles
    assert len(clip.repairs) == 4
    assert_names(" ".join(clip.repairs), "154", "77", "6.0 cm", "hinges", "velocities")
    assert (clip.frames, clip.fps) == (wanted.frames, 30.0)
    np.testing.assert_allclose(clip.joint_pos, wanted.joint_pos, atol=1e-5)
    np.testing.assert_allclose(clip.root_pos, wanted.root_pos, atol=1e-3)


def test_velocities_that_do_not_fit_are_not_used_and_named(tmp_path: Path) -> None:
    arrays = isaac_lab_arrays(walk())
    arrays["dof_velocities"][::2] *= 1.2
    result = import_clip(save(tmp_path / "a.npz", arrays), HUMANOID)
    assert result.velocity_error is not None and result.velocity_error > 0.05
    assert_names(" ".join(result.clip.repairs), "velocities")
    np.testing.assert_allclose(result.clip.joint_vel, walk().joint_vel, atol=1e-3)


@pytest.mark.parametrize(("written", "stated"), [("xyzw", None), ("xyzw", "wxyz"), ("wxyz", "xyzw")])
def test_quaternions_in_another_order_are_found_by_the_bodies(tmp_path: Path, written: str, stated: str | None) -> None:
    arrays = isaac_lab_arrays(walk())
    if written == "xyzw":
        arrays["body_rotations"] = arrays["body_rotations"][..., [1, 2, 3, 0]]
    path = save(tmp_path / "a.npz", arrays)
    with raises_naming(ConfigError, "a.npz", "--quat-order", written):
        imported(path, quat_order=stated)
    np.testing.assert_allclose(imported(path, quat_order=written).root_quat, walk().root_quat, atol=1e-6)


def test_the_order_may_be_stated_in_the_file(tmp_path: Path) -> None:
    arrays = isaac_lab_arrays(walk()) | {"quat_order": np.array("xyzw")}
    arrays["body_rotations"] = arrays["body_rotations"][..., [1, 2, 3, 0]]
    np.testing.assert_allclose(imported(save(tmp_path / "a.npz", arrays)).root_quat, walk().root_quat, atol=1e-6)


@pytest.mark.parametrize("roll", [0.0, 1.5])
def test_without_bodies_the_order_is_found_by_tilt_and_sliding_feet(tmp_path: Path, roll: float) -> None:
    clip = walk()
    turned = Rotation.from_euler("z", roll) * Rotation.from_quat(clip.root_quat, scalar_first=True)
    arrays = {
        "format": "regimen_motion",
        "fps": 30.0,
        "joint_names": np.array(clip.joints),
        "joint_pos": clip.joint_pos,
    }
    arrays["root_pos"] = Rotation.from_euler("z", roll).apply(clip.root_pos)
    sound = turned.as_quat(scalar_first=True)
    assert imported(save(tmp_path / "a.npz", arrays | {"root_quat": sound})).repairs == []
    path = save(tmp_path / "b.npz", arrays | {"root_quat": sound[:, [1, 2, 3, 0]]})
    with raises_naming(ConfigError, "b.npz", "--quat-order xyzw"):
        imported(path)
    np.testing.assert_allclose(imported(path, quat_order="xyzw").root_quat, sound, atol=1e-9)


def broken(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (isaac_lab_arrays(walk()) | changes).items() if v is not None}


def at_frame(name: str, frame: int, value: float) -> np.ndarray:
    array = isaac_lab_arrays(walk())[name]
    array[frame] = value
    return array


def bad_files() -> dict[str, tuple[dict[str, Any], tuple[str, ...]]]:
    sound = isaac_lab_arrays(walk())
    taller = sound["body_positions"] * 1.1
    jump = sound["dof_positions"].copy()
    jump[40:, 3] += 2.5
    return {
        "not a number": (broken(dof_positions=at_frame("dof_positions", 9, np.nan)), ("joint_pos", "frame 9")),
        "negative time": (broken(fps=np.array(-30)), ("fps", "-30")),
        "one frame": ({k: v[:1] if np.ndim(v) > 1 else v for k, v in sound.items()}, ("1 frame",)),
        "non-unit quaternions": (broken(body_rotations=sound["body_rotations"] * 1.5), ("root_quat", "1.5")),
        "other joints": (broken(dof_names=np.array([f"j{i}" for i in range(28)])), ("j0", "abdomen_x", "--robot")),
        "other lengths": (broken(body_positions=taller), ("humanoid", "--robot")),
        "no base": (broken(body_names=np.array([f"b{i}" for i in range(15)])), ("pelvis", "b0")),
        "shapes": (broken(dof_positions=sound["dof_positions"][:, 1:]), ("dof_positions",)),
        "missing": (broken(body_rotations=None), ("body_rotations",)),
        "unknown": ({"positions": np.zeros((4, 3))}, ("positions", "dof_names", "docs/motion.md")),
        "jump": (broken(dof_positions=jump, body_positions=None), ("body_positions",)),
    }


@pytest.mark.parametrize("case", bad_files())
def test_a_bad_file_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    arrays, named = bad_files()[case]
    with raises_naming(ConfigError, "a.npz", *named):
        imported(save(tmp_path / "a.npz", arrays))


def test_jumps_and_angles_beyond_the_limits_are_refused(tmp_path: Path) -> None:
    clip = walk()
    for joint, added, named in ((3, 3.0, "neck_x"), (17, 2.0, "right_knee")):
        joint_pos = clip.joint_pos.copy()
        joint_pos[40 if joint == 3 else 0 :, joint] += added
        replace(clip, joint_pos=joint_pos).save(tmp_path / "a.npz")
        with raises_naming(ConfigError, named):
            imported(tmp_path / "a.npz")
    root_pos = clip.root_pos.copy()
    root_pos[30:, 0] += 3.0
    replace(clip, root_pos=root_pos).save(tmp_path / "a.npz")
    with raises_naming(ConfigError, "base", "frame 29"):
        imported(tmp_path / "a.npz")


def dog(**changes: Any) -> dict[str, Any]:
    """Return a standing Go2 as motion-imitation writes a Laikago: x y z, quaternion x y z w, twelve angles."""
    quat = Rotation.from_quat(LAIKAGO_BASE, scalar_first=True).as_quat()
    go2 = load("go2")
    default = dict(zip(go2.joints, go2.default_joint_pos, strict=True))
    angles = []
    for name in DOG_JOINTS:
        sign = -1.0 if name in ("FR_hip_joint", "RR_hip_joint") else 1.0
        angles.append(sign * (default[name] - {"hip": 0.0, "thigh": 0.6, "calf": -0.66}[name.split("_")[1]]))
    frame = [0.0, 0.0, 0.45, *quat, *angles]
    frames = [[0.01 * t, *frame[1:]] for t in range(20)]
    return {"LoopMode": "Wrap", "FrameDuration": 0.02, "Frames": frames} | changes


def test_the_json_of_motion_imitation(tmp_path: Path) -> None:
    path = tmp_path / "dog.txt"
    path.write_text(json.dumps(dog()))
    assert robot_of(path).name == "go2"
    clip = imported(path, load("go2"))
    assert clip.joints == list(load("go2").joints) and clip.fps == pytest.approx(50.0)
    np.testing.assert_allclose(clip.joint_pos[3], load("go2").default_joint_pos, atol=1e-9)
    np.testing.assert_allclose(np.abs(clip.root_quat[:, 0]), 1.0, atol=1e-9)
    assert clip.root_pos[0, 2] < 0.4  # lowered to the floor
    assert len(clip.repairs) == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"FrameDuration": -0.02}, ("FrameDuration", "-0.02")),
        ({"Frames": [[0.0] * 18] * 5}, ("Frames", "(5, 18)", "(F, 19)")),
        ({"Frames": "none"}, ("Frames",)),
        ({"Frames": [[0.0] * 19] * 5}, ("unit",)),
    ],
)
def test_bad_json_is_refused_with_the_reason(tmp_path: Path, change: dict[str, Any], named: tuple[str, ...]) -> None:
    path = tmp_path / "dog.txt"
    path.write_text(json.dumps(dog(**change)))
    with raises_naming(ConfigError, "dog.txt", *named):
        imported(path, load("go2"))


def test_what_is_no_motion_at_all_is_refused(tmp_path: Path) -> None:
    for content in (b"hello", b"\xff\xfe\x00", b"[" * 5000, b"[]"):
        (tmp_path / "a.txt").write_bytes(content)
        with raises_naming(ConfigError, "a.txt", "FrameDuration"):
            imported(tmp_path / "a.txt")


def test_the_robot_is_found_by_the_joints(tmp_path: Path) -> None:
    assert robot_of(save(tmp_path / "a.npz", isaac_lab_arrays(walk()))).name == "humanoid"
    arrays = isaac_lab_arrays(walk()) | {"dof_names": np.array(["tail"])}
    with raises_naming(ConfigError, "b.npz", "tail", "--robot"):
        robot_of(save(tmp_path / "b.npz", arrays))
