"""Decisions of a user about an import: names, elements that are removed, figures that the file lacks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regimen.system.errors import did_you_mean

FIGURES = ("effort", "armature", "kp", "kd", "speed", "pose")
"""Figures of joints that a user may give by pattern; `pose` is an angle, the others are 0 or more."""


@dataclass(frozen=True)
class ImportSettings:
    """Decisions of the user; what is None or empty is read from the file or guessed.

    Attributes:
        file: MJCF or URDF.
        name: of the robot, a Python name.
        into: folder that is written.
        feet: bodies that stand on the ground; None guesses them, () is a robot without feet.
        base: body that floats, or the root of a robot that is fixed.
        fixed_base: a URDF stays fixed in the world; without it a URDF floats.
        drop: bodies, joints, tendons, equality constraints and actuators that are removed; a body whose joint is
            removed is welded to its parent.
        package_paths: folders in which the packages of `package://` are looked for.
        foot_boxes: one box in place of all collision shapes of a foot.
        meshes: whether visual meshes are kept for pictures.
        figures: kind of figure, of `FIGURES` -> pattern of joint names -> value in N·m, kg·m², N·m/rad, N·m·s/rad,
            rad/s, rad.
    """

    file: Path
    name: str
    into: Path
    feet: tuple[str, ...] | None = None
    base: str | None = None
    fixed_base: bool = False
    drop: tuple[str, ...] = ()
    package_paths: tuple[Path, ...] = ()
    foot_boxes: bool = False
    meshes: bool = True
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def given(self, kind: str, joint: str) -> float | None:
        """Return the figure of a joint that the user gives; the last pattern that matches counts."""
        values = [v for pattern, v in self.figures.get(kind, {}).items() if re.fullmatch(pattern, joint)]
        return values[-1] if values else None

    def pattern_problems(self, joints: Sequence[str]) -> list[str]:
        """Return a line for each pattern that matches none of the `joints`."""
        return [
            f"--{kind} {pattern}={value:g}: no joint matches. {did_you_mean(pattern, joints)}"
            for kind, values in self.figures.items()
            for pattern, value in values.items()
            if not any(re.fullmatch(pattern, joint) for joint in joints)
        ]


def read_figures(kind: str, words: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Read the words of a flag such as `--effort`.

    Args:
        kind: of `FIGURES`.
        words: `<pattern>=<number>` each.

    Returns:
        Pattern -> value, and a line for each word that is wrong.
    """
    values, lines = {}, []
    for word in words:
        pattern, separator, text = word.rpartition("=")
        wanted = f"--{kind} {word}: expected <pattern>=<number>, for example --{kind} '.*_knee=0.5'"
        try:
            value = float(text)
            re.compile(pattern)
        except ValueError:
            lines.append(wanted)
            continue
        except re.error as error:
            lines.append(f"--{kind} {word}: `{pattern}` is no regular expression: {error}")
            continue
        if not separator or not pattern or not math.isfinite(value):
            lines.append(wanted)
        elif value < 0 and kind != "pose":
            lines.append(f"--{kind} {word}: {value:g}; expected 0 or more")
        elif value == 0 and kind in ("effort", "kp"):
            lines.append(f"--{kind} {word}: 0; expected more than 0")
        else:
            values[pattern] = value
    return values, lines
