"""A planar arm of two links: small enough that a policy trains in seconds."""

from __future__ import annotations

from pathlib import Path

from regimen.envs.robots.robot import Robot, per_joint

JOINTS = ("shoulder", "elbow")

ROBOT = Robot(
    name="reach_arm",
    mjcf=Path(__file__).with_name("reach_arm.xml"),
    joints=JOINTS,
    default_joint_pos=per_joint(JOINTS, {"shoulder": 0.0, "elbow": 0.8}),
    stiffness=per_joint(JOINTS, {".*": 20.0}),
    damping=per_joint(JOINTS, {".*": 1.0}),
    effort_limit=per_joint(JOINTS, {".*": 20.0}),
    velocity_limit=per_joint(JOINTS, {".*": 20.0}),
    armature=per_joint(JOINTS, {".*": 0.01}),
    total_mass=2.3,
    base_body="base",
    floating_base=False,
    sources="made up for this project",
)
