"""The page on motion clips: its code runs, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.motions import walk
from regimen.envs.motion.npz import read_arrays
from regimen.envs.terms import events, metrics, observations, rewards, terminations

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "motion.md").read_text()


def test_the_code_of_the_page_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(code, "docs/motion.md", "exec"), {})


def test_the_arrays_of_the_format_are_those_that_are_written(tmp_path: Path) -> None:
    walk().save(tmp_path / "a.npz")
    table = PAGE.split("Regimen's own format:")[1].split("Velocities are")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)} == read_arrays(
        tmp_path / "a.npz"
    ).keys()


def test_every_term_of_the_table_exists() -> None:
    rows = re.findall(r"^\| (event|observation|reward|termination|metric) \| (.*?) \|", PAGE, re.M)
    modules = {"event": events, "observation": observations, "reward": rewards, "termination": terminations}
    modules["metric"] = metrics
    named = [(kind, name) for kind, cell in rows for name in re.findall(r"`(\w+)`", cell)]
    assert len(named) > 12
    assert [name for kind, name in named if not hasattr(modules[kind], name)] == []
