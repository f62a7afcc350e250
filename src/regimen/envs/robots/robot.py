"""Robots: one folder each, holding an MJCF of primitive shapes and the names and gains that go with it.

A new robot is a new folder `robots/<name>/` with `<name>.xml` and a `robot.py` that defines `ROBOT`. Nothing
here imports a simulator, numpy or torch, so the launcher may read robots while it plans.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regimen.system.errors import ConfigError, did_you_mean

PER_JOINT = ("default_joint_pos", "stiffness", "damping", "effort_limit", "velocity_limit", "armature")
"""Fields of a `Robot` with one number for each joint."""

POSITIVE = ("stiffness", "effort_limit")
"""Those of them that are greater than 0; the default pose may be negative, the others may be 0."""


@dataclass(frozen=True)
class Mirror:
    """A robot's image in its x-z plane.

    Attributes:
        swap: pairs of left and right; the image of a name with the one is the name with the other in its place, and a
            name with neither is its own image.
        turned: regular expression of the joints whose angle changes its sign: those that roll or yaw.
    """

    swap: tuple[tuple[str, str], ...]
    turned: str

    def image(self, name: str) -> str:
        """Return the name of a joint, foot or body on the other side."""
        for one, other in (*self.swap, *((right, left) for left, right in self.swap)):
            if one in name:
                return name.replace(one, other)
        return name

    def order(self, names: Sequence[str]) -> list[int] | None:
        """Return for each name where its image is found among them; None if one is missing."""
        images = [self.image(name) for name in names]
        return [names.index(image) for image in images] if set(images) <= set(names) else None

    def joints(self, names: Sequence[str]) -> tuple[list[int], list[float]] | None:
        """Return as `order` the columns of joint values, and their signs."""
        order, signs = self.order(names), [-1.0 if re.fullmatch(self.turned, name) else 1.0 for name in names]
        return None if order is None else (order, signs)


@dataclass(frozen=True)
class Robot:
    """Description of a robot for tasks and simulators, in addition to its MJCF.

    All per-joint tuples follow `joints`, which is also the order of the joints and actuators in the MJCF.

    Attributes:
        name: folder name.
        mjcf: path of the model file.
        joints: joint names, in MJCF order; the floating base is not one of them.
        default_joint_pos: pose around which actions act, rad.
        stiffness: position gain of each actuator, N·m/rad.
        damping: velocity gain of each actuator, N·m·s/rad.
        effort_limit: largest torque of each actuator, N·m.
        velocity_limit: rated speed of each joint, rad/s; information only, MuJoCo has no such limit.
        armature: reflected rotor inertia of each joint, kg·m².
        total_mass: kg.
        base_body: body that floats, or the root of a fixed-base robot.
        floating_base: whether `base_body` has a free joint.
        spawn_height: height of `base_body` in the default pose with about 1 cm under the feet, m.
        feet: names with a site `<foot>_site` at the sole and sensors `contact_<foot>`, `pos_<foot>`, `vel_<foot>`.
        fall_bodies: bodies whose ground contact means a fall; each has a sensor `contact_<body>`.
        mirror: left and right of a robot that has both, None otherwise.
        sources: where the figures come from.
    """

    name: str
    mjcf: Path
    joints: tuple[str, ...]
    default_joint_pos: tuple[float, ...]
    stiffness: tuple[float, ...]
    damping: tuple[float, ...]
    effort_limit: tuple[float, ...]
    velocity_limit: tuple[float, ...]
    armature: tuple[float, ...]
    total_mass: float
    base_body: str
    floating_base: bool = True
    spawn_height: float = 0.0
    feet: tuple[str, ...] = ()
    fall_bodies: tuple[str, ...] = ()
    mirror: Mirror | None = None
    sources: str = ""

    def problems(self) -> list[str]:
        """Return one line for each contradiction within the description: lengths, names given twice, signs."""
        lines = [] if isinstance(self.mjcf, Path) else [f"mjcf: {self.mjcf!r}; expected a pathlib.Path"]
        lines += [] if self.joints else ["joints: none; expected at least one name"]
        for field in ("joints", "feet", "fall_bodies"):
            names = getattr(self, field)
            if twice := sorted({name for name in names if list(names).count(name) > 1}):
                lines.append(f"{field}: {', '.join(twice)} more than once")
        for field in PER_JOINT:
            values = getattr(self, field)
            if len(values) != len(self.joints):
                lines.append(
                    f"{field}: {len(values)} values for the {len(self.joints)} joints {', '.join(self.joints)}"
                )
                continue
            least = "more than 0" if field in POSITIVE else "0 or more"
            least = "a finite number" if field == "default_joint_pos" else least
            for joint, value in zip(self.joints, values, strict=True):
                wrong = not math.isfinite(value) or (field != "default_joint_pos" and value < 0)
                if wrong or (field in POSITIVE and value == 0):
                    lines.append(f"{field} of joint {joint}: {value:g}; expected {least}")
        return lines

    def joint_ids(self, *patterns: str) -> tuple[int, ...]:
        """Return the indices in `joints` of all names fully matching one of the regular expressions."""
        return tuple(self.joints.index(name) for name in match(self.joints, *patterns))

    def action_scale(self, joints: Sequence[str], scale: float, unit: str) -> list[float]:
        """Return the rad by which an action of 1 moves each of `joints`.

        Args:
            joints: names.
            scale: units for an action of 1.
            unit: `rad`, or `saturation`, effort limit / stiffness, as in Booster's own training (`booster_train`).
        """
        if unit == "rad":
            return [scale] * len(joints)
        ids = [self.joints.index(name) for name in joints]
        return [round(scale * self.effort_limit[i] / self.stiffness[i], 6) for i in ids]


def match(names: tuple[str, ...], *patterns: str) -> tuple[str, ...]:
    """Return the names fully matching one of the patterns, in the order of `names`.

    Raises:
        ConfigError: if a pattern matches nothing.
    """
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise ConfigError(f"`{pattern}` matches no name. {did_you_mean(pattern, names)}")
    return tuple(name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns))


def per_joint(joints: tuple[str, ...], values: Mapping[str, float]) -> tuple[float, ...]:
    """Spread values given by regular expression over the joints.

    Args:
        joints: joint names.
        values: pattern to value; every joint must match exactly one pattern.

    Returns:
        One value per joint, in the order of `joints`.
    """
    spread = {name: value for pattern, value in values.items() for name in match(joints, pattern)}
    if sum(len(match(joints, pattern)) for pattern in values) != len(joints) or len(spread) != len(joints):
        raise ConfigError(f"every joint of {joints} must match exactly one of the patterns {tuple(values)}")
    return tuple(spread[name] for name in joints)


def available() -> tuple[str, ...]:
    """Return the names of the robots in this package."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/robot.py")))


def load(name: str) -> Robot:
    """Return a robot by folder name, or one of the user's own by `package.module:NAME`.

    Raises:
        ConfigError: if there is no such robot, or its description contradicts itself.
    """
    if ":" not in name and name not in available():
        raise ConfigError(f"There is no robot `{name}`. {did_you_mean(name, available())}")
    module, _, attribute = (name if ":" in name else f"{__package__}.{name}.robot:ROBOT").partition(":")
    try:
        robot = getattr(importlib.import_module(module), attribute)
    except ConfigError:
        raise
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"Cannot load the robot `{name}`: {error}. Expected `package.module:NAME`.") from error
    except Exception as error:  # whatever a user's module raises
        raise ConfigError(f"Cannot load the robot `{name}`: {type(error).__name__}: {error}") from error
    if not isinstance(robot, Robot):
        raise ConfigError(f"`{name}` is a {type(robot).__name__}, expected a regimen.envs.robots.Robot.")
    if problems := robot.problems():
        raise ConfigError(f"The Robot `{name}` contradicts itself:\n  " + "\n  ".join(problems))
    return robot
