"""Runs whose metrics are forwarded for real, by a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from runs.loggers.runs import attempt

TESTS = Path(__file__).parents[2]


@pytest.fixture
def new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Make a run with the given loggers, name -> configuration, and start the forwarding."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)]))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)

    def make(**loggers: dict[str, Any]) -> Run:
        config = {"seed": 3, "env": {"num_envs": 4}, "choices": {"task": "reach", "stage": "train"}, "logger": loggers}
        return attempt(Run(create_run_dir(tmp_path, config, ["launch.py"], ["seed=3"], repository=tmp_path)))

    return make
