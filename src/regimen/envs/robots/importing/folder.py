"""The folder of an imported robot: checked before it is written, and never written over unasked."""

from __future__ import annotations

import importlib.util
import runpy
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from regimen.envs.robots.importing.model_file import write_model
from regimen.envs.robots.importing.report import markdown
from regimen.envs.robots.importing.result import ImportedRobot
from regimen.envs.robots.importing.robot_file import robot_source
from regimen.envs.robots.importing.task_file import task_name, task_text
from regimen.envs.robots.model_check import compile_model
from regimen.envs.robots.robot import Robot, available
from regimen.system.errors import ConfigError
from regimen.system.files import display_path


@dataclass(frozen=True)
class Target:
    """Where a robot is written, and its name for Python.

    Attributes:
        folder: of the robot.
        root: folder from which `reference` is imported: the current one, or the one that holds `folder`.
        reference: `package.robot:ROBOT`.
    """

    folder: Path
    root: Path
    reference: str


def find_target(folder: Path, name: str, force: bool) -> Target:
    """Return the target of an import.

    Raises:
        ConfigError: the folder has content and `force` is not given, or a name is no Python name or taken.
    """
    folder, here = folder.resolve(), Path.cwd()
    inside = folder.is_relative_to(here) and folder != here
    root = here if inside else folder.parent
    parts = folder.relative_to(root).parts
    if not name.isidentifier():
        raise ConfigError(f"--name {name}: no Python name. Use letters, digits and _, for example my_robot.")
    if name in available():
        raise ConfigError(f"--name {name}: Regimen has a robot of that name. Choose another, for example my_{name}.")
    if wrong := [part for part in parts if not part.isidentifier()]:
        raise ConfigError(f"--into {folder}: `{wrong[0]}` is no Python name, and the robot is imported from there.")
    spec = importlib.util.find_spec(parts[0])
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    if spec is not None and not any(Path(place).is_relative_to(root) for place in places if place):
        raise ConfigError(f"--into {folder}: `{parts[0]}` is an installed Python package. Choose another name.")
    if folder.is_file():
        raise ConfigError(f"--into {folder}: a file; expected a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ConfigError(f"The folder {display_path(folder)} is not empty. Add --force, or choose another by --into.")
    return Target(folder, root, ".".join(parts) + ".robot:ROBOT")


def write_folder(robot: ImportedRobot, target: Target, command: str) -> list[Path]:
    """Write the folder of a robot and return the files, relative to it; a model that does not compile writes nothing.

    Args:
        robot: what was imported.
        target: where it is written.
        command: that was typed, for the report.

    Raises:
        ConfigError: the written model would not match its `Robot`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / target.folder.name
        folder.mkdir()
        write_model(robot, folder)
        (folder / "__init__.py").write_text("", encoding="utf-8")
        (folder / "robot.py").write_text(robot_source(robot, command), encoding="utf-8")
        (folder / "import.md").write_text(markdown(robot, command, picture=False), encoding="utf-8")
        if (task := task_text(robot, target.reference)) is not None:
            (folder / "conf/task").mkdir(parents=True)
            (folder / f"conf/task/{task_name(robot)}.yaml").write_text(task, encoding="utf-8")
        described = runpy.run_path(str(folder / "robot.py"))["ROBOT"]
        assert isinstance(described, Robot)
        compile_model(described)
        if (target.folder / "meshes").is_dir():
            shutil.rmtree(target.folder / "meshes")
        shutil.copytree(folder, target.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
