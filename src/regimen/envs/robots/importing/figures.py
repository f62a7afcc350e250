"""Effort limits, armature and gains of the joints: from the user, from the file, or by a rule that the report names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regimen.envs.robots.importing.anatomy import Anatomy, Posture
from regimen.envs.robots.importing.settings import ImportSettings

FREQUENCY = 2 * np.pi * 10
"""Natural frequency of a joint with its rotor alone, rad/s."""

DAMPING_RATIO = 2.0

SATURATION, SLIDE_SATURATION = 1.0, 0.05
"""rad from the target at which an assumed gain reaches the effort limit, and m for a slide."""

LEG_SHARE = 0.5
"""Assumed effort limit of a leg joint, as a share of the robot's weight times the height of its base."""

HOLDING = 3.0
"""Assumed effort limit of another joint, in units of the torque that holds what is below it level.

That of a slide is in units of the weight that it carries: of what is below it, for a leg of the robot.
"""

LEAST_EFFORT = 1.0
SPEED = 20.0
"""Assumed rated speed in rad/s; nothing is computed from it, unless a task has models of motors."""

GRAVITY = 9.81


@dataclass(frozen=True)
class Figure:
    """A number and where it comes from.

    Attributes:
        value: rounded to 6 significant digits.
        source: `file`, a flag, or `assumed` with the rule.
    """

    value: float
    source: str


@dataclass(frozen=True)
class JointFigures:
    """Figures of one joint; those of a slide are in m for rad and N for N·m.

    Attributes:
        name: of the joint.
        effort: N·m.
        armature: kg·m², of a slide kg.
        stiffness: N·m/rad.
        damping: N·m·s/rad.
        speed: rad/s.
    """

    name: str
    effort: Figure
    armature: Figure
    stiffness: Figure
    damping: Figure
    speed: Figure


@dataclass(frozen=True)
class _Servo:
    """What the actuator of the file gives a joint: gains of a position servo, and the bound of its torque."""

    stiffness: float | None
    damping: float | None
    effort: float | None


def joint_figures(
    anatomy: Anatomy,
    posture: Posture,
    feet: Sequence[int],
    height: float,
    speeds: dict[str, float],
    user: ImportSettings,
) -> list[JointFigures]:
    """Return the figures of all joints.

    With the rotor's inertia I, ω = `FREQUENCY` and ζ = `DAMPING_RATIO`, derived gains are kp = I ω² and kd = 2 ζ I ω
    (the rule of mjlab and of BeyondMimic). Without I it is the inertia for which such a servo reaches the effort limit
    `SATURATION` from its target, `SLIDE_SATURATION` for a slide.

    Args:
        anatomy: of the robot.
        posture: the default pose.
        feet: bodies.
        height: of the base over the ground in m.
        speeds: joint -> rated speed of a URDF.
        user: figures that are given.
    """
    legs = {i for foot in feet for i in anatomy.path(foot)}
    weight = GRAVITY * float(anatomy.model.body_mass[anatomy.bodies].sum())
    return [
        _figures(
            anatomy, i, _assumed_effort(anatomy, posture, i, weight, height, i in legs), speeds.get(name, 0.0), user
        )
        for i, name in enumerate(anatomy.names)
    ]


