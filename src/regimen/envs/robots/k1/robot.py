"""Booster K1: a child-sized humanoid of 22 joints, with the gains and the pose that its maker walks it with.

The makers' joint names are kept, their prefixes `AA` and `A` included: they decide the order on the real robot.
"""

from __future__ import annotations

from pathlib import Path

from regimen.envs.robots.robot import Mirror, Robot, per_joint

ARM = ("Shoulder_Pitch", "Shoulder_Roll", "Elbow_Pitch", "Elbow_Yaw")
LEG = ("Hip_Pitch", "Hip_Roll", "Hip_Yaw", "Knee_Pitch", "Ankle_Pitch", "Ankle_Roll")
JOINTS = (
    *("AAHead_yaw", "Head_pitch"),
    *(f"{'A' if part == 'Shoulder_Pitch' else ''}{side}_{part}" for side in ("Left", "Right") for part in ARM),
    *(f"{side}_{part}" for side in ("Left", "Right") for part in LEG),
)
UPPER_BODY = ".*(Head|Shoulder|Elbow)_.*"

ROBOT = Robot(
    name="k1",
    mjcf=Path(__file__).with_name("k1.xml"),
    joints=JOINTS,
    default_joint_pos=per_joint(
        JOINTS,
        {
            ".*(Head_.*|Elbow_Pitch|Hip_Roll|Hip_Yaw|Ankle_Roll)": 0.0,
            ".*_Shoulder_Pitch": 0.2,
            "Left_Shoulder_Roll": -1.3,
            "Right_Shoulder_Roll": 1.3,
            "Left_Elbow_Yaw": -0.5,
            "Right_Elbow_Yaw": 0.5,
            ".*_Hip_Pitch": -0.2,
            ".*_Knee_Pitch": 0.4,
            ".*_Ankle_Pitch": -0.25,
        },
    ),
    stiffness=per_joint(JOINTS, {UPPER_BODY: 4.0, ".*_(Hip|Knee)_.*": 80.0, ".*_Ankle_.*": 30.0}),
    damping=per_joint(JOINTS, {UPPER_BODY: 1.0, ".*_(Hip|Knee|Ankle)_.*": 2.0}),
    effort_limit=per_joint(
        JOINTS,
        {
            ".*Head_.*": 6.0,
            ".*_(Shoulder|Elbow)_.*": 14.0,
            ".*_Hip_Pitch": 30.0,
            ".*_Hip_Roll": 35.0,
            ".*_(Hip_Yaw|Ankle_.*)": 20.0,
            ".*_Knee_Pitch": 40.0,
        },
    ),
    velocity_limit=per_joint(
        JOINTS,
        {
            UPPER_BODY: 18.0,
            ".*_Hip_Pitch": 7.1,
            ".*_Hip_Roll": 12.9,
            ".*_(Hip_Yaw|Ankle_.*)": 18.1,
            ".*_Knee_Pitch": 12.5,
        },
    ),
    armature=per_joint(
        JOINTS,
        {
            ".*Head_.*": 0.002,
            ".*_(Shoulder|Elbow)_.*": 0.001,
            ".*_Hip_Pitch": 0.0478125,
            ".*_Hip_Roll": 0.0339552,
            ".*_Hip_Yaw": 0.0282528,
            ".*_Knee_Pitch": 0.095625,
            ".*_Ankle_.*": 0.0565,
        },
    ),
    total_mass=19.666,
    base_body="Trunk",
    spawn_height=0.557,
    feet=("left_foot_link", "right_foot_link"),
    fall_bodies=("Trunk",),
    mirror=Mirror(swap=(("Left", "Right"), ("left", "right")), turned=".*_([Yy]aw|Roll)"),
    sources="BoosterRobotics booster_assets K1_22dof @486da0f (BSD-3-Clause); booster_train @b77e0e9 (Apache-2.0)",
)
