"""`regimen import-robot`: the folder of a robot from an MJCF or a URDF, checked in a simulator."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from helpers.messages import assert_names, raises_naming
from helpers.robot_files import JOINTS, write_biped
from helpers.subprocesses import PATIENCE_S
from regimen.cli.import_robot import import_robot_verb
from regimen.system.errors import ConfigError

GENESIS = find_spec("genesis")
ASSETS = Path(GENESIS.origin or "").parent / "assets" if GENESIS is not None else Path()


def regimen(folder: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "regimen.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_all_wrong_figures_are_named(tmp_path: Path) -> None:
    with raises_naming(ConfigError, "--effort", "knee", "--kp", "a=0"):
        import_robot_verb([str(write_biped(tmp_path)), "--effort", "knee", "--kp", "a=0"])


def test_a_shipped_robot_is_not_replaced(tmp_path: Path) -> None:
    file = write_biped(tmp_path).rename(tmp_path / "go2.xml")
    with raises_naming(ConfigError, "go2", "my_go2", "--name"):
        import_robot_verb([str(file), "--into", str(tmp_path / "go2")])


@pytest.mark.slow
def test_a_file_becomes_a_robot_that_is_checked_and_trained(tmp_path: Path) -> None:
    write_biped(tmp_path / "source")
    output = regimen(tmp_path, "import-robot", "source/walker.xml", "--name", "stroller", "--effort", ".*_ankle=20")
    assert_names(output, *JOINTS, "left_foot", "ok", "robot", "stroller_flat", "stroller/conf")
    with Image.open(tmp_path / "stroller/import.png") as picture:
        assert len(picture.getcolors(1 << 24) or []) > 100
    task = ("--config-dir", "stroller/conf", "task=stroller_flat")
    small = ("env.num_envs=8", "agent.trainer.timesteps=48", "name=stroll")
    assert_names(regimen(tmp_path, "launch", *task, "agent=skrl_ppo", *small), "finished", "samples")


@pytest.mark.slow
@pytest.mark.skipif(GENESIS is None, reason="genesis-world, whose wheel has the URDF, is not installed: make genesis")
def test_a_urdf_of_others_is_imported(tmp_path: Path) -> None:
    output = regimen(tmp_path, "import-robot", ASSETS / "urdf/go2/urdf/go2.urdf", "--name", "dog")
    assert_names(output, "FL_foot", "FR_foot", "RL_foot", "RR_foot", "23.7", "robot", "dog_flat")
