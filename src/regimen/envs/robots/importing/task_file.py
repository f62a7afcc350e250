"""A task for an imported robot, derived from a shipped one: walking on two or four feet, or reaching."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from regimen.envs.robots.importing.anatomy import Posture
from regimen.envs.robots.importing.pose import PITCH
from regimen.envs.robots.importing.result import ImportedRobot

FALL_SHARE = 0.6
"""Height of the base, as a share of that in the default pose, below which a robot on two feet has fallen."""

H1_MASS, GO2_MASS = 51.4, 15.2
GO2_TORQUE = GO2_MASS * 0.335
"""kg m, mass times height of the Go2, to which the weight of its torque reward belongs."""


def task_name(robot: ImportedRobot) -> str:
    """Return the name of the task of a robot."""
    return f"{robot.name}_flat" if robot.feet else f"{robot.name}_reach"


def task_text(robot: ImportedRobot, reference: str) -> str | None:
    """Return the YAML of a task, None for a robot for which no shipped task fits.

    Args:
        robot: what was imported.
        reference: `package.module:NAME` of the robot.
    """
    if len(robot.feet) == 2:
        return _biped(robot, reference)
    if len(robot.feet) == 4:
        return _quadruped(robot, reference)
    return _arm(robot, reference) if robot.tip is not None and not robot.floating else None


def _biped(robot: ImportedRobot, reference: str) -> str:
    legs, sideways, ankles, trunk, arms = _parts(robot)
    height = robot.spawn_height
    mass = round(robot.total_mass / H1_MASS, 2)
    deviation = {
        "joint_deviation_hip": sideways,
        "joint_deviation_arms": arms,
        "joint_deviation_torso": trunk,
    }
    rows = [f"  {term}: {_on_joints(joints)}" for term, joints in deviation.items()]
    return "\n".join(
        [
            "# @package env",
            f"# {robot.name} follows velocity commands on flat ground, standing included",
            "defaults:",
            "  - h1_flat",
            "  - _self_",
            f"robot: {reference}",
            *(
                [
                    "actions:  # the other joints hold the default pose",
                    f"  joints: [{_pattern([*legs, *trunk])}]",
                ]
                if arms
                else []
            ),
            "commands:",
            f"  gait: {{params: {{frequency_hz: {_frequency(1.4, 1.0, height)}}}}}",
            "rewards:",
            f"  feet_height: {{params: {{height: {_lift(0.1, height)}, std: {_lift(0.1, height) / 2:.3g}}}}}",
            *rows,
            f"  dof_pos_limits: {_on_joints(ankles or legs)}",
            f"  stand_still: {_on_joints(legs)}",
            "terminations:",
            f"  torso_contact: {_on_bodies(robot)}",
            f"  base_height: {{params: {{minimum_height: {round(FALL_SHARE * height, 3)}}}}}",
            "events:",
            f"  add_base_mass: {{params: {{mass_distribution_params: [{-mass}, {mass}]}}}}",
            "",
        ]
    )


def _quadruped(robot: ImportedRobot, reference: str) -> str:
    _, sideways, _, _, _ = _parts(robot)
    height, share = robot.spawn_height, robot.total_mass / GO2_MASS
    feet = Posture(robot.anatomy, np.array(robot.pose))
    places = [feet.place(foot.body, foot.sole[None])[0] for foot in robot.feet]
    offsets = [0.0 if place[0] * place[1] > 0 else 0.5 for place in places]
    torque = 2.0e-4 * (GO2_TORQUE / (robot.total_mass * height)) ** 2
    return "\n".join(
        [
            "# @package env",
            f"# {robot.name} follows velocity commands on flat ground",
            "defaults:",
            "  - go2_flat",
            "  - _self_",
            f"robot: {reference}",
            "commands:",
            f"  gait:  # trot: diagonal feet together; feet are {', '.join(foot.name for foot in robot.feet)}",
            f"    params: {{frequency_hz: {_frequency(2.0, 0.335, height)}, offsets: {offsets}}}",
            "rewards:",
            f"  feet_height: {{params: {{height: {_lift(0.24, height)}, std: {_lift(0.24, height) / 2:.3g}}}}}",
            f"  dof_torques_l2: {{weight: {-float(f'{torque:.2g}')}}}",
            f"  joint_deviation: {_on_joints(sideways)}",
            "terminations:",
            f"  base_contact: {_on_bodies(robot)}",
            "events:",
            f"  add_base_mass: {{params: {{mass_distribution_params: [{round(-share, 2)}, {round(3 * share, 2)}]}}}}",
            "",
        ]
    )


def _arm(robot: ImportedRobot, reference: str) -> str:
    """Return a task in which the tip reaches points at the height that it has in the default pose."""
    assert robot.tip is not None
    body, point = robot.tip
    posture = Posture(robot.anatomy, np.array(robot.pose))
    tip = posture.place(body, point[None])[0]
    away = max(float(np.hypot(tip[0], tip[1])), 0.1)
    near, far = round(0.8 * away, 2), round(1.1 * away, 2)
    angle = float(np.arctan2(tip[1], tip[0]))
    bounds = [round(angle - 0.5, 2), round(angle + 0.5, 2)]
    around = [[round(r * float(np.cos(angle)), 3), round(r * float(np.sin(angle)), 3)] for r in (near, away, far)]
    return "\n".join(
        [
            "# @package env",
            f"# {robot.name} brings its tip to a drawn point at the height of its default pose",
            "defaults:",
            "  - reach",
            "  - _self_",
            f"robot: {reference}",
            "actions: {scale: 0.5}",
            "commands:",
            f"  target: {{params: {{radius: [{near}, {far}], angle: {bounds}, height: {round(float(tip[2]), 3)}}}}}",
            "events:",
            "  reset_robot_joints: {params: {position_range: [-0.1, 0.1]}}",
            "evaluation:",
            f"  grid: {around}",
            "",
        ]
    )


def _parts(robot: ImportedRobot) -> tuple[list[str], list[str], list[str], list[str], list[str]]:
    """Return the names of joints of the legs, of the legs sideways, beyond the knees, of the trunk, of the arms."""
    anatomy, names = robot.anatomy, robot.anatomy.names
    legs, sideways, ankles = set(robot.legs), set(), set()
    axes = Posture(anatomy, np.array(robot.pose)).axes
    for foot in robot.feet:
        path = anatomy.path(foot.body)
        pitch = [i for i in path if abs(axes[i, 1]) > PITCH]
        sideways |= set(path) - set(pitch)
        if len(pitch) > 2:
            ankles |= set(path[path.index(pitch[1]) + 1 :])
    upper = [b for b in anatomy.bodies if not legs & set(anatomy.path(b))]
    trunk = set(anatomy.path(max(upper, key=lambda b: anatomy.model.body_mass[b])))
    arms = set(range(len(names))) - legs - trunk
    return tuple([names[i] for i in sorted(part)] for part in (legs, sideways, ankles, trunk, arms))  # type: ignore[return-value]


def _frequency(hz: float, at: float, height: float) -> float:
    """Return the frequency of steps of a robot whose base is `height` m high, where one at `at` m steps with `hz`."""
    return round(hz * (at / max(height, 0.05)) ** 0.3, 1)


def _lift(share: float, height: float) -> float:
    """Return a share of the height of the base in m, at most 0.1 m."""
    return round(min(share * height, 0.1), 3)


def _pattern(names: Sequence[str]) -> str:
    """Return a regular expression of the names, quoted."""
    return json.dumps("|".join(re.escape(name) for name in names))


def _on_joints(names: Sequence[str]) -> str:
    """Return parameters of a reward on some joints; a reward on none is switched off."""
    return f"{{params: {{joints: {_pattern(names)}}}}}" if names else "null"


def _on_bodies(robot: ImportedRobot) -> str:
    """Return parameters of the termination of a fall."""
    return f"{{params: {{bodies: {_pattern(robot.fall_bodies)}}}}}" if robot.fall_bodies else "null"
