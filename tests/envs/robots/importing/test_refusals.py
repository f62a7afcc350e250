"""Files that cannot be imported: each element is named, with what can be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import raises_naming
from helpers.robot_files import JOINTS, MOTORS, write_biped, write_quadruped
from regimen.envs.robots.importing.build import import_robot
from regimen.envs.robots.importing.settings import ImportSettings
from regimen.system.errors import ConfigError

TENDON = '<tendon><fixed name="strap"><joint joint="left_knee" coef="1"/></fixed></tendon>'
LOOP = '<equality><connect name="loop" body1="left_foot" body2="right_foot" anchor="0 0 0"/></equality>'
BALL = '<body name="flail" pos="1 0 1"><joint name="swivel" type="ball"/><geom size=".1"/></body>'
CRATE = '<body name="crate" pos="2 0 1"><freejoint/><geom size=".1"/></body>'


def settings(file: Path, **changes: object) -> ImportSettings:
    return ImportSettings(file=file, name="mine", into=file.parent / "mine", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "names", "dropped"),
    [
        ({"sections": LOOP}, ("loop", "left_foot", "right_foot", "--drop"), "loop"),
        ({"sections": TENDON, "actuators": MOTORS + '<motor name="pull" tendon="strap"/>'}, ("strap", "pull"), "strap"),
        ({"more": BALL}, ("swivel", "flail"), "flail"),
        ({"more": CRATE}, ("crate", "torso"), "crate"),
        ({"actuators": MOTORS + '<motor name="second" joint="left_knee"/>'}, ("left_knee", "second"), "second"),
        (
            {"actuators": MOTORS.replace(MOTORS[: MOTORS.index("/>") + 2], "")},
            ("left_hip_roll", "--effort"),
            "left_hip_roll",
        ),
    ],
    ids=["loop", "tendon", "ball", "free", "twice", "passive"],
)
def test_what_is_not_simulated_is_named_and_can_be_dropped(
    tmp_path: Path, changes: dict[str, str], names: tuple[str, ...], dropped: str
) -> None:
    file = write_biped(tmp_path, **changes)  # type: ignore[arg-type]
    with raises_naming(ConfigError, *names):
        import_robot(settings(file))
    robot = import_robot(settings(file, drop=(dropped,), feet=("left_foot", "right_foot")))
    assert [joint.name for joint in robot.figures] == [joint for joint in JOINTS if joint != dropped]
    assert any(dropped in note for note in robot.notes)


def test_a_dropped_name_has_to_exist(tmp_path: Path) -> None:
    with raises_naming(ConfigError, "left_knees", "left_knee"):
        import_robot(settings(write_biped(tmp_path), drop=("left_knees",)))


def test_all_missing_meshes_are_named(tmp_path: Path) -> None:
    file = write_biped(tmp_path, meshes=False)
    with raises_naming(ConfigError, tmp_path / "assets/foot.obj", tmp_path / "assets/torso.obj"):
        import_robot(settings(file))


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("dog.urdf.xacro", "<robot/>", ("xacro", "dog.urdf")),
        ("dog.urdf", '<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:leg/></robot>', ("xacro", "dog.urdf")),
        ("dog.usd", "", ("USD", "MJCF", "URDF")),
        ("dog.xml", "<robot", ("dog.xml", "XML")),
        ("dog.xml", "<model/>", ("model", "mujoco", "robot")),
        ("dog.xml", "<mujoco><nothing/></mujoco>", ("dog.xml", "nothing")),
        ("dog.xml", '<mujoco><worldbody><geom size="1"/></worldbody></mujoco>', ("hinge", "slide")),
    ],
)
def test_other_files(tmp_path: Path, name: str, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(text)
    with raises_naming(ConfigError, *names):
        import_robot(settings(tmp_path / name))


def test_joints_without_names(tmp_path: Path) -> None:
    first, second = '<joint axis="0 1 0" range="-1 1"/>', '<joint axis="1 0 0" range="-1 1"/>'
    shape = '<geom type="capsule" size=".03" fromto="0 0 0 0 0 .5"/>'
    body = f'<body name="base"><geom size=".1"/><body pos="0 0 .2">{first}{second}{shape}</body></body>'
    file = tmp_path / "arm.xml"
    file.write_text(f"<mujoco><worldbody>{body}</worldbody></mujoco>")
    with raises_naming(ConfigError, "joint[0]", "joint[1]", "base", 'axis="1 0 0"'):
        import_robot(settings(file))
    file.write_text(file.read_text().replace("<joint", '<joint name="pitch"', 1))
    assert [joint.name for joint in import_robot(settings(file)).figures] == ["pitch", "body_2_joint"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    write_biped(tmp_path)
    with raises_naming(ConfigError, "walkers.xml", "walker.xml"):
        import_robot(settings(tmp_path / "walkers.xml"))
    with raises_naming(ConfigError, tmp_path, "walker.xml"):
        import_robot(settings(tmp_path))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"base": "trunks"}, ("--base", "trunks", "trunk")),
        ({"base": "FL_thigh"}, ("FR_hip", "--base", "FL_thigh")),
    ],
)
def test_bases_that_do_not_carry_the_robot(tmp_path: Path, changes: dict[str, str], names: tuple[str, ...]) -> None:
    with raises_naming(ConfigError, *names):
        import_robot(settings(write_quadruped(tmp_path), **changes))


def test_an_mjcf_that_floats_is_fixed_by_dropping_its_joint(tmp_path: Path) -> None:
    file = write_biped(tmp_path)
    file.write_text(file.read_text().replace("<freejoint/>", '<freejoint name="float"/>'))
    with raises_naming(ConfigError, "--fixed-base", "torso", "--drop", "float"):
        import_robot(settings(file, fixed_base=True))
    assert not import_robot(settings(file, drop=("float",))).floating


def test_a_robot_that_floats_needs_shapes(tmp_path: Path) -> None:
    file = tmp_path / "ghost.urdf"
    inertial = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
    links = "".join(f'<link name="{name}">{inertial}</link>' for name in ("one", "two"))
    joint = '<joint name="j" type="continuous"><parent link="one"/><child link="two"/><axis xyz="0 1 0"/></joint>'
    file.write_text(f'<robot name="ghost">{links}{joint}</robot>')
    with raises_naming(ConfigError, "ground"):
        import_robot(settings(file, feet=()))


def test_a_collision_mesh_of_another_kind(tmp_path: Path) -> None:
    file = write_quadruped(tmp_path, mesh="../trunk.dae")
    (tmp_path / "dog/trunk.dae").write_text("")
    with raises_naming(ConfigError, "trunk", "trunk.dae", ".obj"):
        import_robot(settings(file))
