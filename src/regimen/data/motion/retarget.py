"""A motion clip of one robot as a motion of another: limbs point the same way, feet on the floor do not slide.

The directions of the limbs are those of the source, their lengths those of the target, so no scale has to be chosen
(as in Gleicher 1998, "Retargetting Motion to New Characters", with directions for the constraints). The joints follow
frame by frame by damped least squares within their ranges (Levenberg-Marquardt; Buss 2004, "Introduction to Inverse
Kinematics"). The base has the orientation of the source; its path is the one on which the lowest point of the soles
stands still on the floor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from regimen.data.motion.model_poses import ModelPoses
from regimen.envs.motion.clip import MotionClip
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regimen.envs.robots.robot import Robot

Point = tuple[str, tuple[float, float, float]]
"""A body and a point in its frame, m."""


def _both(points: Mapping[str, Point]) -> dict[str, Point]:
    """Return the points of the left side, whose bodies are named `left_…`, and of the right side."""
    found: dict[str, Point] = {}
    for name, (body, point) in points.items():
        found[f"left_{name}"] = (f"left_{body}", point)
        found[f"right_{name}"] = (f"right_{body}", point)
    return found


ORIGIN = (0.0, 0.0, 0.0)
LANDMARKS: dict[str, dict[str, Point]] = {
    "humanoid": _both(
        {
            "hip": ("thigh", ORIGIN),
            "knee": ("shin", ORIGIN),
            "ankle": ("foot", ORIGIN),
            "toe": ("foot", (0.1335, 0.0, 0.0)),
            "shoulder": ("upper_arm", ORIGIN),
            "elbow": ("lower_arm", ORIGIN),
            "hand": ("hand", ORIGIN),
        }
    ),
    "h1": _both(
        {
            "hip": ("hip_pitch_link", ORIGIN),
            "knee": ("knee_link", ORIGIN),
            "ankle": ("ankle_link", ORIGIN),
            "toe": ("ankle_link", (0.14, 0.0, 0.0)),
            "shoulder": ("shoulder_roll_link", ORIGIN),
            "elbow": ("elbow_link", ORIGIN),
            "hand": ("elbow_link", (0.28, 0.0, -0.015)),
        }
    ),
}
"""Robot -> landmark -> where it is."""

SOLES: dict[str, list[Point]] = {
    "h1": [
        (f"{side}_ankle_link", (x, y, z))
        for side in ("left", "right")
        for x, y, z in ((-0.035, 0.0, -0.07), (0.14, 0.03, -0.07), (0.14, -0.03, -0.07))
    ]
}
"""Robot -> points of the soles that may stand on the floor."""

SEGMENTS = [
    *((f"{side}_{a}", f"{side}_{b}", weight) for side in ("left", "right") for a, b, weight in (
        ("hip", "knee", 1.0), ("knee", "ankle", 1.0), ("ankle", "toe", 1.0), ("shoulder", "elbow", 0.5),
        ("elbow", "hand", 0.5),
    )),
    ("left_shoulder", "right_shoulder", 0.5),
]  # fmt: skip
"""Segments whose directions are kept, with the weights of their errors."""

CHAINS = (("hip", "knee", "ankle", "toe"), ("shoulder", "elbow", "hand"))
DAMPING = 1e-3
SMOOTHNESS = 0.02
"""m/rad, weight of the change of a joint from frame to frame against the error of a segment."""

ITERATIONS = 60
FLIGHT, AROUND_S = 0.06, 0.5
"""m, height of the lowest sole of the source above the lowest one in so many s around, from which no foot stands."""

SMOOTHING = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
"""Weights of neighbouring frames in the path of the base: the foot that stands changes from one frame to the next."""

AT_LIMIT = 0.01
"""rad from the end of its range at which a joint is at its limit."""


@dataclass
class Retargeted:
    """A clip of another robot, and how well it follows the source.

    Attributes:
        clip: of the target.
        errors_cm: landmark -> mean and largest distance in cm from where the directions of the source put it, from the
            target's own hip or shoulder on; mean of both sides, larger of both.
        sliding: m/s, mean speed of the lowest foot.
        soles_cm: lowest and highest height of the lowest sole.
        at_limits: joint -> share of the frames in which it is at the end of its range; those that ever are.
    """

    clip: MotionClip
    errors_cm: dict[str, tuple[float, float]]
    sliding: float
    soles_cm: tuple[float, float]
    at_limits: dict[str, float]

    def rows(self) -> list[tuple[str, str]]:
        """Return name and text of the figures that decide whether the motion is of use."""
        errors = ", ".join(f"{name} {mean:.1f} ({most:.1f})" for name, (mean, most) in self.errors_cm.items())
        limits = ", ".join(f"{name} {share:.0%}" for name, share in self.at_limits.items())
        return [
            ("error, cm", f"{errors}: mean (largest)"),
            ("sliding", f"{self.sliding:.2f} m/s, the foot that is lowest"),
            ("at limits", f"{limits} of the frames" if limits else "none"),
        ]


def retarget(clip: MotionClip, source: Robot, target: Robot) -> Retargeted:
    """Return the motion of a clip for another robot.

    Args:
        clip: of `source`, joints in its order, soles on the floor.
        source: its robot.
        target: the other one.

    Raises:
        ConfigError: a robot without landmarks, or a motion in which both feet leave the floor.
    """
    for robot, known in ((source, LANDMARKS), (target, SOLES)):
        if robot.name not in known:
            others = ", ".join(known)
            raise ConfigError(f"--retarget: no landmarks are known of the robot `{robot.name}`; of {others} they are.")
    own, other = ModelPoses(source), ModelPoses(target)
    flying = _flying(own.sole_height(clip), round(AROUND_S * clip.fps))
    if flying.any():
        raise ConfigError(
            f"The clip {clip.name} has {int(flying.sum())} of {clip.frames} frames in which neither foot stands, first "
            f"frame {int(flying.argmax())}; the path of the base follows from feet that stand. Choose a walk."
        )
    wanted = _directions(clip, own, LANDMARKS[source.name])
    joint_pos = _solve(clip.root_quat, wanted, other, LANDMARKS[target.name])
    line = f"retargeted from the robot {source.name} to {target.name}"
    made = replace(
        clip, name=f"{target.name}_{clip.name.removeprefix(f'{source.name}_')}", robot=target.name,
        joints=list(target.joints), joint_pos=joint_pos, root_pos=np.zeros_like(clip.root_pos), cyclic=False,
        repairs=[*clip.repairs, line],
    )  # fmt: skip
    made = replace(made, root_pos=_path(made, other, SOLES[target.name]))
    soles = other.sole_height(made)
    low, high = other.joint_range.T
    ends = ((joint_pos < low + AT_LIMIT) | (joint_pos > high - AT_LIMIT)).mean(axis=0)
    return Retargeted(
        clip=made,
        errors_cm=_errors(made, wanted, other, LANDMARKS[target.name]),
        sliding=other.sliding(made),
        soles_cm=(100 * float(soles.min()), 100 * float(soles.max())),
        at_limits={name: float(part) for name, part in zip(target.joints, ends, strict=True) if part > 0},
    )


def _flying(heights: np.ndarray, around: int) -> np.ndarray:
    """Return where (F,) bool the lowest sole, at `heights` (F,) m, is far above the lowest of `around` frames."""
    lowest = np.array([heights[max(0, i - around) : i + around + 1].min() for i in range(len(heights))])
    flying: np.ndarray = heights > lowest + FLIGHT
    return flying


def _points(clip: MotionClip, poses: ModelPoses, points: Mapping[str, Point]) -> dict[str, np.ndarray]:
    """Return name -> (F, 3) m of points of a robot, world frame."""
    ids = {name: poses.model.body(body).id for name, (body, _) in points.items()}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in points}
    for data in poses.set_to(clip):
        for name, (_, point) in points.items():
            rows[name].append(data.xpos[ids[name]] + data.xmat[ids[name]].reshape(3, 3) @ np.array(point))
    return {name: np.stack(positions) for name, positions in rows.items()}


def _directions(clip: MotionClip, poses: ModelPoses, landmarks: Mapping[str, Point]) -> np.ndarray:
    """Return the unit vectors (F, S, 3) of the segments, world frame."""
    at = _points(clip, poses, landmarks)
    vectors = np.stack([at[b] - at[a] for a, b, _ in SEGMENTS], axis=1)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    return unit


def _solve(root_quat: np.ndarray, wanted: np.ndarray, poses: ModelPoses, landmarks: Mapping[str, Point]) -> np.ndarray:
    """Return joints (F, J) rad with which the segments point as `wanted` (F, S, 3) with the base at `root_quat`."""
    import mujoco

    model, data = poses.model, mujoco.MjData(poses.model)
    joints, (low, high) = len(poses.robot.joints), poses.joint_range.T
    names = list(landmarks)
    bodies = [model.body(landmarks[name][0]).id for name in names]
    first, second = [names.index(a) for a, *_ in SEGMENTS], [names.index(b) for _, b, _ in SEGMENTS]
    weights = np.array([weight for *_, weight in SEGMENTS])[:, None]
    jacobian = np.zeros((len(names), 3, model.nv))

    def segments(joint_pos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors (S, 3) of the segments and their derivatives (S, 3, J)."""
        data.qpos[7:] = joint_pos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        at = np.empty((len(names), 3))
        for k, (name, body) in enumerate(zip(names, bodies, strict=True)):
            at[k] = data.xpos[body] + data.xmat[body].reshape(3, 3) @ np.array(landmarks[name][1])
            mujoco.mj_jac(model, data, jacobian[k], None, at[k], body)
        return at[second] - at[first], (jacobian[second] - jacobian[first])[:, :, -joints:]

    solved, before = [], np.array(poses.robot.default_joint_pos)
    for frame, quat in enumerate(root_quat):
        data.qpos[:3], data.qpos[3:7] = 0.0, quat
        joint_pos = before.copy()
        smooth = SMOOTHNESS if frame else 0.1 * SMOOTHNESS  # nothing is before the first frame but the default pose
        for _ in range(ITERATIONS if frame else 10 * ITERATIONS):
            vectors, derivative = segments(joint_pos)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            gap = (weights * (lengths * wanted[frame] - vectors)).ravel()
            slope = (weights[..., None] * derivative).reshape(len(gap), joints)
            rate = slope.T @ slope + (smooth**2 + DAMPING**2) * np.eye(joints)
            step = np.linalg.solve(rate, slope.T @ gap + smooth**2 * (before - joint_pos))
            moved = np.clip(joint_pos + step, low, high) - joint_pos
            joint_pos += moved
            if np.abs(moved).max() < 1e-5:
                break
        solved.append(joint_pos)
        before = joint_pos
    return np.stack(solved)


