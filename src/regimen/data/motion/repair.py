"""Repairs of motion files, and the checks after them: `import_clip` makes a usable clip, or refuses the file.

What is repaired was found in the clips that Isaac Lab 3.0 and IsaacGymEnvs distribute: each frame is there twice, the
angles of joints with three axes are rotation vectors (exponential maps) and no hinge angles, and the soles are 5 to
8 cm under the floor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.data.motion.model_poses import ModelPoses
from regimen.data.motion.motion_file import MotionFile, read_motion
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.motion.clip import MotionClip
    from regimen.envs.robots.robot import Robot

FK_TOLERANCE = 1e-3
"""m, largest distance of a body in the file from the same body of the robot at the clip's angles."""

VELOCITY_TOLERANCE = 0.05
"""Largest error of the file's joint velocities against differences, as a share of their rms."""

SOLE_PERCENTILE = 10
SOLE_TOLERANCE = (-0.015, 0.02)
"""m, heights of the soles (their 10th percentile over time) that are left as they are."""

LIMIT_TOLERANCE = 0.3
"""rad beyond a joint's range at which angles are taken for those of another convention."""

FASTEST_JOINT, FASTEST_ROOT = 60.0, 15.0
"""rad/s and m/s beyond which a motion has jumps."""

TILT_TOLERANCE = 1.0
"""rad, mean tilt of the base beyond which quaternions are taken for those of another order, if that is upright."""

SLIDING_TOLERANCE = 0.3
"""m/s, mean speed of the lowest foot beyond which it is looked whether another order makes it at most half."""


@dataclass
class ImportedClip:
    """A usable clip, and what was measured on the way.

    Attributes:
        clip: in the robot's joint order, with the repairs made.
        format: of the file.
        fk_error: m, largest distance of the file's bodies from the robot's; None where the file has no bodies.
        velocity_error: error of the file's joint velocities as a share of their rms, after the repair of the frames;
            None where it has none. Velocities of a clip are always differences of its poses.
    """

    clip: MotionClip
    format: str
    fk_error: float | None
    velocity_error: float | None


def import_clip(path: Path, robot: Robot, quat_order: str | None = None) -> ImportedClip:
    """Read a motion file, repair it, and check it.

    Args:
        path: the file.
        robot: whose motion it is.
        quat_order: `wxyz` or `xyzw`, instead of what the file states or its format uses.

    Returns:
        The clip; `clip.repairs` has one sentence for each repair.

    Raises:
        ConfigError: with one line for each reason to refuse the file, and how to repair it.
    """
    file, poses = read_motion(path, robot, quat_order), ModelPoses(robot)
    _require(path, file.clip.problems(robot))
    file = _without_doubled_frames(file)
    _require(path, file.clip.problems(robot))
    velocity_error = _velocity_error(file)
    if velocity_error is not None and velocity_error > VELOCITY_TOLERANCE:
        line = (
            f"joint velocities of the file are off by {velocity_error:.0%} of their rms: differences are used instead"
        )
        file.clip.repairs = [*file.clip.repairs, line]
    file = replace(file, clip=file.clip.ordered(robot))
    clip, fk_error = _with_hinge_angles(file, poses, path)
    _require(path, _order_problems(replace(file, clip=clip), poses) + _motion_problems(clip, poses))
    clip = _on_the_floor(clip, poses)
    return ImportedClip(clip, file.format, fk_error, velocity_error)


def require_sound(clip: MotionClip, robot: Robot) -> None:
    """Raise unless a clip that was recorded here passes the checks of an imported one.

    Raises:
        ConfigError: with one line for each reason to refuse it.
    """
    _require(Path(clip.name), clip.problems(robot) or _motion_problems(clip, ModelPoses(robot)))


def _require(path: Path, problems: list[str]) -> None:
    if problems:
        raise ConfigError(f"The motion clip {path} cannot be used:\n  " + "\n  ".join(problems))


