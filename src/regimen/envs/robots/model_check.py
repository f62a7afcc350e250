"""Comparison of a compiled MJCF with its `Robot`: joints, actuators, gains, ranges, base and sensors.

`python -m regimen.envs.robots.model_check <robot>` prints what differs, for a process that may not import MuJoCo.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from regimen.config.static_modules import use_current_folder
from regimen.envs.robots.mjcf_file import file_problems
from regimen.envs.robots.robot import load
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mujoco

    from regimen.envs.robots.robot import Robot
    from regimen.envs.terrain.height_field import HeightField

GROUND, GROUND_DEPTH = "ground", 1.0
"""Name of the height field, and how far it reaches below its lowest point, in m."""

TOLERANCE = 1e-3
"""Largest relative difference of a gain, a limit or an armature that counts as equal."""


def compile_model(robot: Robot, dt: float | None = None, ground: HeightField | None = None) -> mujoco.MjModel:
    """Return the compiled model of `robot`, which matches its description.

    Args:
        robot: names the MJCF.
        dt: physics step in seconds; None for that of the MJCF.
        ground: height field that takes the place of the floor; None leaves the MJCF as it is.

    Raises:
        ConfigError: the file is missing or no MJCF, MuJoCo does not compile it, or it does not match `robot`.
    """
    import mujoco

    if problems := robot.problems() or file_problems(robot.mjcf):
        raise ConfigError(f"The Robot `{robot.name}`:\n  " + "\n  ".join(problems))
    try:
        spec = mujoco.MjSpec.from_file(os.fspath(robot.mjcf))
        spec.option.timestep = spec.option.timestep if dt is None else dt
        spec.memory = 1 << 20  # the default arena is 14 MB for each thread's MjData
        if ground is not None:
            lay_ground(spec, ground, robot)
        model = spec.compile()
    except (ValueError, mujoco.FatalError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(
            f"MuJoCo does not compile the model {robot.mjcf} of the Robot `{robot.name}`: {text}"
        ) from error
    require_matching_model(model, robot)
    return model


def lay_ground(spec: mujoco.MjSpec, ground: HeightField, robot: Robot) -> None:
    """Replace the floor of a model, its one plane, by a height field of the same material and friction.

    Args:
        spec: the model.
        ground: heights.
        robot: for the message.

    Raises:
        ConfigError: the model has no floor, or more than one.
    """
    import mujoco

    planes = [geom for geom in spec.worldbody.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE]
    if len(planes) != 1:
        raise ConfigError(
            f"The model {robot.mjcf} of the Robot `{robot.name}` has {len(planes)} planes in its world body; uneven "
            "ground replaces exactly one, the floor."
        )
    heights = ground.heights.numpy()
    low, high = float(heights.min()), float(heights.max())
    half = [(end - start) / 2 for start, end in zip(ground.start, ground.end, strict=True)]
    rows = heights.T  # MuJoCo's rows lie along y
    spec.add_hfield(
        name=GROUND,
        nrow=rows.shape[0],
        ncol=rows.shape[1],
        size=[*half, max(high - low, 1e-3), GROUND_DEPTH],
        userdata=rows.ravel(),
    )
    floor = planes[0]
    floor.type, floor.hfieldname = mujoco.mjtGeom.mjGEOM_HFIELD, GROUND
    floor.pos = [ground.start[0] + half[0], ground.start[1] + half[1], low]


def require_matching_model(model: mujoco.MjModel, robot: Robot) -> None:
    """Raise unless the model has what Regimen reads of it; docs/add_a_robot.md lists it.

    Raises:
        ConfigError: one line for everything that is missing or differs.
    """
    if problems := model_problems(model, robot):
        lines = "\n  ".join(problems)
        raise ConfigError(f"The model {robot.mjcf} does not match the Robot `{robot.name}`:\n  {lines}")


def model_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    """Return one line for everything that is missing in the model or differs from `robot`."""
    if problems := robot.problems():
        return problems
    joints, actuators = _joint_problems(model, robot), _actuator_problems(model, robot)
    lines = joints + actuators
    if not joints:
        lines += _range_problems(model, robot)
    if not joints and not actuators:
        lines += _servo_problems(model, robot)
    return lines + _base_problems(model, robot) + _sensor_problems(model, robot)


def _joint_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    """Compare names, kinds and order of the joints."""
    import mujoco

    names = [model.joint(i).name for i in range(model.njnt)]
    bodies = [model.body(int(i)).name for i in model.jnt_bodyid]
    free = [bool(kind == mujoco.mjtJoint.mjJNT_FREE) for kind in model.jnt_type]
    beside = [i for i in range(model.njnt) if free[i] and bodies[i] != robot.base_body]
    lines = [
        f"joints: the body `{bodies[i]}` has a free joint and is not base_body; a model contains one robot and nothing "
        "else that moves: remove it, or weld it by removing its joint"
        for i in beside
    ]
    if any(free) != robot.floating_base and not beside:
        wanted = f"a free joint of `{robot.base_body}` before all others" if robot.floating_base else "no free joint"
        return [f"joints: {_listed(names)}; floating_base={robot.floating_base} expects {wanted}"]
    if robot.floating_base and any(free) and not free[0]:
        lines.append(f"joints: {_listed(names)}; expected the free joint of `{robot.base_body}` before all others")
    moved = [(name, body) for name, body, is_free in zip(names, bodies, free, strict=True) if not is_free]
    own = [name for name, _ in moved]
    lines += [
        f"joints: `{name or '<unnamed>'}` of the body `{body}` is not in Robot.joints, so no action moves it: add it "
        "there with an actuator, or weld the body by removing the joint"
        for name, body in moved
        if name not in robot.joints
    ]
    lines += [f"joints: the model has no joint `{n}`. {did_you_mean(n, own)}" for n in robot.joints if n not in own]
    if not lines and own != list(robot.joints):
        lines.append(f"joints: {_listed(own)}; Robot.joints has them in another order: {_listed(robot.joints)}")
    ball = [n for n, kind in zip(names, model.jnt_type, strict=True) if kind == mujoco.mjtJoint.mjJNT_BALL]
    return lines + [
        f"joint {name}: a ball joint has three degrees of freedom; expected hinge or slide" for name in ball
    ]


def _range_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    """Compare ranges with the default pose, and the armature."""
    lines = []
    for name, default, armature in zip(robot.joints, robot.default_joint_pos, robot.armature, strict=True):
        joint = model.joint(name)
        (low, high), own = joint.range, float(model.dof_armature[int(joint.dofadr[0])])
        if not model.jnt_limited[joint.id]:
            lines.append(f"joint {name}: no range")
        elif not low - 1e-6 <= default <= high + 1e-6:
            outside = f"default_joint_pos of joint {name}: {default:g} rad is outside its range {low:.4g} to {high:.4g}"
            lines.append(f'{outside} (ranges are in degrees unless the MJCF has <compiler angle="radian"/>)')
        if not _equal(own, armature):
            lines.append(f"armature of joint {name}: {own:g} in the model, {armature:g} in the Robot")
    return lines


def _actuator_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    """Compare what the actuators drive with the joints: one actuator each, in their order."""
    import mujoco

    if model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_ACTUATION:
        return ['actuators: switched off by <flag actuation="disable"/>; remove the flag']
    driven = [_driven(model, i) for i in range(len(model.actuator_trntype))]
    lines = [
        f"actuators: `{model.actuator(i).name}` drives {what[0]} `{what[1]}`; expected a joint: {_listed(robot.joints)}"
        for i, what in enumerate(driven)
        if what[0] != "joint"
    ]
    names = [name for kind, name in driven if kind == "joint"]
    lines += [
        f"actuators: {names.count(n)} drive the joint {n}; expected one for each of {_listed(robot.joints)}"
        for n in robot.joints
        if names.count(n) > 1
    ]
    off = [
        model.actuator(i).name
        for i in range(len(model.actuator_trntype))
        if 0 <= model.actuator_group[i] < 31 and model.opt.disableactuator & (1 << int(model.actuator_group[i]))
    ]
    lines += [f"actuators: `{name}` is switched off by actuatorgroupdisable; remove its group there" for name in off]
    if names != list(robot.joints) and not lines:
        wanted = f"expected one per joint in the order of Robot.joints: {_listed(robot.joints)}"
        lines.append(f"actuators: they drive {_listed(names)}; {wanted}")
    return lines


def _driven(model: mujoco.MjModel, i: int) -> tuple[str, str]:
    """Return kind and name of what actuator `i` drives."""
    import mujoco

    kinds, target = mujoco.mjtTrn, int(model.actuator_trnid[i, 0])
    kind = kinds(int(model.actuator_trntype[i]))
    if kind in (kinds.mjTRN_JOINT, kinds.mjTRN_JOINTINPARENT):
        return "joint", model.joint(target).name
    if kind == kinds.mjTRN_TENDON:
        return "tendon", model.tendon(target).name
    if kind in (kinds.mjTRN_SITE, kinds.mjTRN_SLIDERCRANK):
        return "site", model.site(target).name
    return "body", model.body(target).name if kind == kinds.mjTRN_BODY else ""


def _servo_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    """Compare actuator i, which drives joint i, with the gains and the limit of that joint."""
    lines = []
    figures = zip(robot.joints, robot.stiffness, robot.damping, robot.effort_limit, strict=True)
    for i, (joint, stiffness, damping, effort) in enumerate(figures):
        if kind := _no_servo(model, i):
            lines.append(
                f'actuator of joint {joint}: {kind}; expected <position joint="{joint}" kp="{stiffness:g}" '
                f'kv="{damping:g}" forcerange="{-effort:g} {effort:g}"/>'
            )
            continue
        kp, kv, gear = model.actuator_gainprm[i, 0], -model.actuator_biasprm[i, 2], model.actuator_gear[i, 0]
        low, high = model.actuator_forcerange[i] if model.actuator_forcelimited[i] else (-float("inf"), float("inf"))
        lines += [
            f"{field} of joint {joint}: {here:g} in the model ({attribute}), {there:g} in the Robot"
            for field, attribute, here, there in (
                ("stiffness", "kp", kp, stiffness),
                ("damping", "kv", kv, damping),
                ("effort_limit", "forcerange", high, effort),
                ("effort_limit", "forcerange", -low, effort),
            )
            if not _equal(here, there)
        ]
        if gear != 1.0:
            lines.append(f"actuator of joint {joint}: gear={gear:g}; expected 1, a target in rad of the joint")
        lines += _bound_problems(model, i, joint, effort)
    return list(dict.fromkeys(lines))


def _no_servo(model: mujoco.MjModel, i: int) -> str:
    """Return what actuator `i` is if it is no position servo without dynamics, otherwise nothing."""
    import mujoco

    gain, bias = model.actuator_gainprm[i], model.actuator_biasprm[i]
    if model.actuator_dyntype[i] != mujoco.mjtDyn.mjDYN_NONE:
        return "an actuator with an activation state (a time constant, an integrator or a muscle)"
    if model.actuator_gaintype[i] != mujoco.mjtGain.mjGAIN_FIXED:
        return "an actuator whose gain depends on its state"
    if model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_NONE:
        return "a motor, which takes a torque and no position"
    if model.actuator_biastype[i] != mujoco.mjtBias.mjBIAS_AFFINE or bias[0] != 0.0:
        return "an actuator with a bias of its own"
    if bias[1] == 0.0:
        return "a velocity servo, which takes a speed and no position"
    return "" if _equal(-bias[1], gain[0]) else f"gain {gain[0]:g} and position bias {bias[1]:g} are no position servo"


def _bound_problems(model: mujoco.MjModel, i: int, joint: str, effort: float) -> list[str]:
    """Return a line for each bound that silently cuts targets or torques of actuator `i`."""
    lines, j = [], model.joint(joint).id
    low, high = model.jnt_range[j]
    if model.actuator_ctrllimited[i]:
        least, most = model.actuator_ctrlrange[i]
        if least > low + 1e-6 or most < high - 1e-6:
            lines.append(
                f"actuator of joint {joint}: ctrlrange {least:g} to {most:g} cuts targets within the joint's range "
                f"{low:g} to {high:g}; widen it, or leave it away"
            )
    if model.jnt_actfrclimited[j] and (-model.jnt_actfrcrange[j, 0] < effort * (1 - TOLERANCE) or
                                       model.jnt_actfrcrange[j, 1] < effort * (1 - TOLERANCE)):  # fmt: skip
        least, most = model.jnt_actfrcrange[j]
        lines.append(
            f"joint {joint}: actuatorfrcrange {least:g} to {most:g} is less than effort_limit {effort:g} of the Robot"
        )
    return lines


def _base_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    """Return a line if there is no `base_body`, or joints of the robot are not below it."""
    names = [model.body(i).name for i in range(model.nbody)]
    if robot.base_body not in names:
        return [f"base_body: the model has no body `{robot.base_body}`. {did_you_mean(robot.base_body, names)}"]
    base = names.index(robot.base_body)
    joints = {model.joint(i).name: int(body) for i, body in enumerate(model.jnt_bodyid)}
    outside = [n for n in robot.joints if n in joints and not _is_below(model, joints[n], base)]
    return [f"base_body: {_listed(outside)} not below the body `{robot.base_body}`"] if outside else []


def _is_below(model: mujoco.MjModel, body: int, base: int) -> bool:
    while body not in (0, base):
        body = int(model.body_parentid[body])
    return body == base


def _sensor_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    """Return a line for each sensor that is missing, or measures something else than its name says."""
    import mujoco

    sizes = {model.sensor(i).name: int(model.sensor(i).dim[0]) for i in range(model.nsensor)}
    kinds = {model.sensor(i).name: model.sensor_type[i] for i in range(model.nsensor)}
    lines = []
    for body in dict.fromkeys((*robot.feet, *robot.fall_bodies)):
        name = f"contact_{body}"
        if kinds.get(name) != mujoco.mjtSensor.mjSENS_CONTACT or sizes[name] != 4:
            wanted = 'data="found force" reduce="netforce"'
            lines.append(f"sensors: no `{name}` of 4 numbers; expected <contact … {wanted}/>")
    prefixes = {"pos": mujoco.mjtSensor.mjSENS_FRAMEPOS, "vel": mujoco.mjtSensor.mjSENS_FRAMELINVEL}
    elements = {"pos": "<framepos>", "vel": "<framelinvel>"}
    sites = {name.partition("_")[2] for name in sizes if name.startswith(("pos_", "vel_"))} | set(robot.feet)
    measured = {model.sensor(i).name: _measured(model, i) for i in range(model.nsensor)}
    for site in sorted(sites):
        missing = [f"{prefix}_{site}" for prefix in prefixes if f"{prefix}_{site}" not in kinds]
        lines += [f"sensors: no `{name}`" for name in missing]
        lines += [
            f"sensors: `{prefix}_{site}` is of another kind; expected {elements[prefix]}"
            for prefix, kind in prefixes.items()
            if kinds.get(f"{prefix}_{site}", kind) != kind
        ]
        position, velocity = (measured.get(f"{prefix}_{site}") for prefix in prefixes)
        if not missing and position != velocity:
            lines.append(f"sensors: `pos_{site}` measures `{position}` and `vel_{site}` measures `{velocity}`")
    return lines + _crossed_sensors(robot, measured)


def _measured(model: mujoco.MjModel, i: int) -> str:
    """Return the name of the object of sensor `i`: for a contact of two, the second."""
    import mujoco

    contact = model.sensor_type[i] == mujoco.mjtSensor.mjSENS_CONTACT
    kind, number = model.sensor_objtype[i], int(model.sensor_objid[i])
    if contact and model.sensor_refid[i] >= 0:
        kind, number = model.sensor_reftype[i], int(model.sensor_refid[i])
    return mujoco.mj_id2name(model, int(kind), number) or ""


def _crossed_sensors(robot: Robot, measured: dict[str, str]) -> list[str]:
    """Return a line for each sensor named after one foot or fall body that measures another."""
    names = (*robot.feet, *robot.fall_bodies)
    return [
        f"sensors: `{sensor}` measures `{seen}`, which is another body"
        for sensor, seen in measured.items()
        for kind, _, own in [sensor.partition("_")]
        if kind in ("contact", "pos", "vel") and own in names
        if (other := seen.removesuffix("_site")) in names and other != own
    ]


def _equal(one: float, other: float) -> bool:
    return bool(abs(one - other) <= TOLERANCE * max(abs(one), abs(other))) if one != other else True


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name or "<unnamed>" for name in names) or "none"


if __name__ == "__main__":
    use_current_folder()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a module of the user may print
            compile_model(load(sys.argv[1]))
    except ConfigError as error:
        print(error)
