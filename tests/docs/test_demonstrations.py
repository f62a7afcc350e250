"""docs/demonstrations.md: its Python runs, its commands parse, its table of discounts is right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.demonstrated_env import DemonstratedEnvCfg
from regimen.config.compose import compose_config
from regimen.envs.controls.config import ControlsCfg
from stages.test_collect_demonstrations import collect

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "demonstrations.md").read_text()


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(collect(tmp_path, DemonstratedEnvCfg(), episodes=3).parent)
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "demonstrations.md", "exec"), names)
    assert len(names["demos"].lengths) == 3 and names["episode"].obs["camera"].ndim == 4


def test_the_commands_compose() -> None:
    commands = re.findall(r"^python launch.py (stage=.*)$", TEXT, re.M)
    assert len(commands) == 3
    for command in commands:
        assert compose_config(shlex.split(command), []).stage.episodes == 25


def test_discounts_are_computed() -> None:
    rows = re.findall(r"^\| (0\.\d+) \| ([\de.-]+) \| ([\de.-]+) \| ([\de.-]+) \|$", TEXT, re.M)
    assert len(rows) == 3
    for discount, *kept in rows:
        for length, value in zip((20, 100, 830), kept, strict=True):
            assert float(value) == pytest.approx(float(discount) ** length, rel=0.06)


def test_the_controls_are_a_part_of_the_defaults() -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    shown, known = yaml.safe_load(block)["controls"], ControlsCfg()
    for table in ("keyboard", "gamepad"):
        assert shown[table].items() <= getattr(known, table).items()
    assert (shown["device"], shown["speed"], shown["dead_zone"]) == (known.device, known.speed, known.dead_zone)
