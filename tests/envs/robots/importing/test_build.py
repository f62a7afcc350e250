"""Robots that are imported: what is read of a file, and by which rules the rest is found."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from helpers.messages import assert_names, raises_naming
from helpers.robot_files import FOOT_AT, HALF_FOOT, JOINTS, write_biped, write_quadruped
from regimen.envs.robots.importing import report
from regimen.envs.robots.importing.build import import_robot
from regimen.envs.robots.importing.model_file import write_model
from regimen.envs.robots.importing.result import ImportedRobot
from regimen.envs.robots.importing.settings import ImportSettings, read_figures
from regimen.system.errors import ConfigError


def imported(file: Path, **changes: object) -> ImportedRobot:
    return import_robot(ImportSettings(file=file, name="mine", into=file.parent / "mine", **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def biped(tmp_path_factory: pytest.TempPathFactory) -> ImportedRobot:
    return imported(write_biped(tmp_path_factory.mktemp("biped")))


@pytest.fixture(scope="module")
def dog(tmp_path_factory: pytest.TempPathFactory) -> ImportedRobot:
    return imported(write_quadruped(tmp_path_factory.mktemp("dog")))


def test_an_mjcf_with_meshes(biped: ImportedRobot) -> None:
    assert [joint.name for joint in biped.figures] == list(JOINTS)
    assert (biped.base, biped.floating, biped.total_mass) == ("torso", True, pytest.approx(13.6))
    assert [foot.name for foot in biped.feet] == ["left_foot", "right_foot"]
    assert biped.fall_bodies == ["torso"]
    assert biped.mirror is not None and biped.mirror.turned == "left_hip_roll|right_hip_roll"


def test_a_mesh_becomes_the_box_that_it_is(biped: ImportedRobot) -> None:
    foot = next(shape for shape in biped.shapes if shape.body == biped.feet[0].body)
    assert foot.primitive.kind == "box" and foot.excess == pytest.approx(0.0, abs=1e-4)
    assert sorted(foot.primitive.size) == pytest.approx(sorted(HALF_FOOT), abs=1e-5)
    assert foot.primitive.centre == pytest.approx(FOOT_AT, abs=1e-5)
    torso = next(shape for shape in biped.shapes if shape.body == biped.anatomy.base)
    assert torso.excess == pytest.approx(0.0, abs=1e-4)  # it is turned by 45 degrees about z
    assert biped.feet[0].sole == pytest.approx([FOOT_AT[0], 0.0, FOOT_AT[2] - HALF_FOOT[2]], abs=2e-3)


def test_knees_are_bent_and_the_soles_are_level(biped: ImportedRobot) -> None:
    pose = dict(zip(JOINTS, biped.pose, strict=True))
    assert pose["left_knee"] == 0.6 and pose["left_hip_pitch"] == pytest.approx(-0.3, abs=0.01)
    assert pose["left_hip_pitch"] + pose["left_knee"] + pose["left_ankle"] == pytest.approx(0.0, abs=0.01)
    legs = 2 * 0.3 * np.cos(0.3)
    assert biped.spawn_height == pytest.approx(0.05 + legs - FOOT_AT[2] + HALF_FOOT[2] + 0.01, abs=2e-3)


def test_limits_of_motors_are_read_and_gains_are_derived(biped: ImportedRobot) -> None:
    joint = biped.figures[0]
    assert (joint.effort.value, joint.effort.source) == (40.0, "file")
    assert joint.stiffness.value == pytest.approx(40.0, rel=1e-4)  # the limit is reached at 1 rad
    assert joint.armature.value * (20 * np.pi) ** 2 == pytest.approx(joint.stiffness.value, rel=1e-4)
    assert joint.damping.value == pytest.approx(4 * joint.armature.value * 20 * np.pi, rel=1e-4)


@pytest.mark.parametrize(
    ("actuator", "kp", "kd", "effort"),
    [
        ('<position joint="{}" kp="90" kv="3" forcerange="-25 25"/>', 90, 3, 25),
        ('<position joint="{}" kp="9" kv=".5" gear="3" forcerange="-25 25"/>', 81, 4.5, 75),
        ('<general joint="{}" biastype="affine" gainprm="70" biasprm="0 -70 -2" forcerange="-9 9"/>', 70, 2, 9),
    ],
)
def test_servos_of_the_file_are_kept(tmp_path: Path, actuator: str, kp: float, kd: float, effort: float) -> None:
    robot = imported(write_biped(tmp_path, actuators="".join(actuator.format(j) for j in JOINTS)))
    assert {(j.stiffness.value, j.damping.value, j.effort.value) for j in robot.figures} == {(kp, kd, effort)}


@pytest.mark.parametrize(
    ("actuator", "effort"),
    [
        ('<motor joint="{}" gear="2" ctrlrange="-5 5" forcerange="-300 300"/>', 10),
        ('<motor joint="{}" gear="2" ctrlrange="-5 5" forcerange="-4 4"/>', 8),
        ('<motor joint="{}" ctrlrange="-300 300"/>', 20),
        ('<position joint="{}" kp="90" forcerange="-50 50"/>', 20),
        ('<position joint="{}" kp="90" forcerange="-50 50" gear=".2"/>', 10),
    ],
)
def test_the_least_of_several_effort_limits_counts(tmp_path: Path, actuator: str, effort: float) -> None:
    file = write_biped(tmp_path, actuators="".join(actuator.format(j) for j in JOINTS))
    file.write_text(file.read_text().replace("<joint name=", '<joint actuatorfrcrange="-20 20" name='))
    assert {(j.effort.value, j.effort.source) for j in imported(file).figures} == {(effort, "file")}


def test_a_keyframe_is_the_default_pose(tmp_path: Path) -> None:
    qpos = " ".join(["0 0 1 1 0 0 0", *(f"{0.01 * i:.2f}" for i in range(8))])
    robot = imported(write_biped(tmp_path, sections=f'<keyframe><key name="Home" qpos="{qpos}"/></keyframe>'))
    assert robot.pose == pytest.approx([0.01 * i for i in range(8)])
    dropped = imported(tmp_path / "walker.xml", drop=("left_ankle", "right_ankle"))
    assert dropped.pose == pytest.approx([0.0, 0.01, 0.02, 0.04, 0.05, 0.06])


def test_the_frame_of_spawning_is_that_of_the_base(tmp_path: Path, biped: ImportedRobot) -> None:
    turned = imported(write_biped(tmp_path, turn='quat=".7071 0 .7071 0"'))
    assert turned.spawn_height == pytest.approx(biped.spawn_height, abs=2e-3)
    assert turned.pose == pytest.approx(biped.pose, abs=2e-3)


def test_figures_of_the_user_count(tmp_path: Path) -> None:
    given = {"effort": {".*": 60.0, ".*_ankle": 20.0}, "armature": {".*": 0.02}, "pose": {"left_knee": 1.0}}
    robot = imported(write_biped(tmp_path), figures=given)
    efforts = {joint.name: joint.effort.value for joint in robot.figures}
    assert (efforts["left_ankle"], efforts["left_knee"]) == (20.0, 60.0)
    assert robot.figures[0].stiffness.value == pytest.approx(0.02 * (20 * np.pi) ** 2, rel=1e-5)
    assert robot.pose[JOINTS.index("left_knee")] == 1.0
    with raises_naming(ConfigError, "--effort", "knees", "left_knee"):
        imported(tmp_path / "walker.xml", figures={"effort": {"knees": 1.0}})
    with raises_naming(ConfigError, "left_knee", "--pose", 9):
        imported(tmp_path / "walker.xml", figures={"pose": {"left_knee": 9.0}})


def test_one_box_for_all_shapes_of_a_foot(tmp_path: Path) -> None:
    file, mesh = write_biped(tmp_path), '<geom type="mesh" mesh="foot" mass=".3"/>'
    file.write_text(file.read_text().replace(mesh, mesh + '<geom size=".01" pos=".2 0 -.05"/>'))  # a toe
    for boxes, count in ((False, 2), (True, 1)):
        robot = imported(file, foot_boxes=boxes)
        shapes = [shape for shape in robot.shapes if shape.body == robot.feet[0].body]
        assert len(shapes) == count
    assert shapes[0].primitive.kind == "box"
    assert max(shapes[0].primitive.size) == pytest.approx((0.21 + 0.05) / 2, abs=1e-3)


def test_a_urdf_floats_on_its_first_link_with_a_mass(dog: ImportedRobot) -> None:
    assert (dog.kind, dog.base, dog.floating) == ("URDF", "trunk", True)
    assert [foot.name for foot in dog.feet] == ["FL_foot", "FR_foot", "RL_foot", "RR_foot"]
    assert {(joint.effort.value, joint.speed.value) for joint in dog.figures if "hip" in joint.name} == {(30.0, 12.0)}
    assert any("FL_knee" in note and "2π" in note for note in dog.notes)  # a continuous joint
    assert any("trunk.dae" in note for note in dog.notes)
    assert dog.mirror is not None and dog.mirror.order([f.name for f in dog.feet]) == [1, 0, 3, 2]


def test_effort_limits_are_assumed_from_weight_and_height(dog: ImportedRobot) -> None:
    knee = next(joint for joint in dog.figures if joint.name == "FL_knee")
    assert knee.effort.source.startswith("assumed")
    assert knee.effort.value == pytest.approx(0.5 * 9.81 * dog.total_mass * dog.spawn_height, rel=1e-4)


def test_visual_meshes_may_be_flat(tmp_path: Path) -> None:
    file = write_quadruped(tmp_path)
    (tmp_path / "dog/logo.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 2 4 3\n")
    file.write_text(file.read_text().replace("trunk.dae", "logo.obj"))
    robot = imported(file)
    assert "logo" in [visual.name for visual in robot.visuals]
    mujoco.MjModel.from_xml_path(str(write_model(robot, tmp_path)))
    (tmp_path / "dog/line.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")  # no area: not compiled
    file.write_text(file.read_text().replace("logo.obj", "line.obj"))
    with raises_naming(ConfigError, "line"):
        imported(file)
    bare = imported(file, meshes=False)
    assert bare.visuals == [] and any("--no-meshes" in note for note in bare.notes)


def test_slides_carry_what_is_on_them(tmp_path: Path) -> None:
    lift = """<link name="lift"><inertial><mass value="6"/><inertia ixx=".1" iyy=".1" izz=".1" ixy="0" ixz="0" iyz="0"/>
    </inertial></link><joint name="up" type="prismatic"><parent link="trunk"/><child link="lift"/><axis xyz="0 0 1"/>
    <limit lower="0" upper=".5" effort="0" velocity="0"/></joint>"""
    file = write_quadruped(tmp_path, more=lift)
    up = next(joint for joint in imported(file).figures if joint.name == "up")
    assert up.effort.source.startswith("assumed") and up.effort.value == pytest.approx(3 * 9.81 * 6, rel=1e-4)
    assert up.stiffness.value * 0.05 == pytest.approx(up.effort.value, rel=1e-4)  # its target is in m
    header, rows = report.joint_rows(imported(file))
    assert_names(" ".join(header), "range rad or m", "effort N·m or N")
    assert [row[0] for row in rows if "slide" in row[0]] == ["up (slide)"]
    with raises_naming(ConfigError, "up", "9 m", "--pose up=<m>"):
        imported(file, figures={"pose": {"up": 9.0}})
    file.write_text(file.read_text().replace('type="continuous"', 'type="prismatic"'))
    robot = imported(file, feet=tuple(f"{leg}_foot" for leg in ("FL", "FR", "RL", "RR")))
    knee = next(joint for joint in robot.figures if joint.name == "FL_knee")
    assert knee.effort.value > 9.81 * robot.total_mass


def test_a_fixed_urdf_has_a_tip_and_no_feet(tmp_path: Path) -> None:
    robot = imported(write_quadruped(tmp_path), fixed_base=True)
    assert not robot.floating and robot.feet == [] and robot.tip is not None and robot.mirror is None


def test_inertias_of_cad_programs_are_balanced(tmp_path: Path) -> None:
    robot = imported(write_quadruped(tmp_path, bad=".0001"))
    assert any("balanced" in note for note in robot.notes)


@pytest.mark.parametrize("where", ["beside", "given"])
def test_packages_are_found_above_the_file_or_where_the_user_says(tmp_path: Path, where: str) -> None:
    file = write_quadruped(tmp_path)
    if where == "given":
        (tmp_path / "elsewhere/dog").mkdir(parents=True)
        (tmp_path / "dog/trunk.obj").rename(tmp_path / "elsewhere/dog/trunk.obj")
        with raises_naming(
            ConfigError, "trunk", "package://dog/trunk.obj", "--package-path", tmp_path / "dog/trunk.obj"
        ):
            imported(file)
    paths = (tmp_path / "elsewhere",) if where == "given" else ()
    assert any(shape.source.startswith("mesh") for shape in imported(file, package_paths=paths).shapes)


def test_feet_that_are_not_clear_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_biped(tmp_path)
    file.write_text(file.read_text().replace('pos="0 -.1 -.05"', 'pos="0 -.1 .15"'))  # one leg is higher
    with raises_naming(ConfigError, "--feet", "left_foot", "right_foot"):
        imported(file)
    assert [foot.name for foot in imported(file, feet=("right_foot", "left_foot")).feet] == ["left_foot", "right_foot"]
    with raises_naming(ConfigError, "left_feet", "left_foot"):
        imported(file, feet=("left_feet",))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "left_foot")
    assert [foot.name for foot in imported(file).feet] == ["left_foot"]


def test_words_of_figures() -> None:
    assert read_figures("kp", [".*=3", "a|b=4.5"]) == ({".*": 3.0, "a|b": 4.5}, [])
    for kind, word in (("kp", "knee"), ("kp", "=3"), ("kp", "knee=x"), ("kp", "(=3"), ("kp", "a=0"), ("kd", "a=-1")):
        values, lines = read_figures(kind, [word])
        assert values == {} and len(lines) == 1 and f"--{kind} {word}" in lines[0]


def test_a_foot_without_an_ankle_stands_below_its_hip(dog: ImportedRobot) -> None:
    pose = dict(zip((joint.name for joint in dog.figures), dog.pose, strict=True))
    assert pose["FL_knee"] == -1.4 and pose["FL_hip"] == pytest.approx(
        0.7, abs=0.05
    )  # links of one length, a ball as foot
