"""Joints that the faults of a task can affect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regimen.envs.robots import robot

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv


def robot_joints(config: Config, env: VecEnv) -> list[str]:
    """Return all joint names of the robot, in the order of labels and torques."""
    name = getattr(config.env, "robot", None)
    return list(robot.load(name).joints) if name else list(env.io.action.joints)


def fault_joints(config: Config, env: VecEnv) -> list[str]:
    """Return the joints that the events of `env.evaluation.faults` can affect."""
    names = robot_joints(config, env)
    events = [config.env.events.get(name) for name in config.env.evaluation.faults]
    patterns = [event.params["joints"] for event in events if event is not None and "joints" in event.params]
    affected = {j for p in patterns for j in robot.match(tuple(names), *([p] if isinstance(p, str) else p))}
    return [name for name in names if name in affected]
