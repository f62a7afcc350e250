"""Unitree H1: a 19-joint humanoid, with the gains and pose Isaac Lab walks it with."""

from __future__ import annotations

from pathlib import Path

from regimen.envs.robots.robot import Mirror, Robot, per_joint

LEG = ("hip_yaw", "hip_roll", "hip_pitch", "knee", "ankle")
ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow")
JOINTS = (
    *(f"{side}_{part}" for side in ("left", "right") for part in LEG),
    "torso",
    *(f"{side}_{part}" for side in ("left", "right") for part in ARM),
)

ROBOT = Robot(
    name="h1",
    mjcf=Path(__file__).with_name("h1.xml"),
    joints=JOINTS,
    default_joint_pos=per_joint(
        JOINTS,
        {
            ".*_hip_(yaw|roll)|torso|.*_shoulder_(roll|yaw)": 0.0,
            ".*_hip_pitch": -0.28,
            ".*_knee": 0.79,
            ".*_ankle": -0.52,
            ".*_shoulder_pitch": 0.28,
            ".*_elbow": 0.52,
        },
    ),
    stiffness=per_joint(
        JOINTS,
        {
            ".*_hip_(yaw|roll)": 150.0,
            ".*_(hip_pitch|knee)|torso": 200.0,
            ".*_ankle": 20.0,
            ".*_(shoulder_.*|elbow)": 40.0,
        },
    ),
    damping=per_joint(JOINTS, {".*_(hip_.*|knee)|torso": 5.0, ".*_ankle": 4.0, ".*_(shoulder_.*|elbow)": 10.0}),
    effort_limit=per_joint(JOINTS, {".*_ankle": 100.0, "(?!.*ankle).*": 300.0}),
    velocity_limit=per_joint(
        JOINTS,
        {
            ".*_hip_.*|torso": 23.0,
            ".*_knee": 14.0,
            ".*_(ankle|shoulder_pitch|shoulder_roll)": 9.0,
            ".*_(shoulder_yaw|elbow)": 20.0,
        },
    ),
    armature=per_joint(JOINTS, {".*": 0.1}),
    total_mass=51.437,
    base_body="pelvis",
    spawn_height=0.99,
    feet=("left_ankle_link", "right_ankle_link"),
    fall_bodies=("torso_link", "pelvis"),
    mirror=Mirror(swap=(("left", "right"),), turned="torso|.*_(hip_yaw|hip_roll|shoulder_roll|shoulder_yaw)"),
    sources="mujoco_menagerie unitree_h1 (BSD-3-Clause); Isaac Lab 2.3.2 H1_CFG (BSD-3-Clause); unitree H1 URDF",
)
