"""The report of an import: each figure with its source, shapes with their fit, changes and assumptions."""

from __future__ import annotations

from collections.abc import Sequence

from regimen.display.text_tables import TextTable
from regimen.envs.robots.importing.figures import Figure
from regimen.envs.robots.importing.result import ImportedRobot


def facts(robot: ImportedRobot) -> list[tuple[str, str]]:
    """Return rows of name and value about the whole robot."""
    assumed = sum(
        figure.source.startswith("assumed")
        for joint in robot.figures
        for figure in (joint.effort, joint.armature, joint.speed)
    )
    feet = ", ".join(foot.name for foot in robot.feet)
    rows = [
        ("file", f"{robot.file_name}, {robot.kind}"),
        ("base", f"{robot.base}, {'floating' if robot.floating else 'fixed'}"),
        ("mass", f"{robot.total_mass:.6g} kg, {len(robot.anatomy.bodies)} bodies, {len(robot.figures)} joints"),
        ("feet", feet or "none"),
        ("fall bodies", ", ".join(robot.fall_bodies) or "none"),
        ("default pose", robot.pose_source),
        ("spawn height", f"{robot.spawn_height:.6g} m" if robot.floating else "fixed"),
        ("left and right", robot.mirror_source if robot.mirror else f"no mirror image: {robot.mirror_source}"),
        ("assumed figures", f"{assumed} of {3 * len(robot.figures)} effort limits, armatures and speeds"),
        ("visual meshes", f"{len(robot.visuals)}"),
    ]
    if robot.tip is not None:
        rows.append(("tip", f"{robot.anatomy.body_name(robot.tip[0])} at {robot.tip[1].round(4).tolist()}"))
    return rows


UNITS = ("rad", "N·m", "kg·m²", "rad/s")
UNITS_WITH_SLIDES = ("rad or m", "N·m or N", "kg·m² or kg", "rad/s or m/s")
"""Of angles, torques, armatures and speeds in the table of joints."""


def joint_rows(robot: ImportedRobot) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and one row for each joint, with short letters for the sources; slides are marked."""
    slides = [robot.anatomy.is_slide(i) for i in range(len(robot.figures))]
    angle, torque, inertia, speed = UNITS_WITH_SLIDES if any(slides) else UNITS
    ranges, figures = (f">range {angle}", ">pose"), (f">effort {torque}", f">armature {inertia}", ">kp", ">kd")
    header = ("joint", *ranges, *figures, f">speed {speed}")
    rows = [
        (
            f"{joint.name} (slide)" if slide else joint.name,
            f"{low:.3g} … {high:.3g}",
            f"{position:.3g}",
            *(_cell(f) for f in (joint.effort, joint.armature, joint.stiffness, joint.damping, joint.speed)),
        )
        for joint, slide, position, (low, high) in zip(
            robot.figures, slides, robot.pose, robot.anatomy.ranges, strict=True
        )
    ]
    return header, rows


def _cell(figure: Figure) -> str:
    return f"{figure.value:.4g} {'a' if figure.source.startswith('assumed') else _letter(figure.source)}"


def _letter(source: str) -> str:
    return "f" if source == "file" else "u" if source.startswith("--") else "d"


LETTERS = "f: of the file, u: of the user, d: derived from the armature (10 Hz, damping ratio 2), a: assumed"


def sources(robot: ImportedRobot) -> list[str]:
    """Return one line for each rule by which figures were assumed or derived, with how many joints it was used for."""
    counts: dict[str, int] = {}
    for joint in robot.figures:
        for kind in ("effort", "armature", "stiffness", "damping", "speed"):
            figure: Figure = getattr(joint, kind)
            if figure.source != "file":
                counts[f"{kind}: {figure.source}"] = counts.get(f"{kind}: {figure.source}", 0) + 1
    return [f"{rule} ({count} joints)" for rule, count in counts.items()]


def shape_rows(robot: ImportedRobot) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and one row for each collision shape."""
    header = ("body", "shape", "size m", "for", ">excess volume", ">lower by mm")
    rows: list[tuple[str, ...]] = [
        (
            robot.anatomy.body_name(shape.body),
            shape.primitive.kind,
            " ".join(f"{value:.3g}" for value in shape.primitive.size),
            shape.source,
            "" if shape.excess is None else f"{100 * shape.excess:.0f} %",
            "" if shape.overhang is None else f"{1000 * shape.overhang:.1f}",
        )
        for shape in robot.shapes
    ]
    return header, rows


def tables(robot: ImportedRobot) -> list[TextTable]:
    """Return the report as tables for a terminal."""
    joints, shapes = joint_rows(robot), shape_rows(robot)
    found = [
        TextTable(f"Robot {robot.name}", ("", ""), facts(robot)),
        TextTable(f"Joints ({LETTERS})", *joints),
        TextTable("Collision shapes", *shapes),
    ]
    rest = [*sources(robot), *robot.notes]
    return [*found, TextTable("Assumptions and changes", ("",), [(line,) for line in rest])] if rest else found


def markdown(robot: ImportedRobot, command: str, picture: bool) -> str:
    """Return the report as `import.md`.

    Args:
        robot: what was imported.
        command: that was typed.
        picture: whether there is an `import.png`.
    """
    lines = [f"# Import of {robot.name}", "", "```bash", command, "```", ""]
    lines += _markdown_table(("what", "value"), facts(robot))
    lines += ["## Joints", "", f"{LETTERS}.", "", *_markdown_table(*joint_rows(robot))]
    lines += ["## Collision shapes", ""]
    lines += ["Excess volume: over that of the convex hull of what a shape replaces; lower: how much deeper", ""]
    lines[-2] += " it reaches in the pose zero."
    lines += _markdown_table(*shape_rows(robot))
    if picture:
        lines += ["![Collision shapes over the meshes](import.png)", ""]
    lines += ["## Assumptions and changes", ""]
    lines += [f"- {line}" for line in [*sources(robot), *robot.notes]] or ["- none"]
    return "\n".join([*lines, ""])


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    names = [name.removeprefix(">") for name in header]
    marks = ["---:" if name.startswith(">") else "---" for name in header]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (names, marks, *cells)] + [""]
