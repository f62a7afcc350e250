"""Motion files as they are: Regimen's own `.npz`, Isaac Lab's `.npz`, and the JSON of motion-imitation.

Nothing is repaired here, and no file is read by code that could run something: arrays without pickle, and JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regimen.envs.motion.clip import MotionClip, from_arrays, is_own, number, reorder_needed
from regimen.envs.motion.npz import LARGEST_BYTES, read_arrays
from regimen.envs.robots.robot import Robot
from regimen.system.errors import ConfigError, did_you_mean

ISAAC_LAB = ("fps", "dof_names", "body_names", "dof_positions", "body_positions", "body_rotations")
"""Arrays of a file of Isaac Lab's `humanoid_amp`, 2.x and 3.x, that are read."""

DOG_LEGS = ("FR", "FL", "RR", "RL")
"""Order of the legs in a file of motion-imitation; each has hip, thigh and calf."""


@dataclass
class MotionFile:
    """A clip as its file has it.

    Attributes:
        clip: joints as they are named in the file; in the angles the file uses.
        format: name of the format.
        bodies: names of the B bodies of `body_pos`; empty where the file has none.
        body_pos: (F, B, 3) m, world frame, or None.
        joint_vel: (F, J) rad/s as the file has them, or None.
        stated_order: whether the order of the quaternions is stated, by the file or by the user.
    """

    clip: MotionClip
    format: str
    bodies: list[str]
    body_pos: np.ndarray | None = None
    joint_vel: np.ndarray | None = None
    stated_order: bool = True


def read_motion(path: Path, robot: Robot | None = None, quat_order: str | None = None) -> MotionFile:
    """Read a motion file; its format is found by its content.

    Args:
        path: a `.npz`, or a JSON text.
        robot: whose base and joints are meant; required for Isaac Lab's files and JSON.
        quat_order: `wxyz` or `xyzw`, instead of what the file states or its format uses.

    Raises:
        ConfigError: no such file, damaged, of an unknown format, or incomplete; with what to do.
    """
    if not path.is_file():
        raise ConfigError(f"There is no motion file {path}.")
    with path.open("rb") as file:
        beginning = file.read(2)
    if beginning != b"PK":
        return _motion_imitation(path, _needed(robot, path), quat_order)
    arrays = read_arrays(path)
    if is_own(arrays):
        return MotionFile(from_arrays(arrays, path, quat_order), "Regimen", [], stated_order=quat_order is not None)
    if "dof_positions" in arrays:
        return _isaac_lab(arrays, path, _needed(robot, path), quat_order)
    raise ConfigError(
        f"{path} has the arrays {', '.join(sorted(arrays)) or 'none'}; expected those of Regimen (docs/motion.md) or of "
        f"Isaac Lab: {', '.join(ISAAC_LAB)}."
    )


def _needed(robot: Robot | None, path: Path) -> Robot:
    if robot is None:
        raise ConfigError(f"{path} does not state its robot; name it: --robot humanoid")
    return robot


def _isaac_lab(arrays: dict[str, np.ndarray], path: Path, robot: Robot, quat_order: str | None) -> MotionFile:
    missing = [name for name in ISAAC_LAB if name not in arrays]
    if missing:
        raise ConfigError(f"{path} has no array {', '.join(missing)}, which Isaac Lab's motion files have.")
    bodies = [str(name) for name in arrays["body_names"].ravel()]
    if robot.base_body not in bodies:
        raise ConfigError(
            f"{path} has no body `{robot.base_body}`, the base of the robot `{robot.name}`. "
            f"{did_you_mean(robot.base_body, bodies)}"
        )
    joints = [str(name) for name in arrays["dof_names"].ravel()]
    joint_pos, body_pos, body_quat = (arrays[n] for n in ("dof_positions", "body_positions", "body_rotations"))
    frames, shapes = len(np.atleast_1d(joint_pos)), {"dof_positions": joint_pos.shape}
    shapes |= {"body_positions": body_pos.shape, "body_rotations": body_quat.shape}
    wanted = ((frames, len(joints)), (frames, len(bodies), 3), (frames, len(bodies), 4))
    if tuple(shapes.values()) != wanted:
        raise ConfigError(f"{path}: shapes {shapes}; expected {wanted}, frames first.")
    if any(array.dtype.kind not in "fiu" for array in (joint_pos, body_pos, body_quat)):
        raise ConfigError(f"{path}: positions and rotations are no numbers.")
    root = bodies.index(robot.base_body)
    quat = body_quat[:, root]
    if reorder_needed(arrays, quat_order, path):
        quat = quat[:, [3, 0, 1, 2]]
    clip = MotionClip(
        path.stem, number(arrays["fps"], "fps", path), joints, body_pos[:, root], quat, joint_pos, robot.name
    )
    joint_vel = arrays.get("dof_velocities")
    if joint_vel is not None and (joint_vel.shape != joint_pos.shape or joint_vel.dtype.kind not in "fiu"):
        joint_vel = None
    stated = quat_order is not None or "quat_order" in arrays
    return MotionFile(clip, "Isaac Lab", bodies, body_pos.astype(np.float64), joint_vel, stated)


def _motion_imitation(path: Path, robot: Robot, quat_order: str | None) -> MotionFile:
    """Read the JSON of `motion_imitation`: x y z, quaternion x y z w, and 12 angles of a quadruped in each frame."""
    if path.stat().st_size > LARGEST_BYTES:
        raise ConfigError(f"{path} is larger than {LARGEST_BYTES} bytes.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        frames = np.array(data["Frames"], dtype=np.float64)
        frame_s = float(data["FrameDuration"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(
            f"{path} is neither an .npz nor the JSON of motion-imitation (FrameDuration, Frames): "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error
    joints = [f"{leg}_{part}_joint" for leg in DOG_LEGS for part in ("hip", "thigh", "calf")]
    if frames.ndim != 2 or frames.shape[1] != 7 + len(joints):
        raise ConfigError(f"{path}: Frames has shape {frames.shape}; expected (F, {7 + len(joints)}).")
    if not frame_s > 0:
        raise ConfigError(f"{path}: FrameDuration is {frame_s:g} s; expected more than 0: time must go forward.")
    order = quat_order or "xyzw"
    quat = frames[:, 3:7] if order == "wxyz" else frames[:, [6, 3, 4, 5]]
    clip = MotionClip(path.stem, 1.0 / frame_s, joints, frames[:, :3], quat, frames[:, 7:], robot.name)
    return MotionFile(clip, "motion-imitation", [], stated_order=quat_order is not None)
