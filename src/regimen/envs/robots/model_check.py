"""Comparison of a compiled MJCF with its `Robot`: names, order, ranges and sensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import mujoco

    from regimen.envs.robots.robot import Robot


def require_matching_model(model: mujoco.MjModel, robot: Robot) -> None:
    """Raise unless the model has what Regimen reads of it; docs/add_a_robot.md lists it.

    Raises:
        ConfigError: one line for everything that is missing or stands in another order.
    """
    if problems := model_problems(model, robot):
        lines = "\n  ".join(problems)
        raise ConfigError(f"The model {robot.mjcf} does not match the Robot `{robot.name}`:\n  {lines}")


def model_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    """Return one line for everything that is missing in the model or stands in another order than in `robot`."""
    lines = _joint_problems(model, robot)
    actuators = [model.actuator(i).name for i in range(model.nu)]
    if actuators != list(robot.joints):
        lines.append(f"actuators: {_listed(actuators)}; expected one per joint, named alike: {_listed(robot.joints)}")
    bodies = {model.body(i).name for i in range(model.nbody)}
    if robot.base_body not in bodies:
        lines.append(f"base_body: the model has no body `{robot.base_body}`")
    sizes = {model.sensor(i).name: int(model.sensor(i).dim[0]) for i in range(model.nsensor)}
    for body in (*robot.feet, *robot.fall_bodies):
        if sizes.get(f"contact_{body}") != 4:
            wanted = 'data="found force" reduce="netforce"'
            lines.append(f"sensors: no `contact_{body}` of 4 numbers; expected <contact … {wanted}/>")
    sites = {name.partition("_")[2] for name in sizes if name.startswith(("pos_", "vel_"))} | set(robot.feet)
    wanted_sensors = [f"{kind}_{site}" for site in sorted(sites) for kind in ("pos", "vel")]
    return lines + [f"sensors: no `{name}`" for name in wanted_sensors if name not in sizes]


def _joint_problems(model: mujoco.MjModel, robot: Robot) -> list[str]:
    import mujoco

    names = [model.joint(i).name for i in range(model.njnt)]
    free = [bool(kind == mujoco.mjtJoint.mjJNT_FREE) for kind in model.jnt_type]
    if any(free) != robot.floating_base or sum(free) > 1 or (any(free) and not free[0]):
        wanted = "one free joint before all others" if robot.floating_base else "no free joint"
        return [f"joints: {_listed(names)}; floating_base={robot.floating_base} expects {wanted}"]
    hinges = [name for name, is_free in zip(names, free, strict=True) if not is_free]
    if hinges != list(robot.joints):
        return [f"joints: {_listed(hinges)}; Robot.joints has {_listed(robot.joints)}"]
    limited = model.jnt_limited[-len(hinges) :]
    return [f"joint {name}: no range" for name, has in zip(hinges, limited, strict=True) if not has]


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(name or "<unnamed>" for name in names) or "none"
