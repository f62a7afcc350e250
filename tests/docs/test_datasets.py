"""docs/datasets.md: its example runs, and names every attribute that a collected file has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from helpers.episode_files import balanced, write
from regimen.data.episodes.schema import EpisodeAttributes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "episodes.h5", balanced(8, 2), staggered=True)
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "datasets.md", "exec"), names)
    assert names["train"].fits and names["train"].summary() in capsys.readouterr().out


def test_every_attribute_of_a_collection_is_described() -> None:
    names = [field.name for field in fields(EpisodeAttributes) if not field.name.startswith("legacy")]
    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in PAGE.read_text()] == []
