"""Rows of a file: one damaged line hides one line, and a file of any size is thinned in bounded memory."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from regimen.system import json_lines


def written(path: Path, count: int, padding: int = 0) -> Path:
    with path.open("w") as file:
        for step in range(count):
            rare = {"Eval/score": step} if step % 50 == 0 else {}
            file.write(json.dumps({"step": step, "note": "x" * padding, **rare}) + "\n")
    return path


@pytest.mark.parametrize(
    "damage",
    [
        b'{"step": 1, "\xff\xfe": 2}\n',
        b'{"step": 1,\n',
        b"[" * 100_000 + b"\n",
        b"[1]\n",
        b"{" * 3 * 2**20 + b"\n",
        b"\n",
    ],
)
def test_one_damaged_line_hides_one_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 0}\n' + damage + b'{"step": 2}\n{"step": 3')
    assert [row["step"] for row in json_lines.rows(path)] == [0, 2]


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    assert list(json_lines.rows(tmp_path / "none")) == []
    assert json_lines.thinned(tmp_path / "none", 10) == ([], 1)


@pytest.mark.parametrize("padding", [0, 500])
def test_rows_are_thinned_evenly_and_in_order(tmp_path: Path, padding: int) -> None:
    path = written(tmp_path / "metrics.jsonl", 40_000, padding)
    rows, block = json_lines.thinned(path, 400)
    steps = [row["step"] for row in rows]
    assert 390 <= len(rows) <= 400 and 90 <= block <= 110
    assert steps == sorted(set(steps)) and steps[0] < 400 and steps[-1] > 39_500
    assert max(b - a for a, b in itertools.pairwise(steps)) < 400
    scores, _ = json_lines.thinned(path, 400, "Eval/score")
    assert len(scores) >= 350 and all("Eval/score" in row for row in scores)


def test_few_rows_are_all_returned(tmp_path: Path) -> None:
    rows, block = json_lines.thinned(written(tmp_path / "metrics.jsonl", 300), 300)
    assert [row["step"] for row in rows] == list(range(300)) and block == 1
