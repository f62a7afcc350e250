"""Unitree Go2: a 12-joint quadruped, with the gains and pose Isaac Lab walks it with."""

from __future__ import annotations

from pathlib import Path

from regimen.envs.robots.robot import Mirror, Robot, per_joint

JOINTS = tuple(f"{leg}_{part}_joint" for leg in ("FL", "FR", "RL", "RR") for part in ("hip", "thigh", "calf"))

ROBOT = Robot(
    name="go2",
    mjcf=Path(__file__).with_name("go2.xml"),
    joints=JOINTS,
    default_joint_pos=per_joint(
        JOINTS, {"[FR]L_hip_.*": 0.1, "[FR]R_hip_.*": -0.1, "F._thigh_.*": 0.8, "R._thigh_.*": 1.0, ".*_calf_.*": -1.5}
    ),
    stiffness=per_joint(JOINTS, {".*": 25.0}),
    damping=per_joint(JOINTS, {".*": 0.5}),
    effort_limit=per_joint(JOINTS, {".*": 23.5}),
    velocity_limit=per_joint(JOINTS, {".*": 30.0}),
    armature=per_joint(JOINTS, {".*": 0.01}),
    total_mass=15.206,
    base_body="base",
    spawn_height=0.335,
    feet=("FL_foot", "FR_foot", "RL_foot", "RR_foot"),
    fall_bodies=("base",),
    mirror=Mirror(swap=(("FL", "FR"), ("RL", "RR")), turned=".*_hip_joint"),
    sources="mujoco_menagerie unitree_go2 (BSD-3-Clause); Isaac Lab 2.3.2 UNITREE_GO2_CFG (BSD-3-Clause)",
)
