"""The folder of an imported robot: a model that matches its `Robot`, a task that composes, nothing written over."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.messages import assert_names, raises_naming
from helpers.robot_files import JOINTS, write_biped, write_quadruped
from regimen.config.compose import compose_config
from regimen.envs.robots.importing.build import import_robot
from regimen.envs.robots.importing.folder import find_target, write_folder
from regimen.envs.robots.importing.settings import ImportSettings
from regimen.envs.robots.model_check import compile_model
from regimen.envs.robots.robot import load
from regimen.envs.sims.genesis_scene import read_outline
from regimen.system.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def written(file: Path, name: str, **changes: object) -> list[Path]:
    settings = ImportSettings(file=file, name=name, into=Path(name), **changes)  # type: ignore[arg-type]
    importlib.invalidate_caches()
    return write_folder(import_robot(settings), find_target(settings.into, name, force=False), "the command")


def test_the_model_moves_as_the_file_does(folder: Path) -> None:
    import mujoco

    file = write_biped(folder / "source")
    written(file, "imported_biped")
    robot = load("imported_biped.robot:ROBOT")
    own, others = compile_model(robot), mujoco.MjModel.from_xml_path(str(file))
    for model in (own, others):
        model.opt.gravity[:] = 0
    places = []
    for model in (own, others):
        data = mujoco.MjData(model)
        data.qpos[:7] = [0, 0, 1, 1, 0, 0, 0]
        data.qpos[7:] = robot.default_joint_pos
        mujoco.mj_forward(model, data)
        mass = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, mass)
        mass -= np.diag(model.dof_armature)
        places.append([*(data.body(name).xpos for name in ("left_foot", "right_shin")), *mass])
    for one, other in zip(*places, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_files_and_report(folder: Path) -> None:
    files = written(write_biped(folder / "source"), "imported_files")
    names = {str(path) for path in files}
    assert {"imported_files.xml", "robot.py", "__init__.py", "import.md", "scene.xml"} <= names
    assert len([name for name in names if name.startswith("meshes/")]) == 3
    report = (folder / "imported_files/import.md").read_text()
    assert_names(report, "the command", "walker.xml", *JOINTS, "box", "capsule", "assumed")


@pytest.mark.parametrize("kind", ["biped", "quadruped", "arm"])
def test_a_task_is_written_that_fits_the_robot(folder: Path, kind: str) -> None:
    name = f"imported_task_{kind}"
    if kind == "biped":
        written(write_biped(folder / "source"), name)
    else:
        written(write_quadruped(folder / "source"), name, fixed_base=kind == "arm")
    task = f"{name}_{'reach' if kind == 'arm' else 'flat'}"
    config = compose_config([f"task={task}"], [folder / name / "conf"])
    robot = load(config.env.robot)
    assert robot.name == name
    if kind != "arm":
        assert len(config.env.commands["gait"].params["offsets"]) == len(robot.feet)
    if kind == "quadruped":
        assert config.env.commands["gait"].params["offsets"] == [0.0, 0.5, 0.5, 0.0]


def test_targets_of_an_arm_are_around_its_base(folder: Path) -> None:
    link = '<joint name="turn" range="-1 1"/><geom type="capsule" size=".03" fromto="0 0 0 .3 0 0"/>'
    table = f'<body name="table" pos="1.5 -2 .4"><geom size=".1"/><body name="link" pos="0 0 .1">{link}</body></body>'
    (folder / "arm.xml").write_text(f"<mujoco><worldbody>{table}</worldbody></mujoco>")
    written(folder / "arm.xml", "imported_arm")
    config = compose_config(["task=imported_arm_reach"], [folder / "imported_arm/conf"])
    near, far = config.env.commands["target"].params["radius"]
    assert near < 0.15 < far < 0.3  # the tip is the centre of mass of the link
    model = compile_model(load("imported_arm.robot:ROBOT"))
    assert model.body("table").pos == pytest.approx([0, 0, 0.4])


def test_a_joint_may_have_the_name_of_the_free_one(folder: Path) -> None:
    file = write_biped(folder / "source")
    file.write_text(file.read_text().replace('"left_knee"', '"root"'))
    written(file, "imported_root")
    assert compile_model(load("imported_root.robot:ROBOT")).joint("root").range == pytest.approx([-0.1, 2.2])


def test_genesis_finds_the_meshes(folder: Path) -> None:
    written(write_biped(folder / "source"), "imported_outline")
    outline = read_outline(load("imported_outline.robot:ROBOT"))
    assert outline.monitored["left_foot"] == ("left_foot", None)
    assert str(folder / "imported_outline/meshes") in outline.without_ground


def test_a_folder_with_content_is_kept(folder: Path) -> None:
    written(write_biped(folder / "source"), "imported_twice")
    with raises_naming(ConfigError, "imported_twice", "--force", "--into"):
        find_target(Path("imported_twice"), "imported_twice", force=False)
    assert find_target(Path("imported_twice"), "imported_twice", force=True).reference == "imported_twice.robot:ROBOT"


def test_nothing_is_written_if_the_model_does_not_compile(folder: Path) -> None:
    file = write_biped(folder / "source")
    settings = ImportSettings(file=file, name="imported_broken", into=Path("imported_broken"))
    robot = replace(import_robot(settings), pose=[99.0] * 8)
    with raises_naming(ConfigError, "default_joint_pos", 99):
        write_folder(robot, find_target(settings.into, robot.name, force=False), "the command")
    assert not (folder / "imported_broken").exists()


@pytest.mark.parametrize(
    ("into", "name", "names"),
    [
        ("numpy", "mine", ("numpy", "--into")),
        ("go2", "go2", ("--name", "my_go2")),
        ("mine", "my-robot", ("--name", "my-robot")),
        ("my-robots/one", "one", ("--into", "my-robots")),
        ("file", "mine", ("--into", "file")),
    ],
)
def test_names_that_cannot_be_imported(folder: Path, into: str, name: str, names: tuple[str, ...]) -> None:
    (folder / "file").write_text("")
    with raises_naming(ConfigError, *names):
        find_target(Path(into), name, force=False)


def test_a_folder_elsewhere_is_imported_from_its_parent(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "mine"
    target = find_target(other, "mine", force=False)
    assert (target.root, target.reference) == (other.parent, "mine.robot:ROBOT")
    assert find_target(Path("robots/mine"), "mine", force=False).reference == "robots.mine.robot:ROBOT"
