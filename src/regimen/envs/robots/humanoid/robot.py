"""A humanoid of 28 joints made of primitives, with the lengths of the motion clips that it imitates."""

from __future__ import annotations

from pathlib import Path

from regimen.envs.robots.robot import Mirror, Robot, per_joint

JOINTS = (
    *(f"{part}_{axis}" for part in ("abdomen", "neck") for axis in "xyz"),
    *(name for side in ("right", "left") for name in (*(f"{side}_shoulder_{axis}" for axis in "xyz"), f"{side}_elbow")),
    *(
        name
        for side in ("right", "left")
        for name in (
            *(f"{side}_hip_{axis}" for axis in "xyz"),
            f"{side}_knee",
            *(f"{side}_ankle_{axis}" for axis in "xyz"),
        )
    ),
)

ROBOT = Robot(
    name="humanoid",
    mjcf=Path(__file__).with_name("humanoid.xml"),
    joints=JOINTS,
    default_joint_pos=per_joint(
        JOINTS,
        {
            "(abdomen|neck)_.|.*_shoulder_[yz]|.*_(hip|ankle)_[xz]": 0.0,
            "right_shoulder_x": -0.1,
            "left_shoulder_x": 0.1,
            ".*_elbow": -0.5,
            ".*_hip_y|.*_ankle_y": -0.25,
            ".*_knee": 0.5,
        },
    ),
    stiffness=per_joint(
        JOINTS,
        {
            "abdomen_.": 600.0,
            "neck_.": 50.0,
            ".*_shoulder_.|.*_ankle_.": 200.0,
            ".*_elbow": 150.0,
            ".*_hip_.|.*_knee": 300.0,
        },
    ),
    damping=per_joint(
        JOINTS,
        {
            "abdomen_.": 60.0,
            "neck_.": 5.0,
            ".*_shoulder_.|.*_ankle_.": 20.0,
            ".*_elbow": 15.0,
            ".*_hip_.|.*_knee": 30.0,
        },
    ),
    effort_limit=per_joint(
        JOINTS,
        {
            "abdomen_.": 200.0,
            "neck_.": 50.0,
            ".*_shoulder_.": 100.0,
            ".*_elbow": 80.0,
            ".*_hip_.": 300.0,
            ".*_knee": 250.0,
            ".*_ankle_.": 120.0,
        },
    ),
    velocity_limit=per_joint(JOINTS, {".*": 30.0}),
    armature=per_joint(
        JOINTS,
        {
            "abdomen_.": 0.025,
            "neck_.": 0.017,
            ".*_(shoulder|hip)_.|.*_knee": 0.02,
            ".*_elbow": 0.015,
            ".*_ankle_.": 0.01,
        },
    ),
    total_mass=48.852,
    base_body="pelvis",
    spawn_height=0.866,
    feet=("left_foot", "right_foot"),
    fall_bodies=("torso", "pelvis", "head"),
    mirror=Mirror(swap=(("left", "right"),), turned="(abdomen|neck|.*_shoulder|.*_hip|.*_ankle)_[xz]"),
    sources="lengths: the clips of isaaclab 3.0.0 (BSD-3-Clause); the rest designed for this project",
)
