"""docs/histories.md: its commands compose, its example runs, and it names what a dataset and its settings hold."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from helpers.history_files import made, write
from regimen.config.compose import compose_config
from regimen.data.histories.file import KINDS
from regimen.envs.mass_randomization import MassRangeCfg
from regimen.stages.recording.config import BOXES, MODES, NoiseCfg

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "histories.md").read_text()
COMMANDS = re.findall(r"^python launch\.py (.*)", TEXT, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_compose(command: str) -> None:
    words = [word for word in shlex.split(command) if not word.startswith("policy=")]
    assert compose_config(words).stage.episodes == 40


def test_its_example_runs(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(code, "histories.md", "exec"), {"path": write(tmp_path, made([np.array([1.0, 2.0])], 3))})


def test_it_names_datasets_settings_and_modes() -> None:
    settings = [f.name for cfg in (NoiseCfg, MassRangeCfg) for f in fields(cfg) if not f.name.startswith("_")]
    named = set(re.findall(r"\b\w+\b", TEXT))
    assert {*KINDS, *settings, *MODES, *BOXES} - named == set()
    assert len(COMMANDS) == 2