def _without_doubled_frames(file: MotionFile) -> MotionFile:
    """Keep one frame of each pair, where every frame is there twice in a row."""
    clip = file.clip
    same = np.abs(np.diff(clip.joint_pos, axis=0)).max(axis=1, initial=0) < 1e-6
    same &= np.abs(np.diff(clip.root_pos, axis=0)).max(axis=1) < 1e-6
    if clip.frames < 4 or not same[::2].all() or same[1::2].all():
        return file
    kept = slice(None, None, 2)
    line = f"every frame was there twice: {clip.frames} frames at {clip.fps:g} Hz became"
    clip = replace(
        clip, fps=clip.fps / 2, root_pos=clip.root_pos[kept], root_quat=clip.root_quat[kept],
        joint_pos=clip.joint_pos[kept],
    )  # fmt: skip
    clip.repairs = [*clip.repairs, f"{line} {clip.frames} at {clip.fps:g} Hz"]
    bodies = None if file.body_pos is None else file.body_pos[kept]
    return replace(file, clip=clip, body_pos=bodies, joint_vel=None if file.joint_vel is None else file.joint_vel[kept])


def _velocity_error(file: MotionFile) -> float | None:
    """Return the rms error of the file's joint velocities against differences, as a share of their rms."""
    if file.joint_vel is None:
        return None
    wanted = file.clip.joint_vel
    return float(np.sqrt(np.mean((file.joint_vel - wanted) ** 2) / max(np.mean(wanted**2), 1e-12)))


def _fk_error(clip: MotionClip, file: MotionFile, poses: ModelPoses) -> tuple[float, str]:
    """Return the largest distance in m between the bodies of file and robot, and the name of that body."""
    assert file.body_pos is not None
    names = [name for name in file.bodies if name in poses.bodies]
    ours = poses.body_positions(clip)[:, [poses.bodies.index(n) for n in names]]
    theirs = file.body_pos[:, [file.bodies.index(n) for n in names]]
    errors = np.linalg.norm(ours - theirs, axis=2).max(axis=0)
    worst = int(errors.argmax())
    return float(errors[worst]), names[worst]


def _with_hinge_angles(file: MotionFile, poses: ModelPoses, path: Path) -> tuple[MotionClip, float | None]:
    """Return the clip in hinge angles, and the distance of its bodies from those of the file.

    Raises:
        ConfigError: the robot's bodies are not where the file has them, in any reading of the angles.
    """
    clip = file.clip
    if file.body_pos is None:
        return clip, None
    error, body = _fk_error(clip, file, poses)
    if error <= FK_TOLERANCE:
        return clip, error
    turned = replace(clip, root_quat=clip.root_quat[:, [3, 0, 1, 2]])
    back = replace(clip, root_quat=clip.root_quat[:, [1, 2, 3, 0]])
    for rotation_vectors in (True, False):
        for quat, order in ((clip, None), (turned, "xyzw"), (back, "wxyz")):
            trial = hinge_angles(quat, poses.robot) if rotation_vectors else quat
            reached, _ = _fk_error(trial, file, poses)
            if reached > FK_TOLERANCE:
                continue
            if order is not None:
                raise ConfigError(
                    f"The motion clip {path} cannot be used:\n  the quaternions are in the order {order}: only so are "
                    f"the bodies where the file has them ({reached * 1e3:.2g} mm, else {error * 1e3:.0f} mm). Add "
                    f"--quat-order {order}"
                )
            line = (
                "joints of three axes were rotation vectors (exponential maps) and became hinges x, y, z: bodies off "
                f"{error * 1e3:.0f} mm before, {reached * 1e3:.2g} mm now"
            )
            trial.repairs = [*trial.repairs, line]
            return trial, reached
    raise ConfigError(
        f"The motion clip {path} cannot be used:\n  at its joint angles the body `{body}` of the robot "
        f"`{poses.robot.name}` is {error * 1e3:.0f} mm from where the file has it, as hinge angles and as rotation "
        "vectors: a robot of other lengths, or other zero angles. Name the robot of the clip with --robot"
    )


def joint_triples(robot: Robot) -> list[list[int]]:
    """Return the columns of joints that form one of three axes: names that end in `_x`, `_y`, `_z`."""
    stems = dict.fromkeys(name[:-2] for name in robot.joints if name.endswith("_x"))
    wanted = [[f"{stem}_{axis}" for axis in "xyz"] for stem in stems]
    return [[robot.joints.index(n) for n in names] for names in wanted if set(names) <= set(robot.joints)]


def hinge_angles(clip: MotionClip, robot: Robot) -> MotionClip:
    """Return a clip whose rotation vectors became angles of hinges about x, then y, then z (intrinsic)."""
    from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

    joint_pos = clip.joint_pos.copy()
    for columns in joint_triples(robot):
        turns = Rotation.from_rotvec(joint_pos[:, columns])
        joint_pos[:, columns] = np.unwrap(turns.as_euler("XYZ"), axis=0)
    return replace(clip, joint_pos=joint_pos)


