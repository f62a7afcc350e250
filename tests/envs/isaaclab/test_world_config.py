"""Problems of `sim=isaaclab` that are found before its start, without importing Isaac Lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import assert_names
from regimen.config.compose import compose
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.envs.isaaclab.world_config import IsaacLabWorldCfg
from regimen.envs.isaaclab.world_scene import read_outline
from regimen.envs.robots.model_check import compile_model
from regimen.envs.robots.robot import available, load
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg
from regimen.system import host

CONF = Path(__file__).resolve().parents[3] / "conf"


@pytest.fixture
def python(tmp_path: Path) -> str:
    """A Python whose folder names the packages of Isaac Lab."""
    path = tmp_path / "bin" / "python"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    (tmp_path / "pyvenv.cfg").write_text("")
    for name, begin in ISAAC_LAB.needed.items():
        folder = tmp_path / "lib" / "python3.12" / "site-packages"
        (folder / f"{name.replace('-', '_')}-{begin}.0.dist-info").mkdir(parents=True)
    return str(path)


def problems(python: str, **values: object) -> list[str]:
    plain = {"choices": {"sim": "isaaclab"}, "hardware": {"interpreters": {"isaaclab": python}}}
    return IsaacLabWorldCfg(**values).problems(plain)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["go2_flat", "h1_flat", "h1_failure", "k1_walk", "reach"])
def test_the_worker_starts_in_the_interpreter_of_isaac_lab(task, python):
    plain = compose([f"task={task}", "sim=isaaclab", f"hardware.interpreters.isaaclab={python}"], [CONF]).plain
    assert host.interpreter(plain) == python
    assert problems(python) == []


def test_an_interpreter_without_isaac_lab_is_named_with_what_to_type(tmp_path):
    (line,) = problems(str(tmp_path / "python"))
    assert_names(line, str(tmp_path / "python"), "isaaclab", "newton", "make isaaclab")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("substeps", 0, "1 or more"),
        ("iterations", 0, "1 or more"),
        ("ls_iterations", -1, "1 or more"),
        ("tolerance", 0.0, "more than 0"),
        ("cone", "eliptic", "elliptic"),
        ("integrator", "rk4", "implicitfast"),
    ],
)
def test_a_wrong_value_is_named_before_the_start(key, value, named, python):
    (line,) = problems(python, **{key: value})
    assert_names(line, f"{key}={value}", named)


@pytest.mark.parametrize("name", available())
def test_bodies_and_sites_are_those_of_mujoco(name):
    robot = load(name)
    outline, world = read_outline(compile_model(robot)), MujocoWorld(MujocoWorldCfg(), robot, 1, 1)
    assert list(outline.monitored) == world.bodies
    assert list(outline.sites) == world.sites
    assert all(outline.monitored[foot] for foot in robot.feet)
