"""Motion clips for tests, made in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from regimen.config.motion_files import resolve_motion
from regimen.data.motion.model_poses import ModelPoses
from regimen.data.motion.repair import joint_triples
from regimen.envs.motion.clip import MotionClip, read_clip
from regimen.envs.robots.robot import load


def walk() -> MotionClip:
    """Return the humanoid's walk that comes with Regimen."""
    return read_clip(resolve_motion("humanoid_walk"), load("humanoid"))


def isaac_lab_arrays(clip: MotionClip) -> dict[str, np.ndarray]:
    """Return the arrays of a sound file of Isaac Lab with this clip: hinge angles, one copy of each frame."""
    poses = ModelPoses(load("humanoid"))
    bodies, quats = [], []
    for data in poses.set_to(clip):
        bodies.append(data.xpos[1:].copy())
        quats.append(data.xquat[1:].copy())
    return {
        "fps": np.array(round(clip.fps)),
        "dof_names": np.array(clip.joints),
        "body_names": np.array(poses.bodies),
        "dof_positions": clip.joint_pos.copy(),
        "dof_velocities": clip.joint_vel.copy(),
        "body_positions": np.stack(bodies),
        "body_rotations": np.stack(quats),
    }


def with_doubled_frames(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays as Isaac Lab distributes them: each frame twice, at twice the rate."""
    single = ("fps", "dof_names", "body_names", "quat_order")
    return {n: a if n in single else np.repeat(a, 2, axis=0) for n, a in arrays.items()} | {"fps": arrays["fps"] * 2}


def with_rotation_vectors(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays with exponential maps in place of the hinge angles of joints with three axes."""
    angles = arrays["dof_positions"].copy()
    for columns in joint_triples(load("humanoid")):
        angles[:, columns] = Rotation.from_euler("XYZ", angles[:, columns]).as_rotvec()
    return arrays | {"dof_positions": angles}


def save(path: Path, arrays: dict[str, Any]) -> Path:
    """Write a file of arrays; return its path."""
    np.savez(path, **arrays)
    return path
