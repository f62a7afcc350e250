"""Observations and actions of a task are the same read here and in another interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.messages import raises_naming
from regimen.config.compose import compose_config
from regimen.envs.task_io import io_of
from regimen.system.errors import ConfigError, PreflightError


def python(folder: Path, does: str) -> str:
    """An executable that counts as another interpreter."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\necho printed by a library\n{does}\n")
    path.chmod(0o755)
    return f"hardware.interpreters.mujoco={path}"


@pytest.mark.slow
def test_another_interpreter_reads_the_same(tmp_path: Path) -> None:
    there = compose_config(["task=reach", python(tmp_path, f'exec {sys.executable} "$@"')])
    assert io_of(there).to_dict() == io_of(compose_config(["task=reach"])).to_dict()


@pytest.mark.slow
def test_errors_of_the_other_interpreter_are_told(tmp_path: Path) -> None:
    broken = compose_config(["task=reach", python(tmp_path, "echo libcuda is missing >&2; exit 7")])
    with raises_naming(PreflightError, tmp_path / "python", 7, "libcuda"):
        io_of(broken)
    wrong = compose_config(["task=reach", python(tmp_path, f'exec {sys.executable} "$@"')])
    wrong.env.robot = "reach_arn"
    with raises_naming(ConfigError, "reach_arn"):
        io_of(wrong)


@pytest.mark.parametrize("path", ["/no/python"])
def test_an_interpreter_that_cannot_be_started_is_named(path: str) -> None:
    with raises_naming(PreflightError, path):
        io_of(compose_config(["task=reach", f"hardware.interpreters.mujoco={path}"]))
