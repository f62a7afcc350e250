"""One motion clip: poses of a robot at a constant frame rate, and its file.

The file is a `.npz` of plain arrays, read without pickle:

| array | shape | |
|---|---|---|
| `format` | () | `regimen_motion` |
| `format_version` | () | 1 |
| `fps` | () | frames a second |
| `robot` | () | name of the robot |
| `joint_names` | (J,) | |
| `root_pos` | (F, 3) | m, world frame |
| `root_quat` | (F, 4) | unit quaternions in the order `quat_order` |
| `quat_order` | () | `wxyz`, or `xyzw` |
| `joint_pos` | (F, J) | rad |
| `time` | (F,) | optional, s; even steps of 1 / `fps` |
| `cyclic` | () | optional, whether the last frame is the first one further on |
| `source`, `license`, `repairs` | (), (), (R,) | optional texts: origin, terms, what was repaired |
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.envs.motion.npz import read_arrays
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.robots.robot import Mirror, Robot

FORMAT, VERSION = "regimen_motion", 1

QUAT_ORDERS = ("wxyz", "xyzw")

UNIT_TOLERANCE = 1e-3
"""Largest distance of the length of a quaternion from 1."""


@dataclass
class MotionClip:
    """Poses of one robot, frame after frame.

    Attributes:
        name: for messages.
        fps: frames a second.
        joints: joint names, J.
        root_pos: (F, 3) m, world frame.
        root_quat: (F, 4) unit quaternions w x y z; neighbours have the same sign.
        joint_pos: (F, J) rad.
        robot: name of the robot.
        source: where the motion comes from.
        license: its terms.
        repairs: what was repaired, one sentence each.
        cyclic: whether the last frame is the first one at another place and heading, so that the clip can be repeated.
    """

    name: str
    fps: float
    joints: list[str]
    root_pos: np.ndarray
    root_quat: np.ndarray
    joint_pos: np.ndarray
    robot: str = ""
    source: str = ""
    license: str = ""
    repairs: list[str] = field(default_factory=list)
    cyclic: bool = False

    def __post_init__(self) -> None:
        """Make float64 arrays, and give neighbouring quaternions the same sign."""
        for name in ("root_pos", "root_quat", "joint_pos"):
            setattr(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if self.root_quat.ndim == 2 and len(self.root_quat) > 1:
            turned = np.cumprod(np.where((self.root_quat[1:] * self.root_quat[:-1]).sum(1) < 0, -1.0, 1.0))
            self.root_quat = self.root_quat * np.concatenate(([1.0], turned))[:, None]

    @property
    def frames(self) -> int:
        """Number of frames F."""
        return len(self.root_pos)

    @property
    def duration(self) -> float:
        """Time from the first to the last frame in s."""
        return (self.frames - 1) / self.fps

    @property
    def speed(self) -> float:
        """Horizontal distance of the last from the first root position over the duration, m/s."""
        return float(np.linalg.norm(self.root_pos[-1, :2] - self.root_pos[0, :2])) / self.duration

    @cached_property
    def joint_vel(self) -> np.ndarray:
        """Joint velocities (F, J) rad/s: central differences, at the ends of a clip that is no cycle one-sided."""
        velocity = np.gradient(self.joint_pos, 1.0 / self.fps, axis=0)
        if self.cyclic:  # the last frame is the first of the next cycle
            velocity[[0, -1]] = (velocity[0] + velocity[-1]) / 2
        return velocity

    @cached_property
    def root_lin_vel(self) -> np.ndarray:
        """Root velocities (F, 3) m/s in the world frame, differences as for `joint_vel`."""
        velocity = np.gradient(self.root_pos, 1.0 / self.fps, axis=0)
        if self.cyclic:
            turn = self.cycle()[1]
            first = (velocity[0] + _turned(velocity[-1], -turn)) / 2
            velocity[0], velocity[-1] = first, _turned(first, turn)
        return velocity

    @cached_property
    def root_ang_vel(self) -> np.ndarray:
        """Angular velocities (F, 3) rad/s in the base frame: rotation vectors between frames, mean of both sides."""
        from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

        turns = Rotation.from_quat(self.root_quat, scalar_first=True)
        steps = (turns[:-1].inv() * turns[1:]).as_rotvec() * self.fps  # (F - 1, 3), the same in both of its frames
        first, last = (steps[:1], steps[-1:]) if not self.cyclic else ((steps[:1] + steps[-1:]) / 2,) * 2
        return np.concatenate((first, (steps[:-1] + steps[1:]) / 2, last))

    def cycle(self) -> tuple[np.ndarray, float]:
        """Return what carries the first frame to the last one: a turn in rad about the vertical through the origin.

        Returns:
            The shift (2,) m after the turn, and the turn.
        """
        from scipy.spatial.transform import Rotation

        forward = Rotation.from_quat(self.root_quat[[0, -1]], scalar_first=True).apply((1.0, 0.0, 0.0))
        first, last = np.arctan2(forward[:, 1], forward[:, 0])
        turn = float((last - first + np.pi) % (2 * np.pi) - np.pi)
        cos, sin = np.cos(turn), np.sin(turn)
        x, y = self.root_pos[0, :2]
        return self.root_pos[-1, :2] - np.array([cos * x - sin * y, sin * x + cos * y]), turn

    def problems(self, robot: Robot | None = None) -> list[str]:
        """Return one line for each reason not to use the clip, with what to do about it.

        Args:
            robot: whose joints the clip must have.
        """
        lines = self._shape_problems()
        if robot is not None:
            lines += _joint_problems(self.joints, robot)
        if lines:
            return lines
        for name in ("root_pos", "root_quat", "joint_pos"):
            bad = np.flatnonzero(~np.isfinite(getattr(self, name)).all(axis=1))
            if len(bad):
                lines.append(f"{name} is not finite in {len(bad)} frames, first in frame {bad[0]}: cut them out")
        if lines:
            return lines
        off = np.abs(np.linalg.norm(self.root_quat, axis=1) - 1.0)
        if off.max() > UNIT_TOLERANCE:
            frame = int(off.argmax())
            length = np.linalg.norm(self.root_quat[frame])
            lines.append(f"root_quat is no unit quaternion: length {length:.4g} in frame {frame}; divide by the length")
        return lines

    def _shape_problems(self) -> list[str]:
        if not (np.isfinite(self.fps) and 0 < self.fps <= 10_000):
            return [f"fps is {self.fps:g}: expected frames a second, more than 0; time must go forward"]
        frames = len(self.joint_pos) if self.joint_pos.ndim else 0
        shapes = {"root_pos": (frames, 3), "root_quat": (frames, 4), "joint_pos": (frames, len(self.joints))}
        lines = [
            f"{name} has shape {getattr(self, name).shape}; expected {shape}"
            for name, shape in shapes.items()
            if getattr(self, name).shape != shape
        ]
        if not lines and frames < 2:
            lines.append(f"the clip has {frames} frame{'' if frames == 1 else 's'}; a motion has 2 or more")
        return lines

    def ordered(self, robot: Robot) -> MotionClip:
        """Return the clip with its joints in the order of `robot`, whose joints it has."""
        columns = [self.joints.index(name) for name in robot.joints]
        return replace(self, joints=list(robot.joints), joint_pos=self.joint_pos[:, columns])

    def mirrored(self, mirror: Mirror) -> MotionClip:
        """Return the mirror image in the x-z plane; mirrored twice it is the clip itself.

        Raises:
            ConfigError: a joint has no image among the joints.
        """
        image = mirror.joints(self.joints)
        if image is None:
            raise ConfigError(f"The clip {self.name} has joints without a mirror image; set env.motion.mirrored=false.")
        columns, signs = image
        return replace(
            self,
            name=f"{self.name} (mirrored)",
            root_pos=self.root_pos * (1.0, -1.0, 1.0),
            root_quat=self.root_quat * (1.0, -1.0, 1.0, -1.0),
            joint_pos=self.joint_pos[:, columns] * np.array(signs),
        )

    def cut(self, start: int, stop: int) -> MotionClip:
        """Return the frames from `start` to before `stop`."""
        parts = {name: getattr(self, name)[start:stop] for name in ("root_pos", "root_quat", "joint_pos")}
        return replace(self, **parts)

    def save(self, path: Path) -> None:
        """Write the clip, numbers as float32, in the format of this module."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.array(FORMAT),
                format_version=np.array(VERSION),
                fps=np.array(self.fps),
                robot=np.array(self.robot),
                joint_names=np.array(self.joints, dtype=str),
                root_pos=self.root_pos.astype(np.float32),
                root_quat=self.root_quat.astype(np.float32),
                quat_order=np.array("wxyz"),
                joint_pos=self.joint_pos.astype(np.float32),
                source=np.array(self.source),
                license=np.array(self.license),
                repairs=np.array(self.repairs, dtype=str),
                cyclic=np.array(self.cyclic),
            )


