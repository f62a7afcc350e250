"""Motion files as they are: Regimen's own `.npz`, Isaac Lab's `.npz`, and the JSON of motion-imitation.

Nothing is repaired here, and no file is read by code that could run something: arrays without pickle, and JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from regimen.envs.motion.clip import MotionClip, from_arrays, is_own, number, reorder_needed
from regimen.envs.motion.npz import LARGEST_BYTES, read_arrays
from regimen.envs.robots.robot import Robot, available, load
from regimen.system.errors import ConfigError, did_you_mean

ISAAC_LAB = ("fps", "dof_names", "body_names", "dof_positions", "body_positions", "body_rotations")
"""Arrays of a file of Isaac Lab's `humanoid_amp`, 2.x and 3.x, that are read."""

DOG_JOINTS = tuple(f"{leg}_{part}_joint" for leg in ("FR", "FL", "RR", "RL") for part in ("hip", "thigh", "calf"))
"""Joints of a quadruped in the order of motion-imitation."""


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


def read_motion(path: Path, robot: Robot, quat_order: str | None = None) -> MotionFile:
    """Read a motion file; its format is found by its content.

    Args:
        path: a `.npz`, or a JSON text.
        robot: whose base is meant, where the file does not say.
        quat_order: `wxyz` or `xyzw`, instead of what the file states or its format uses.

    Raises:
        ConfigError: no such file, damaged, of an unknown format, or incomplete; with what to do.
    """
    if not path.is_file():
        raise ConfigError(f"There is no motion file {path}.")
    if not _is_zip(path):
        return _motion_imitation(path, robot, quat_order)
    arrays = read_arrays(path)
    if is_own(arrays):
        return MotionFile(from_arrays(arrays, path, quat_order), "Regimen", [], stated_order=quat_order is not None)
    if "dof_positions" in arrays:
        return _isaac_lab(arrays, path, robot, quat_order)
    raise ConfigError(
        f"{path} has the arrays {', '.join(sorted(arrays)) or 'none'}; expected those of Regimen (docs/motion.md) or "
        f"of Isaac Lab: {', '.join(ISAAC_LAB)}."
    )


def robot_of(path: Path) -> Robot:
    """Return the robot of a motion file: the one that it states, else the first one that has its joints.

    Raises:
        ConfigError: no such file, a damaged one, or no robot has these joints.
    """
    if not path.is_file():
        raise ConfigError(f"There is no motion file {path}.")
    joints = set(DOG_JOINTS)
    if _is_zip(path):
        arrays = read_arrays(path)
        if is_own(arrays) and str(arrays.get("robot", "")):
            return load(str(arrays["robot"]))
        joints = {str(name) for key in ("joint_names", "dof_names") for name in np.atleast_1d(arrays.get(key, ()))}
    for name in available():
        if set((robot := load(name)).joints) == joints:
            return robot
    raise ConfigError(
        f"{path}: no robot of Regimen has these joints: {', '.join(sorted(joints)[:8]) or 'none are named'}, …. Name "
        "one of yours: --robot package.module:NAME"
    )


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


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
    joints = list(DOG_JOINTS)
    if frames.ndim != 2 or frames.shape[1] != 7 + len(joints):
        raise ConfigError(f"{path}: Frames has shape {frames.shape}; expected (F, {7 + len(joints)}).")
    if not frame_s > 0:
        raise ConfigError(f"{path}: FrameDuration is {frame_s:g} s; expected more than 0: time must go forward.")
    order = quat_order or "xyzw"
    quat = frames[:, 3:7] if order == "wxyz" else frames[:, [6, 3, 4, 5]]
    clip = MotionClip(path.stem, 1.0 / frame_s, joints, frames[:, :3], quat, frames[:, 7:], robot.name)
    if not clip.problems():
        clip = _from_laikago(clip)
    return MotionFile(clip, "motion-imitation", [], stated_order=quat_order is not None)


LAIKAGO_BASE = (0.5, 0.5, 0.5, 0.5)
"""Orientation w x y z of Laikago's base, whose axes point left, up and forward, when the robot stands level."""

LAIKAGO_ANGLES = {"hip": 0.0, "thigh": 0.6, "calf": -0.66}
"""rad to add to Laikago's angles for those of Go2 and A1; the hips of its right legs turn the other way."""


def _from_laikago(clip: MotionClip) -> MotionClip:
    """Return a clip of Laikago, as motion-imitation has them, in the axes and zero angles of Go2 and A1.

    The base shows which of the two a file is of. The figures are those of the robot's own module there; of all
    combinations they give the least sliding of the feet in trot, pace and spin.
    """
    from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

    turns = Rotation.from_quat(clip.root_quat, scalar_first=True)
    level = turns * Rotation.from_quat(LAIKAGO_BASE, scalar_first=True).inv()
    if np.mean(level.as_matrix()[:, 2, 2]) < 0.8 or np.mean(turns.as_matrix()[:, 2, 2]) > 0.8:
        return clip
    signs = np.array([-1.0 if name[:2] in ("FR", "RR") and "_hip_" in name else 1.0 for name in clip.joints])
    added = np.array([LAIKAGO_ANGLES[name.split("_")[1]] for name in clip.joints])
    line = "base axes, zero angles and hip signs were those of Laikago and became those of Go2 and A1"
    quat, joint_pos = level.as_quat(scalar_first=True), clip.joint_pos * signs + added
    return replace(clip, root_quat=quat, joint_pos=joint_pos, repairs=[*clip.repairs, line])