def _tilt(quat: np.ndarray) -> float:
    """Return the mean angle in rad between the z axis of the base and the vertical; quaternions (F, 4) w x y z."""
    return float(np.arccos(np.clip(1 - 2 * (quat[:, 1] ** 2 + quat[:, 2] ** 2), -1, 1)).mean())


def _order_problems(file: MotionFile, poses: ModelPoses) -> list[str]:
    """Return a line if another order of the quaternions is more plausible; nothing where bodies or the user settle it.

    Plausible are a base that is upright, and feet that do not slide while they are on the ground.
    """
    if file.stated_order or file.body_pos is not None:
        return []
    clip = file.clip
    others = {
        "xyzw": replace(clip, root_quat=clip.root_quat[:, [3, 0, 1, 2]]),
        "wxyz": replace(clip, root_quat=clip.root_quat[:, [1, 2, 3, 0]]),
    }
    tilt, sliding = _tilt(clip.root_quat), poses.sliding(clip)
    tilts = {order: _tilt(other.root_quat) for order, other in others.items()}
    order = min(tilts, key=tilts.__getitem__)
    if tilt > TILT_TOLERANCE > 2 * tilts[order]:
        here, there = np.degrees((tilt, tilts[order]))
        return [_other_order(f"the base is tilted by {here:.0f}° in the mean, else by {there:.0f}°", order)]
    speeds = {order: poses.sliding(other) for order, other in others.items()}
    order = min(speeds, key=speeds.__getitem__)
    if sliding > SLIDING_TOLERANCE and 2 * speeds[order] < sliding:
        what = f"the feet on the ground slide at {sliding:.2f} m/s, else at {speeds[order]:.2f} m/s"
        return [_other_order(what, order)]
    return []


def _other_order(what: str, order: str) -> str:
    return f"wrong quaternion order: {what}. They seem to be {order}: add --quat-order {order}"


def _motion_problems(clip: MotionClip, poses: ModelPoses) -> list[str]:
    """Return a line for jumps, and for angles far beyond the joints' ranges."""
    lines = []
    speed = np.abs(np.diff(clip.joint_pos, axis=0)) * clip.fps
    if speed.max() > FASTEST_JOINT:
        frame, column = divmod(int(speed.argmax()), speed.shape[1])
        lines.append(
            f"joint {clip.joints[column]} jumps at {speed.max():.0f} rad/s after frame {frame}: unwrap the angles, "
            "or cut the clip there"
        )
    moved = np.linalg.norm(np.diff(clip.root_pos, axis=0), axis=1) * clip.fps
    if moved.max() > FASTEST_ROOT:
        lines.append(f"the base jumps at {moved.max():.0f} m/s after frame {moved.argmax()}: cut the clip there")
    beyond = beyond_limits(clip, poses.joint_range)
    if beyond.max() > LIMIT_TOLERANCE:
        joint = int(beyond.argmax())
        lines.append(
            f"joint {clip.joints[joint]} is {beyond.max():.2f} rad beyond its range: other zero angles or signs than "
            f"the robot `{poses.robot.name}`, or another robot (--robot)"
        )
    return lines


def beyond_limits(clip: MotionClip, joint_range: np.ndarray) -> np.ndarray:
    """Return by how much (J,) rad each joint exceeds its range (J, 2), 0 within."""
    low, high = joint_range.T
    return np.maximum(np.maximum(low - clip.joint_pos, clip.joint_pos - high), 0.0).max(axis=0)


def _on_the_floor(clip: MotionClip, poses: ModelPoses) -> MotionClip:
    """Lift or lower the clip so that the soles reach the floor."""
    height = float(np.percentile(poses.sole_height(clip), SOLE_PERCENTILE))
    low, high = SOLE_TOLERANCE
    if low <= height <= high:
        return clip
    where = "under" if height < 0 else "above"
    clip = replace(clip, root_pos=clip.root_pos - (0.0, 0.0, height))
    moved = "lifted" if height < 0 else "lowered"
    clip.repairs = [*clip.repairs, f"the soles were {abs(height) * 100:.1f} cm {where} the floor: {moved} by as much"]
    return clip