def is_own(arrays: dict[str, np.ndarray]) -> bool:
    """Return whether the arrays of a file are in the format of this module."""
    return "format" in arrays and str(arrays["format"]) == FORMAT


def from_arrays(arrays: dict[str, np.ndarray], path: Path, quat_order: str | None = None) -> MotionClip:
    """Return the clip of a file in the format of this module; it is not checked yet.

    Args:
        arrays: of the file.
        path: of the file, for messages.
        quat_order: `wxyz` or `xyzw`, instead of what the file states.

    Raises:
        ConfigError: an array is missing, of another kind, or the format is newer.
    """
    missing = [n for n in ("fps", "joint_names", "root_pos", "root_quat", "joint_pos") if n not in arrays]
    if missing:
        raise ConfigError(f"{path} has no array {', '.join(missing)}; docs/motion.md lists them.")
    version = number(arrays.get("format_version", np.array(VERSION)), "format_version", path)
    if version > VERSION:
        raise ConfigError(f"{path} has format version {version:g}; this Regimen reads up to {VERSION}. Update it.")
    for name in ("root_pos", "root_quat", "joint_pos"):
        if arrays[name].dtype.kind not in "fiu":
            raise ConfigError(f"{path}: {name} holds {arrays[name].dtype}; expected numbers.")
    joints = arrays["joint_names"]
    if joints.ndim != 1 or joints.dtype.kind != "U":
        raise ConfigError(f"{path}: joint_names has shape {joints.shape}, {joints.dtype}; expected texts (J,).")
    fps = number(arrays["fps"], "fps", path)
    _require_even_time(arrays.get("time"), fps, path)
    quat = arrays["root_quat"]
    if reorder_needed(arrays, quat_order, path) and quat.ndim == 2 and quat.shape[1] == 4:
        quat = quat[:, [3, 0, 1, 2]]
    return MotionClip(
        name=path.stem,
        fps=fps,
        joints=[str(name) for name in joints],
        root_pos=arrays["root_pos"],
        root_quat=quat,
        joint_pos=arrays["joint_pos"],
        robot=str(arrays.get("robot", "")),
        source=str(arrays.get("source", "")),
        license=str(arrays.get("license", "")),
        repairs=[str(line) for line in np.atleast_1d(arrays.get("repairs", np.array([], dtype=str)))],
        cyclic=bool(np.all(arrays.get("cyclic", False))),
    )


