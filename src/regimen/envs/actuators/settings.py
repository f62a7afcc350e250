"""Settings of a task's actuators: joints, numbers, network inputs. Nothing here imports torch: preflight reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from regimen.envs.robots.robot import match
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.task_schema import ActuatorCfg
    from regimen.envs.robots.robot import Robot

NUMBERS = {
    "stiffness": "stiffness",
    "damping": "damping",
    "effort_limit": "effort_limit",
    "velocity_limit": "velocity_limit",
    "saturation_effort": "effort_limit",
}
"""Parameter with one number for each joint -> field of the `Robot` that is its default."""

POSITIVE = ("effort_limit", "velocity_limit", "saturation_effort")
"""Those of them that are greater than 0; the others may be 0."""

NEEDED = {"dc_motor": ("saturation_effort", "velocity_limit")}
"""Actuator -> parameters whose default has to be valid, too."""

NETWORK = "actuator_net"
"""The actuator that reads `NETWORK_FILE`."""

INPUT_ORDERS = ("pos_vel", "vel_pos")
"""Orders of the columns of a network's input."""

MOST_PAST = 1000
"""Physics steps that a network looks back at most: as many values of each joint are kept."""


def actuated_joints(actuators: Mapping[str, ActuatorCfg | None], robot: Robot) -> dict[str, tuple[str, ...]]:
    """Return the joints of each actuator that is not switched off, in the robot's order.

    Raises:
        ConfigError: a pattern matches nothing, or a joint belongs to two actuators.
    """
    joints: dict[str, tuple[str, ...]] = {}
    for name, cfg in actuators.items():
        if cfg is None:
            continue
        own = match(robot.joints, *cfg.joints)
        for other, taken in joints.items():
            if both := [joint for joint in own if joint in taken]:
                raise ConfigError(
                    f"actuators.{name}.joints: {', '.join(both)} belong to env.actuators.{other} as well; leave them "
                    f"out of one, or set env.actuators.{other}=null."
                )
        joints[name] = own
    return joints


def numbers(name: str, given: float | Mapping[str, float] | None, joints: Sequence[str], robot: Robot) -> list[float]:
    """Return a parameter of an actuator for each of its joints.

    Args:
        name: one of `NUMBERS`.
        given: a number, or numbers by regular expression of the joint's name; what is not given is the robot's.
        joints: K names.
        robot: with the defaults.

    Raises:
        ConfigError: a number is out of bounds, an expression matches no joint, or a joint has two numbers.
    """
    default = getattr(robot, NUMBERS[name])
    values = {joint: float(default[robot.joints.index(joint)]) for joint in joints}
    table = given if isinstance(given, Mapping) else {} if given is None else {".*": given}
    seen: dict[str, str] = {}
    for pattern, value in table.items():
        try:
            own = match(tuple(joints), pattern)
        except (ConfigError, re.error) as error:
            raise ConfigError(f"{name}: {error}") from error
        for joint in own:
            if joint in seen:
                raise ConfigError(f"{name}: `{seen[joint]}` and `{pattern}` both match {joint}; expected one.")
            seen[joint], values[joint] = pattern, float(value)
    for joint, value in values.items():
        if not math.isfinite(value) or value < 0 or (name in POSITIVE and value == 0):
            least = "more than 0" if name in POSITIVE else "0 or more"
            raise ConfigError(f"{name}={value:g} for joint {joint}: expected {least}.")
    return list(values.values())


def robot_with(actuators: Mapping[str, ActuatorCfg | None], robot: Robot) -> Robot:
    """Return a robot with the gains and limits that the actuators of a task state in place of its own.

    Raises:
        ConfigError: see `actuated_joints` and `numbers`.
    """
    fields = {name: list(getattr(robot, name)) for name in ("stiffness", "damping", "effort_limit", "velocity_limit")}
    joints = actuated_joints(actuators, robot)
    if not joints:
        return robot
    for name, own in joints.items():
        cfg = actuators[name]
        assert cfg is not None
        for field, values in fields.items():
            if field in cfg.params:
                for joint, value in zip(own, numbers(field, cfg.params[field], own, robot), strict=True):
                    values[robot.joints.index(joint)] = value
    return replace(robot, **{name: tuple(values) for name, values in fields.items()})  # type: ignore[arg-type]


def problems(actuators: Mapping[str, ActuatorCfg | None], robot: Robot) -> Iterator[tuple[str, str]]:
    """Yield (dotted key below the task, message) of each invalid set of joints and each invalid number."""
    for name, cfg in actuators.items():
        if cfg is None:
            continue
        before = {key: actuators[key] for key in list(actuators)[: list(actuators).index(name)]}
        try:
            joints = match(robot.joints, *cfg.joints)
        except (ConfigError, re.error):
            continue  # preflight reports patterns without a match for all sections of a task
        try:
            actuated_joints({**before, name: cfg}, robot)
        except ConfigError as error:
            yield f"actuators.{name}.joints", str(error)
        for key in NUMBERS:
            if key not in cfg.params and key not in NEEDED.get(cfg.func, ()):
                continue
            try:
                numbers(key, cfg.params.get(key), joints, robot)
            except (ConfigError, TypeError, ValueError) as error:
                yield f"actuators.{name}.params.{key}", f"actuators.{name}.params.{error}"


def network_problems(moments: Any, order: Any) -> dict[str, str]:
    """Return parameter -> problem of the inputs of a network.

    Args:
        moments: physics steps before the present one whose values are read.
        order: of the columns.
    """
    found = {}
    whole = isinstance(moments, list) and moments and all(isinstance(moment, int) for moment in moments)
    if not whole or not all(0 <= moment <= MOST_PAST for moment in moments):
        found["input_idx"] = f"input_idx={moments}: expected numbers of physics steps, 0 to {MOST_PAST}, at least one."
    if order not in INPUT_ORDERS:
        found["input_order"] = f"input_order={order}: {did_you_mean(str(order), INPUT_ORDERS)}"
    return found


def simulator_arguments(sim: Any, actuators: Mapping[str, ActuatorCfg | None], robot: Robot) -> dict[str, list[str]]:
    """Return `torque_joints` for the constructor of a simulator; nothing for a task without actuators.

    Args:
        sim: configuration of the simulator.
        actuators: of the task.
        robot: its robot.

    Raises:
        ConfigError: the simulator cannot apply torques.
    """
    joints = {joint for own in actuated_joints(actuators, robot).values() for joint in own}
    if not joints:
        return {}
    if not getattr(sim, "TORQUES", False):
        raise ConfigError(f"env.actuators: {cannot(type(sim).__name__.removesuffix('Cfg'), actuators)}")
    return {"torque_joints": [joint for joint in robot.joints if joint in joints]}


def cannot(sim: str, actuators: Mapping[str, ActuatorCfg | None]) -> str:
    """Return the message for a simulator that applies no torques."""
    off = " ".join(f"env.actuators.{name}=null" for name, cfg in actuators.items() if cfg is not None)
    return f"{sim} moves joints by its own servo alone: choose sim=mujoco, or {off}."
