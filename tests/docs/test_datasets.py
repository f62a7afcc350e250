"""docs/datasets.md: its example runs, and names every attribute that a collected file has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from helpers.episode_files import balanced, write

PAGE = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "episodes.h5", balanced(8, 2), staggered=True)
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "datasets.md", "exec"), names)
    assert names["train"].fits and names["train"].summary() in capsys.readouterr().out


def test_every_attribute_of_a_collection_is_described() -> None:
    source = (PAGE.parents[1] / "src/regimen/stages/recording/episode_recorder.py").read_text()
    facts = source.partition("def _attributes")[2].partition("def ")[0]
    names = re.findall(r'^            "(\w+)":', facts, re.M)
    assert len(names) > 12
    assert [name for name in names if f"`{name}`" not in PAGE.read_text()] == []
