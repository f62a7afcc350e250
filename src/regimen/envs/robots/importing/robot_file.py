"""`robot.py` of an imported robot: its `Robot` as source text."""

from __future__ import annotations

from collections.abc import Sequence

from regimen.envs.robots.importing.result import ImportedRobot

FIELDS = (
    ("default_joint_pos", "pose"),
    ("stiffness", "stiffness"),
    ("damping", "damping"),
    ("effort_limit", "effort"),
    ("velocity_limit", "speed"),
    ("armature", "armature"),
)
"""Field of a `Robot` -> figure of a joint."""


def robot_source(robot: ImportedRobot, command: str) -> str:
    """Return the text of `robot.py`.

    Args:
        robot: what was imported.
        command: that writes the file again.
    """
    names = [figures.name for figures in robot.figures]
    lines = [
        f'"""{robot.name}: imported from {robot.file_name}; import.md names the source of each figure.',
        "",
        f"Written by `{command}`: change its flags and import again, so that the model keeps the same figures.",
        '"""',
        "",
        "from pathlib import Path",
        "",
        f"from regimen.envs.robots.robot import {'Mirror, ' if robot.mirror else ''}Robot, per_joint",
        "",
        "JOINTS = (",
        *(f"    {name!r}," for name in names),
        ")",
        "",
        "ROBOT = Robot(",
        f"    name={robot.name!r},",
        f'    mjcf=Path(__file__).with_name("{robot.name}.xml"),',
        "    joints=JOINTS,",
    ]
    for field, key in FIELDS:
        values = robot.pose if key == "pose" else [getattr(figures, key).value for figures in robot.figures]
        lines += _per_joint(field, names, values)
    lines += [
        f"    total_mass={robot.total_mass:.6g},",
        f"    base_body={robot.base!r},",
        f"    floating_base={robot.floating},",
        f"    spawn_height={robot.spawn_height:.6g},",
        f"    feet={tuple(foot.name for foot in robot.feet)!r},",
        f"    fall_bodies={tuple(robot.fall_bodies)!r},",
    ]
    if robot.mirror is not None:
        lines += [
            "    mirror=Mirror(",
            f"        swap={robot.mirror.swap!r},",
            "        turned=(",
            *_text_lines(robot.mirror.turned),
            "        ),",
            "    ),",
        ]
    return "\n".join([*lines, f"    sources={f'imported from {robot.file_name}'!r},", ")", ""])


def _per_joint(field: str, names: Sequence[str], values: Sequence[float]) -> list[str]:
    """Return the lines of a field with one value for each joint."""
    if len(set(values)) == 1:
        return [f'    {field}=per_joint(JOINTS, {{".*": {float(values[0])!r}}}),']
    rows = [f"            {float(v)!r},  # {name}" for name, v in zip(names, values, strict=True)]
    return [f"    {field}=(", *(row.replace(" " * 12, " " * 8, 1) for row in rows), "    ),"]


def _text_lines(text: str) -> list[str]:
    """Return a string as lines of adjacent literals, cut after `|`."""
    parts, line = [], ""
    for piece in text.split("|"):
        if line and len(line) + len(piece) > 88:
            parts.append(line)
            line = ""
        line += f"{piece}|"
    return [f"            {part!r}" for part in [*parts, line[:-1]]]
