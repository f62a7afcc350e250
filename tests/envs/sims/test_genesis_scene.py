"""What stands against a start of Genesis is found before it, without importing it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from regimen.envs.robots.robot import available, load
from regimen.envs.sims import genesis_scene
from regimen.envs.sims.genesis_scene import read_outline
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg
from regimen.system.errors import ConfigError


@pytest.fixture
def python(tmp_path: Path):
    """An interpreter that has Genesis, or has not."""

    def make(has: bool) -> str:
        file = tmp_path / f"python-{has}"
        file.write_text(f"#!/bin/sh\nexit {0 if has else 1}\n")
        file.chmod(0o755)
        return str(file)

    return make


@pytest.fixture
def libraries(monkeypatch):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: f"lib{name}.so.1")


def test_an_interpreter_without_genesis_is_named_with_what_to_type(python, libraries):
    assert genesis_scene.missing(python(True), viewer=False) == []
    (line,) = genesis_scene.missing(without := python(False), viewer=False)
    assert_names(line, without, "make genesis")


@pytest.mark.skipif(sys.platform != "linux", reason="Debian packages")
def test_missing_system_libraries_are_named_by_their_packages(python, monkeypatch):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None if name == "EGL" else "there")
    (line,) = genesis_scene.missing(python(True), viewer=False)
    assert_names(line, "apt-get install --no-install-recommends libegl1")


@pytest.mark.skipif(sys.platform != "linux", reason="displays of X and Wayland")
def test_a_window_needs_a_display(python, libraries, monkeypatch):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    (line,) = genesis_scene.missing(python(True), viewer=True)
    assert_names(line, "viewer=true", "video=true")
    monkeypatch.setenv("DISPLAY", ":0")
    assert genesis_scene.missing(python(True), viewer=True) == []


@pytest.mark.parametrize("name", available())
def test_the_outline_of_a_model_names_bodies_and_sites_as_mujoco_does(name):
    robot, outline = load(name), read_outline(load(name))
    world = MujocoWorld(MujocoWorldCfg(), robot, 1, 1)
    assert list(outline.monitored) == world.bodies
    assert list(outline.sites) == world.sites
    assert "include" not in outline.without_ground


def test_a_robot_in_an_included_file_is_refused(tmp_path):
    arm = load("reach_arm")
    text = arm.mjcf.read_text().replace("../scene.xml", str(arm.mjcf.parents[1] / "scene.xml"))
    (tmp_path / "robot.xml").write_text(text)
    (tmp_path / "arm.xml").write_text('<mujoco><include file="robot.xml"/></mujoco>')
    included = replace(arm, mjcf=tmp_path / "arm.xml")
    MujocoWorld(MujocoWorldCfg(), included, 1, 1)
    with raises_naming(ConfigError, "shoulder", "elbow", "includes", "sim=mujoco"):
        read_outline(included)