def _path(clip: MotionClip, poses: ModelPoses, soles: list[Point]) -> np.ndarray:
    """Return the positions (F, 3) m of the base on which the lowest point of the soles stands still on the floor.

    Args:
        clip: with the base at the origin.
        poses: of its robot.
        soles: points that may stand.
    """
    at = np.stack(list(_points(clip, poses, {str(k): point for k, point in enumerate(soles)}).values()), axis=1)
    low = (at[:-1, :, 2] + at[1:, :, 2]).argmin(axis=1)
    moved = np.diff(at[..., :2], axis=0)[np.arange(clip.frames - 1), low]
    speed = np.concatenate((np.zeros((1, 2)), -moved))
    speed[1:] = _smoothed(speed[1:])
    return np.column_stack((np.cumsum(speed, axis=0), _smoothed(-poses.sole_height(clip)[:, None])))


def _smoothed(rows: np.ndarray) -> np.ndarray:
    """Return the weighted mean of neighbouring rows (F, d)."""
    margin = len(SMOOTHING) // 2
    padded = np.pad(rows, ((margin, margin), (0, 0)), mode="edge")
    columns = [np.convolve(column, SMOOTHING, "valid") for column in padded.T]
    return np.stack(columns, axis=1)


def _errors(
    clip: MotionClip, wanted: np.ndarray, poses: ModelPoses, landmarks: Mapping[str, Point]
) -> dict[str, tuple[float, float]]:
    """Return landmark -> mean and largest distance in cm from where the wanted directions (F, S, 3) put it."""
    at, place = _points(clip, poses, landmarks), {segment[:2]: i for i, segment in enumerate(SEGMENTS)}
    gaps: dict[str, list[np.ndarray]] = {}
    for side in ("left", "right"):
        for chain in CHAINS:
            expected = at[f"{side}_{chain[0]}"].copy()
            for a, b in pairwise(chain):
                pair = (f"{side}_{a}", f"{side}_{b}")
                length = np.linalg.norm(at[pair[1]] - at[pair[0]], axis=1, keepdims=True)
                expected = expected + length * wanted[:, place[pair]]
                gaps.setdefault(b, []).append(100 * np.linalg.norm(at[pair[1]] - expected, axis=1))
    return {name: (float(np.mean(rows)), float(np.max(rows))) for name, rows in gaps.items()}