def _require_even_time(time: np.ndarray | None, fps: float, path: Path) -> None:
    """Raise unless the times (F,) of the frames go forward in steps of 1 / fps, within 1 %."""
    if time is None:
        return
    if time.ndim != 1 or time.dtype.kind not in "fiu":
        raise ConfigError(f"{path}: time has shape {time.shape}, {time.dtype}; expected numbers (F,).")
    steps = np.diff(time.astype(np.float64))
    if not (steps > 0).all():
        frame = int(np.argmax(~(steps > 0)))
        raise ConfigError(
            f"{path}: time does not go forward after frame {frame}: sort the frames, and drop doubled ones."
        )
    if np.abs(steps * fps - 1.0).max(initial=0.0) > 0.01:
        raise ConfigError(
            f"{path}: time has steps of {steps.min():g} to {steps.max():g} s; expected 1 / fps = {1 / fps:g}."
        )


def number(array: np.ndarray, name: str, path: Path) -> float:
    """Return the number in an array of one.

    Raises:
        ConfigError: it holds something else.
    """
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise ConfigError(f"{path}: {name} has shape {array.shape}, {array.dtype}; expected one number.")
    return float(array.reshape(()))


def reorder_needed(arrays: dict[str, np.ndarray], quat_order: str | None, path: Path) -> bool:
    """Return whether quaternions of a file are x y z w: as `quat_order`, else the file's own array of that name says.

    Raises:
        ConfigError: an unknown order.
    """
    order = quat_order or str(arrays.get("quat_order", QUAT_ORDERS[0]))
    if order not in QUAT_ORDERS:
        raise ConfigError(f"{path}: quat_order is `{order}`; expected wxyz or xyzw.")
    return order == "xyzw"


def read_clip(path: Path, robot: Robot) -> MotionClip:
    """Return a checked clip of `robot`, joints in its order, from a file in the format of this module.

    Raises:
        ConfigError: the file is damaged, in another format, or the clip is unusable; with what to do.
    """
    arrays: dict[str, Any] = read_arrays(path)
    if not is_own(arrays):
        raise ConfigError(
            f"{path} is not in Regimen's motion format. Convert it: regimen motion {path} --robot {robot.name} "
            "--save <name>.npz"
        )
    clip = from_arrays(arrays, path)
    if problems := clip.problems(robot):
        raise ConfigError(f"The motion clip {path} cannot be used:\n  " + "\n  ".join(problems))
    return clip.ordered(robot)


def _joint_problems(joints: list[str], robot: Robot) -> list[str]:
    missing = [name for name in robot.joints if name not in joints]
    other = [name for name in joints if name not in robot.joints]
    twice = sorted({name for name in joints if joints.count(name) > 1})
    lines = [f"joint {name} is there more than once" for name in twice]
    if missing or other:
        lines.append(
            f"other joints than those of the robot `{robot.name}`: missing {', '.join(missing) or 'none'}; unknown "
            f"{', '.join(other) or 'none'}. Name the robot of the clip with --robot, or rename its joints"
        )
    return lines


def _turned(velocity: np.ndarray, angle: float) -> np.ndarray:
    """Return a vector (3,) turned about the vertical by an angle in rad."""
    x, y, z = velocity
    return np.array([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z])
