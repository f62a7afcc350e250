"""A robot in a module of the user's own: imported from `regimen`, or from where it was in version 0.1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.subprocesses import PATIENCE_S
from regimen.config import static_types
from regimen.envs.robots.robot import Robot

ROBOT = """
import dataclasses
from dataclasses import dataclass, field
{imports}

@dataclass
class HolderCfg:
    _target_: str = "my_robot.Holder"
    kind: type = {robot}

class Holder: ...

def my_arm() -> {robot}:
    from regimen.envs.robots.reach_arm.robot import ROBOT
    return dataclasses.replace(ROBOT, name="my_arm")

MINE = my_arm()
assert isinstance(MINE, {robot})
"""
TASK = "# @package env\n# The arm of my own\ndefaults: [reach, _self_]\nrobot: my_robot:MINE\n"
OPEN = """
import regimen
env = regimen.open_env(regimen.compose(["task=mine", "env.num_envs=2", "hardware.threads=1"], ["my_conf"]))
obs = env.reset(seed=0)
print("opened", sorted(obs), env.io.num_actions)
env.close()
"""
NEW = [("from regimen import Robot", "Robot"), ("import regimen", "regimen.Robot")]
OLD = [("from regimen.robots import Robot", "Robot")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_conf/task").mkdir(parents=True)
    (tmp_path / "my_conf/task/mine.yaml").write_text(TASK)
    (tmp_path / "open.py").write_text(OPEN)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(("imports", "robot"), [*NEW, *OLD])
def test_the_launcher_reads_the_module_without_importing_it(folder: Path, imports: str, robot: str) -> None:
    (folder / "my_robot.py").write_text(ROBOT.format(imports=imports, robot=robot) + "raise SystemExit('imported')\n")
    assert static_types.load_cfg_class("my_robot.Holder")().kind is Robot


@pytest.mark.slow
def test_the_robot_is_composed_checked_and_opened(folder: Path) -> None:
    (folder / "my_robot.py").write_text(ROBOT.format(imports=NEW[0][0], robot=NEW[0][1]))
    assert_names(run(folder, "-m", "regimen.cli.main", "check-env", "task=mine", "--config-dir", "my_conf"), "mine")
    output = run(folder, "open.py")
    assert_names(output, "opened")
    assert "FutureWarning" not in output


@pytest.mark.slow
def test_a_robot_that_is_imported_from_its_old_place_is_opened_with_a_warning(folder: Path) -> None:
    (folder / "my_robot.py").write_text(ROBOT.format(imports=OLD[0][0], robot=OLD[0][1]))
    names = ("opened", "FutureWarning", "regimen.robots", "regimen.envs.robots", "my_robot.py")
    assert_names(run(folder, "open.py"), *names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ("", 0, ()),
        ("stiffness=(500.0, 20.0)", 2, ("mine.yaml", "stiffness", "shoulder", 500)),
        ("mjcf=Path('gone.xml')", 2, ("mine.yaml", "gone.xml")),
    ],
)
def test_a_model_that_contradicts_its_robot_is_refused_before_the_start(
    folder: Path, changes: str, code: int, names: tuple[object, ...]
) -> None:
    (folder / "my_robot.py").write_text(
        "import dataclasses\nfrom pathlib import Path\nfrom regimen.envs.robots.reach_arm.robot import ROBOT\n"
        f"print('my robot')\nMINE = dataclasses.replace(ROBOT, name='mine', {changes})\n"
    )
    command = [sys.executable, "-m", "regimen.cli.main", "launch", "--config-dir", "my_conf", "task=mine"]
    done = subprocess.run([*command, "dry_run=true"], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == code, done.stdout + done.stderr
    assert_names(done.stderr, *names)
    assert not (folder / "outputs").exists()
