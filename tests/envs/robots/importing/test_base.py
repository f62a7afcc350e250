"""Base of an imported robot: the body that is chosen, its mass, and the frame in which the robot stands."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from helpers.messages import raises_naming
from helpers.robot_files import write_quadruped
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
