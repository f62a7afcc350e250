"""`regimen import-robot <file>`: a folder with model, `Robot`, task and report from an MJCF or a URDF."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.display.text_tables import print_tables
from regimen.system.errors import PreflightError, raise_if_any
from regimen.system.files import display_path

if TYPE_CHECKING:
    from regimen.envs.robots.robot import Robot


def import_robot_verb(argv: list[str]) -> int:
    """Write the folder of a robot of your own, print what was read and assumed, and check it in a simulator.

    Args:
        argv: the file, and flags.

    Returns:
        0, or 1 if the rule `robot` of `check-env` is broken.
    """
    from regimen.envs.robots.importing.settings import FIGURES, ImportSettings, read_figures

    parser = argparse.ArgumentParser("regimen import-robot", description=import_robot_verb.__doc__)
    parser.add_argument("file", type=Path, help="MJCF or URDF")
    parser.add_argument("--name", help="of the robot (default: that of the file)")
    parser.add_argument("--into", type=Path, help="folder to write (default: the name, in the current folder)")
    parser.add_argument("--force", action="store_true", help="write into a folder that has content")
    parser.add_argument("--feet", help="bodies that stand on the ground, separated by commas; '' for none")
    parser.add_argument("--foot-boxes", action="store_true", help="one box in place of all shapes of a foot: faster")
    parser.add_argument("--base", help="body that floats, or the root of a fixed robot")
    parser.add_argument("--fixed-base", action="store_true", help="a URDF is fixed in the world, as an arm is")
    parser.add_argument("--drop", default="", help="elements that are removed, separated by commas")
    parser.add_argument("--package-path", action="append", default=[], type=Path, help="folder for package://")
    parser.add_argument("--no-meshes", action="store_true", help="no visual meshes: pictures show collision shapes")
    units = {"effort": "N·m", "armature": "kg·m²", "kp": "N·m/rad", "kd": "N·m·s/rad", "speed": "rad/s", "pose": "rad"}
    for kind in FIGURES:
        help_text = f"{units[kind]} of the joints that match; may be repeated"
        parser.add_argument(f"--{kind}", action="append", default=[], metavar="PATTERN=NUMBER", help=help_text)
    arguments = parser.parse_args(argv)
    figures, wrong = {}, []
    for kind in FIGURES:
        figures[kind], lines = read_figures(kind, getattr(arguments, kind))
        wrong += lines
    raise_if_any(wrong)
    stem = re.sub(r"\W", "_", arguments.file.name.partition(".")[0])
    name = arguments.name or (stem if stem.isidentifier() else f"robot_{stem}")
    settings = ImportSettings(
        file=arguments.file,
        name=name,
        into=arguments.into or Path(name),
        feet=None if arguments.feet is None else _names(arguments.feet),
        base=arguments.base,
        fixed_base=arguments.fixed_base,
        drop=_names(arguments.drop),
        package_paths=tuple(arguments.package_path),
        foot_boxes=arguments.foot_boxes,
        meshes=not arguments.no_meshes,
        figures=figures,
    )
    from regimen.envs.robots.importing.build import import_robot
    from regimen.envs.robots.importing.folder import find_target, write_folder
    from regimen.envs.robots.importing.report import markdown, tables
    from regimen.envs.robots.importing.task_file import task_name

    target = find_target(settings.into, name, arguments.force)
    robot = import_robot(settings)
    command = shlex.join(["regimen", "import-robot", *argv])
    files = write_folder(robot, target, command)
    print_tables(tables(robot))
    place = display_path(target.folder)
    try:
        from regimen.envs.sims.shape_picture import draw_shapes

        draw_shapes(_written(target.folder / "robot.py"), target.folder / "import.png")
        files.append(Path("import.png"))
        report = markdown(robot, command, picture=True)
        (target.folder / "import.md").write_text(report, encoding="utf-8")
    except PreflightError as error:
        print(f"no picture: {error}")
    print(f"\nwritten to {place}: {', '.join(str(file) for file in files if file.parts[0] != 'meshes')}")
    task = task_name(robot)
    if not (target.folder / f"conf/task/{task}.yaml").exists():
        print(f"no task is written for {len(robot.feet)} feet; env.robot={target.reference} puts the robot into yours")
        return 0
    code = _check(task, target.folder / "conf", target.root)
    _print_next(task, display_path(target.folder / "conf"), target.root)
    return code


def _names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _written(path: Path) -> Robot:
    """Return the `Robot` of a file that was written."""
    import runpy

    robot: Robot = runpy.run_path(str(path))["ROBOT"]
    return robot


def _check(task: str, conf: Path, root: Path) -> int:
    """Open the task and try the rule `robot`; print its result and return 0 if it is kept, else 1."""
    from regimen.config.compose import compose_config
    from regimen.envs.conformance.check import check_rule, factory

    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    result = check_rule("robot", factory(compose_config([f"task={task}", "hardware.threads=1"], [conf])))
    print(result)
    return 0 if result.ok else 1


def _print_next(task: str, conf: str, root: Path) -> None:
    """Print commands to type next."""
    lines = [] if root == Path.cwd() else [f"cd {root}"]
    options = f"--config-dir {conf} task={task}"
    lines += [f"regimen check-env {options}", f"regimen launch {options} agent=skrl_ppo name={task}"]
    evaluate = f"regimen launch {options} stage=evaluate policy={task} video=true"
    print("\nnext:", *(f"  {line}" for line in [*lines, evaluate]), sep="\n")
