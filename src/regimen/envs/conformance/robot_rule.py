"""The rule on the robot of a task: each joint is driven by its own target, with the gain and limit of its `Robot`."""

from __future__ import annotations

from typing import Any

import torch

from regimen.envs.conformance.rollouts import Probe, expect
from regimen.envs.vec_env import task_below

SMALL_RAD = 0.05
SMALL_SHARE = 0.25
"""Offsets of targets stay below the first, and below an offset that needs this share of the effort limit."""

LARGE_SHARE = 10.0
LEAST, MOST = 0.5, 1.5
"""Bounds of measured over described torque; the joint moves within the step that is measured."""

HEIGHT_M = 1.0
"""A floating base is lifted by this much, so that no contact acts on the joints."""


def check_robot(probe: Probe) -> str:
    """A target moved at one joint changes the torque of that joint, as its stiffness and its effort limit say."""
    with probe.open(1) as env:
        task = task_below(env)
        robot, world = getattr(task, "robot", None), getattr(task, "world", None)
        if robot is None or world is None:
            return "the task has no robot: nothing to compare"
        expect(list(world.joints) == list(robot.joints), f"the sim has joints {world.joints}, Robot {robot.joints}")
        count = len(robot.joints)
    with probe.open(count + 1) as env:
        task = task_below(env)
        stiffness, effort = (torch.tensor(v, device=env.device) for v in (robot.stiffness, robot.effort_limit))
        with_gains = getattr(task.world, "with_gains", torch.ones(count, dtype=torch.bool))
        small = torch.minimum(SMALL_SHARE * effort / stiffness, torch.full_like(effort, SMALL_RAD))
        for what, offset, wanted in (
            ("stiffness", small, stiffness * small),
            ("effort_limit", LARGE_SHARE * effort / stiffness, effort),
        ):
            change, moved = _torque_change(task, offset)
            own = change.diagonal()
            other = (change - own.diag()).abs().max(1)
            for j, joint in enumerate(robot.joints):
                here, there, due = float(own[j]), float(other.values[j]), float(wanted[j])
                expect(
                    here > 0 and there < here,
                    f"a higher target of joint {joint} changes its own torque by {here:.3g} N·m and that of "
                    f"{robot.joints[int(other.indices[j])]} by {there:.3g} N·m: the sim drives another joint",
                )
                expect(
                    LEAST <= here / due <= MOST or not with_gains[j],
                    f"{what} of joint {joint}: the sim applies {here:.3g} N·m, the Robot says {due:.3g} N·m",
                )
                expect(
                    float(moved[j]) > 0,
                    f"a higher target of joint {joint} changes its torque, and the joint does not move up: the sim "
                    "does not apply the torque that it reports",
                )
    return f"{count} joints follow their own targets, with the stiffness and effort limits of `{robot.name}`"


def _torque_change(task: Any, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the effects of a higher target of joint j alone: row j of (J, J) N·m, and its speed, (J,) rad/s.

    Targets of actuators with a delay arrive later: each row is of the physics step with the largest change of joint j.
    """
    count, device = len(offset), offset.device
    pose = task.default_root_pose.repeat(count + 1, 1)
    pose[:, 2] += HEIGHT_M
    start = task.default_joint_pos.repeat(count + 1, 1)
    zeros = torch.zeros_like(start)
    task.world.reset(
        torch.arange(count + 1, device=device), pose, torch.zeros(count + 1, 6, device=device), start, zeros
    )
    targets = start.clone()
    targets[1:] += offset.diag()
    task.world.set_joint_targets(targets)
    changes, speeds = [], []
    for _ in range(1 + getattr(task.world, "most_delay", 0)):
        task.world.step(1)
        state = task.world.read()
        changes.append(state.joint_torque[1:] - state.joint_torque[:1])
        speeds.append((state.joint_vel[1:] - state.joint_vel[:1]).diagonal())
    steps = torch.stack(changes)  # (steps, J, J)
    largest = steps.diagonal(dim1=1, dim2=2).argmax(0)
    return steps[largest, torch.arange(count, device=device)], torch.stack(speeds).amax(0)