def _figures(anatomy: Anatomy, i: int, assumed_effort: Figure, speed: float, user: ImportSettings) -> JointFigures:
    """Return the figures of joint `i`.

    Args:
        anatomy: of the robot.
        i: position of the joint.
        assumed_effort: limit of a joint without one.
        speed: of the file, 0 for none.
        user: figures that are given.
    """
    name = anatomy.names[i]
    servo = _servo(anatomy, anatomy.joints[i])
    given = {kind: user.given(kind, name) for kind in user.figures}

    def first(kind: str, of_file: float | None, assumed: float, rule: str) -> Figure:
        own = given.get(kind)
        if own is not None:
            return Figure(own, f"--{kind}")
        return Figure(_rounded(of_file), "file") if of_file else Figure(_rounded(assumed), rule)

    effort = first("effort", servo.effort, assumed_effort.value, assumed_effort.source)
    dof = int(anatomy.model.jnt_dofadr[anatomy.joints[i]])
    own = float(anatomy.model.dof_armature[dof])
    if servo.stiffness and not own and given.get("armature") is None:
        armature = Figure(0.0, "file")
    else:
        away, unit = (SLIDE_SATURATION, "m") if anatomy.is_slide(i) else (SATURATION, "rad")
        armature = first(
            "armature", own, effort.value / (away * FREQUENCY**2), f"assumed: effort limit at {away:g} {unit}"
        )
    rule = "armature, 10 Hz"
    stiffness = first("kp", servo.stiffness, armature.value * FREQUENCY**2, rule)
    inertia = np.sqrt(stiffness.value * armature.value)
    if servo.stiffness and given.get("kd") is None and (given.get("kp") is None or not armature.value):
        damping = Figure(_rounded(servo.damping or 0.0), "file")
    else:
        damping = first("kd", None, 2 * DAMPING_RATIO * inertia, f"damping ratio {DAMPING_RATIO:g}")
    return JointFigures(name, effort, armature, stiffness, damping, first("speed", speed, SPEED, "assumed"))


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _assumed_effort(anatomy: Anatomy, posture: Posture, i: int, weight: float, height: float, leg: bool) -> Figure:
    """Return the effort limit of joint `i` by the rule for its kind.

    Args:
        anatomy: of the robot.
        posture: the default pose.
        i: position of the joint.
        weight: of the robot in N.
        height: of the base over the ground in m.
        leg: whether a foot is below the joint.
    """
    model = anatomy.model
    bodies = anatomy.below(int(model.jnt_bodyid[anatomy.joints[i]]))
    mass = model.body_mass[bodies]
    if anatomy.is_slide(i):
        carried = weight if leg else GRAVITY * float(mass.sum())
        effort, rule = HOLDING * carried, f"{HOLDING:g} × weight that it carries"
    elif leg:
        return Figure(LEG_SHARE * weight * height, f"assumed: {LEG_SHARE:g} weight × height of the base")
    else:
        centre = (mass[:, None] * posture.centres[bodies]).sum(0) / max(float(mass.sum()), 1e-9)
        arm = float(np.linalg.norm(centre - posture.anchors[i]))  # gravity in the worst of all directions
        effort, rule = HOLDING * GRAVITY * float(mass.sum()) * arm, f"{HOLDING:g} × torque that holds it level"
    return Figure(max(effort, LEAST_EFFORT), f"assumed: {rule}")


def _servo(anatomy: Anatomy, joint: int) -> _Servo:
    """Read the actuator of a joint; a gear is applied, so that all figures are those of the joint.

    Of several bounds of its torque the least one counts, as in MuJoCo.
    """
    import mujoco

    model = anatomy.model
    bounds = [_largest(model.jnt_actfrcrange[joint])] if model.jnt_actfrclimited[joint] else []
    direct = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
    drives = np.isin(model.actuator_trntype, direct)
    own = np.flatnonzero(drives & (model.actuator_trnid[:, 0] == joint))
    if not len(own):
        return _Servo(None, None, _least(bounds))
    i = int(own[0])
    gear, gain, bias = float(model.actuator_gear[i, 0]), model.actuator_gainprm[i], model.actuator_biasprm[i]
    if model.actuator_forcelimited[i]:
        bounds.append(abs(gear) * _largest(model.actuator_forcerange[i]))
    servo = model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_AFFINE and bias[1] < 0
    servo = servo and abs(bias[1] + gain[0]) <= 1e-6 * abs(gain[0])
    if servo:
        return _Servo(gear**2 * float(gain[0]), max(-(gear**2) * float(bias[2]), 0.0), _least(bounds))
    if model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_NONE and model.actuator_ctrllimited[i]:  # a motor
        bounds.append(abs(gear * float(gain[0])) * _largest(model.actuator_ctrlrange[i]))
    return _Servo(None, None, _least(bounds))


def _largest(bounds: np.ndarray) -> float:
    """Return the larger magnitude of a lower and an upper bound (2,)."""
    return float(np.abs(bounds).max())


def _least(bounds: Sequence[float]) -> float | None:
    """Return the least bound, None without one; a bound of 0 is a figure that the file leaves open."""
    return min((bound for bound in bounds if bound > 0), default=None)
