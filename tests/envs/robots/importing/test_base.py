"""Base of an imported robot: the body that is chosen, its mass, and the frame in which the robot stands."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from helpers.messages import raises_naming
from helpers.robot_files import write_biped, write_quadruped
from regimen.envs.robots.importing.anatomy import Posture
from regimen.envs.robots.importing.build import import_robot
from regimen.envs.robots.importing.model_file import write_model
from regimen.envs.robots.importing.result import ImportedRobot
from regimen.envs.robots.importing.settings import ImportSettings
from regimen.system.errors import ConfigError

BOX = '<collision><geometry><box size=".5 .2 .12"/></geometry></collision>'
SPLIT = """<mujoco><compiler angle="radian"/><worldbody>
<body name="frame" pos="0 0 1"><freejoint/>
  <body name="hull" pos=".1 0 0" euler=".3 .2 0"><inertial pos=".02 0 0" mass="5" diaginertia=".1 .2 .25"/></body>
  <body name="pack" pos="-.1 .05 .1" euler="0 .1 .5"><geom type="box" size=".1 .05 .05"/></body>
  <body name="leg" pos="0 0 -.1"><joint name="hip" axis="0 1 0" range="-1 1"/><geom size=".05" pos="0 0 -.3"/></body>
</body></worldbody></mujoco>"""


def imported(file: Path, **changes: object) -> ImportedRobot:
    return import_robot(ImportSettings(file=file, name="mine", into=file.parent / "mine", **changes))  # type: ignore[arg-type]


def replaced(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def test_a_link_without_inertial_has_no_mass(tmp_path: Path) -> None:
    file = replaced(write_quadruped(tmp_path), '<link name="root"/>', f'<link name="root">{BOX}</link>')
    robot = imported(file)
    assert robot.total_mass == pytest.approx(9 + 4 * 1.35)
    assert any("<inertial>" in note and "root" in note for note in robot.notes)
    assert robot.base == "root" and "root" in robot.fall_bodies  # it has the shape of the trunk
    replaced(file, '<robot name="dog">', '<robot name="dog"><mujoco><compiler inertiafromgeom="true"/></mujoco>')
    assert imported(file).total_mass > 20  # the file asks for the masses of shapes


def test_a_link_that_moves_needs_a_mass(tmp_path: Path) -> None:
    more = f"""<link name="arm">{BOX}</link><joint name="shoulder" type="revolute"><parent link="trunk"/>
    <child link="arm"/><axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="9" velocity="9"/></joint>"""
    with raises_naming(ConfigError, "arm", "<inertial>", "--drop"):
        imported(write_quadruped(tmp_path, more=more))


def test_a_base_without_mass_is_written_with_that_of_what_is_fixed_to_it(tmp_path: Path) -> None:
    (tmp_path / "split.xml").write_text(SPLIT)
    robot = imported(tmp_path / "split.xml", feet=("leg",))
    file = mujoco.MjModel.from_xml_string(SPLIT)
    written = mujoco.MjModel.from_xml_path(str(write_model(robot, tmp_path)))
    assert written.body("frame").mass[0] == pytest.approx(file.body_mass.sum() - file.body("leg").mass[0])
    inertias = []
    for model in (file, written):
        data, inertia = mujoco.MjData(model), np.zeros((model.nv, model.nv))
        data.qpos[7] = 0.4
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, inertia)
        inertias.append(inertia - np.diag(model.dof_armature))
    assert inertias[1] == pytest.approx(inertias[0], abs=1e-7)


def test_a_base_needs_a_mass(tmp_path: Path) -> None:
    file = write_quadruped(tmp_path, more='<link name="mast"/><joint name="m" type="fixed"><parent link="trunk"/>'
                                          '<child link="mast"/></joint>')  # fmt: skip
    with raises_naming(ConfigError, "mast", "--base"):
        imported(file, base="mast")
    assert imported(file, base="root").base == "root"


def write_turned(folder: Path, turn: tuple[float, float, float]) -> Path:
    """Write the quadruped with a trunk that is turned against the root (roll, pitch, yaw), and legs that are not."""
    hub = '<link name="hub"/><joint name="h" type="fixed"><parent link="trunk"/><child link="hub"/>{}</joint>'
    there, back = (f'<origin rpy="{" ".join(str(sign * x) for x in turn)}"/>' for sign in (1, -1))
    file = write_quadruped(folder, more=hub.format(back))
    replaced(file, '<child link="trunk"/>', f'<child link="trunk"/>{there}')
    for leg in ("FL", "FR", "RL", "RR"):
        replaced(
            file,
            f'<parent link="trunk"/><child link="{leg}_thigh"/>',
            f'<parent link="hub"/><child link="{leg}_thigh"/>',
        )
    return file


def soles_of(robot: ImportedRobot) -> np.ndarray:
    posture = Posture(robot.anatomy, np.array(robot.pose))
    return np.concatenate([posture.place(foot.body, foot.sole[None]) for foot in robot.feet])


@pytest.mark.parametrize("turn", [(0.0, 0.0, 1.5708), (1.5708, 0.0, 0.0)], ids=["yaw", "roll"])
def test_the_root_of_a_urdf_is_what_is_forward_and_up(tmp_path: Path, turn: tuple[float, float, float]) -> None:
    straight, file = imported(write_quadruped(tmp_path / "straight")), write_turned(tmp_path / "turned", turn)
    robot = imported(file)
    assert robot.base == "root" and robot.pose == pytest.approx(straight.pose)
    assert soles_of(robot) == pytest.approx(soles_of(straight), abs=1e-4)
    assert not any("--base" in note for note in robot.notes)
    chosen = imported(file, base="trunk", feet=("FL_foot", "FR_foot", "RL_foot", "RR_foot"))
    assert any("--base root" in note and "90" in note for note in chosen.notes)


def test_a_turned_base_is_named(tmp_path: Path) -> None:
    file = write_turned(tmp_path, (0.0, 0.0, 1.5708))
    replaced(
        replaced(file, '<link name="root"/>', '<link name="world"/>'), '<parent link="root"/>', '<parent link="world"/>'
    )
    assert any("world" in note and "base_link" in note for note in imported(file).notes)
    biped = imported(write_biped(tmp_path, turn='quat=".7071 0 .7071 0"'))
    assert any("torso" in note and "freejoint" in note for note in biped.notes)
    with raises_naming(ConfigError, "--feet", "torso", "freejoint"):
        imported(replaced(tmp_path / "walker.xml", 'pos="0 -.1 -.05"', 'pos="0 -.1 .15"'))
