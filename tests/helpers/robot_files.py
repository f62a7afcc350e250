"""Files of robots as others write them: an MJCF with meshes and motors, and a URDF of a quadruped."""

from __future__ import annotations

import itertools
from pathlib import Path

LEG = """
<body name="{side}_hip" pos="0 {y} -.05">
  <joint name="{side}_hip_roll" axis="1 0 0" range="-.5 .5"/>
  <inertial pos="0 0 0" mass=".5" diaginertia=".001 .001 .001"/>
  <body name="{side}_thigh">
    <joint name="{side}_hip_pitch" axis="0 1 0" range="-1.5 1.5"/>
    <geom type="capsule" fromto="0 0 -.05 0 0 -.25" size=".03" mass="1"/>
    <body name="{side}_shin" pos="0 0 -.3">
      <joint name="{side}_knee" axis="0 1 0" range="-.1 2.2"/>
      <geom type="capsule" fromto="0 0 -.05 0 0 -.25" size=".03" mass="1"/>
      <body name="{side}_foot" pos="0 0 -.3">
        <joint name="{side}_ankle" axis="0 1 0" range="-.8 .8"/>
        <geom type="mesh" mesh="foot" mass=".3"/>
      </body>
    </body>
  </body>
</body>
"""
BIPED = """
<mujoco model="walker">
  <compiler angle="radian" meshdir="assets"/>
  <asset><mesh name="foot" file="foot.obj"/><mesh name="torso" file="torso.obj"/></asset>
  <worldbody>
    <light pos="0 0 3"/>
    <geom type="plane" size="1 1 .1"/>
    <body name="torso" pos="0 0 1" {turn}>
      <freejoint/>
      <inertial pos="0 0 .1" mass="8" diaginertia=".1 .1 .05"/>
      <geom type="mesh" mesh="torso" quat=".9239 0 0 .3827"/>
      {left}{right}
    </body>
    {more}
  </worldbody>
  <actuator>{actuators}</actuator>
  {sections}
</mujoco>
"""
SIDES = ("left", "right")
PARTS = ("hip_roll", "hip_pitch", "knee", "ankle")
JOINTS = tuple(f"{side}_{part}" for side in SIDES for part in PARTS)
HALF_FOOT, HALF_TORSO = (0.1, 0.04, 0.02), (0.1, 0.15, 0.2)
"""Half lengths of the meshes in m; that of the foot is the box of -half to +half, moved by `FOOT_AT`."""

FOOT_AT = (0.05, 0.0, -0.04)
MOTORS = "".join(f'<motor joint="{joint}" gear="40" ctrlrange="-1 1" ctrllimited="true"/>' for joint in JOINTS)


def box_obj(half: tuple[float, ...], at: tuple[float, ...] = (0.0, 0.0, 0.0)) -> str:
    """Return a box as an OBJ file."""
    corners = [
        [c + s * h for c, s, h in zip(at, signs, half, strict=True)] for signs in itertools.product((-1, 1), repeat=3)
    ]
    quads = ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4))
    lines = ["v " + " ".join(f"{x:.6f}" for x in corner) for corner in corners]
    return "\n".join([*lines, *("f " + " ".join(map(str, (a, b, c))) for q in quads for a, b, c in _halves(q)), ""])


def _halves(quad: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (quad[0], quad[1], quad[2]), (quad[0], quad[2], quad[3])


def write_biped(
    folder: Path, actuators: str = MOTORS, more: str = "", sections: str = "", turn: str = "", meshes: bool = True
) -> Path:
    """Write an MJCF of 8 joints, whose feet and torso are meshes, and return its path.

    Args:
        folder: that is written.
        actuators: elements of <actuator>.
        more: elements of the world beside the robot.
        sections: elements beside <worldbody>.
        turn: attributes of the base, such as a quaternion.
        meshes: whether the files of the meshes are written.
    """
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    if meshes:
        (folder / "assets/foot.obj").write_text(box_obj(HALF_FOOT, FOOT_AT))
        (folder / "assets/torso.obj").write_text(box_obj(HALF_TORSO))
    left, right = (LEG.format(side=side, y=y) for side, y in (("left", ".1"), ("right", "-.1")))
    path = folder / "walker.xml"
    text = BIPED.format(left=left, right=right, actuators=actuators, more=more, sections=sections, turn=turn)
    path.write_text(text)
    return path


URDF_LEG = """
<link name="{n}_thigh">
  <inertial><origin xyz="0 0 -.1"/><mass value="1"/>
    <inertia ixx=".004" iyy=".004" izz=".001" ixy="0" ixz="0" iyz="0"/></inertial>
  <collision><origin xyz="0 0 -.1"/><geometry><cylinder radius=".02" length=".16"/></geometry></collision>
</link>
<link name="{n}_shank">
  <inertial><origin xyz="0 0 -.1"/><mass value=".3"/>
    <inertia ixx=".001" iyy=".001" izz=".0002" ixy="0" ixz="0" iyz="0"/></inertial>
</link>
<link name="{n}_foot">
  <inertial><mass value=".05"/><inertia ixx="{bad}" iyy=".00002" izz=".00002" ixy="0" ixz="0" iyz="0"/></inertial>
  <collision><geometry><sphere radius=".02"/></geometry></collision>
</link>
<joint name="{n}_hip" type="revolute"><parent link="trunk"/><child link="{n}_thigh"/><origin xyz="{x} {y} 0"/>
  <axis xyz="0 1 0"/><limit lower="-1.5" upper="1.5" effort="30" velocity="12"/></joint>
<joint name="{n}_knee" type="continuous"><parent link="{n}_thigh"/><child link="{n}_shank"/><origin xyz="0 0 -.2"/>
  <axis xyz="0 1 0"/></joint>
<joint name="{n}_fixed" type="fixed"><parent link="{n}_shank"/><child link="{n}_foot"/><origin xyz="0 0 -.2"/></joint>
"""
URDF = """<robot name="dog">
<link name="root"/>
<link name="trunk">
  <inertial><mass value="9"/><inertia ixx=".05" iyy=".2" izz=".2" ixy="0" ixz="0" iyz="0"/></inertial>
  <visual><geometry><mesh filename="package://dog/trunk.dae"/></geometry></visual>
  <collision><geometry><mesh filename="{mesh}"/></geometry></collision>
</link>
<joint name="root_fixed" type="fixed"><parent link="root"/><child link="trunk"/></joint>
{legs}{more}
</robot>
"""
CORNERS = {"FL": (0.2, 0.1), "FR": (0.2, -0.1), "RL": (-0.2, 0.1), "RR": (-0.2, -0.1)}


def write_quadruped(folder: Path, mesh: str = "package://dog/trunk.obj", more: str = "", bad: str = ".00002") -> Path:
    """Write a URDF of 8 joints in `folder/dog/urdf` and its mesh in `folder/dog`; return the path of the URDF.

    Args:
        folder: that holds the package `dog`.
        mesh: name of the collision mesh of the trunk.
        more: further links and joints.
        bad: moment of inertia of the feet about x.
    """
    (folder / "dog/urdf").mkdir(parents=True, exist_ok=True)
    (folder / "dog/trunk.obj").write_text(box_obj((0.25, 0.1, 0.06)))
    legs = "".join(URDF_LEG.format(n=name, x=x, y=y, bad=bad) for name, (x, y) in CORNERS.items())
    path = folder / "dog/urdf/dog.urdf"
    path.write_text(URDF.format(mesh=mesh, legs=legs, more=more))
    return path
