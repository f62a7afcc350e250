"""`benchmarks/gpu.py` on a CPU with tiny sizes: what it writes, and that its time is kept."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"


def rows(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(SCRIPT), "--cpu", "--tiny", "--out", str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=folder.parent)
    found: list[dict[str, Any]] = json.loads((folder / "gpu.json").read_text())["rows"]
    return found


@pytest.mark.slow
def test_a_training_is_measured_with_its_memory_and_written_as_a_page(tmp_path):
    found = rows(tmp_path / "out", "--only", "training", "--seconds", "120")
    assert [(row["part"], row["value"] > 0, row["note"][:4]) for row in found][:1] == [("training", True, "")]
    (memory,) = [row for row in found if row["part"] == "memory"]
    assert memory["value"] == pytest.approx(1.0, abs=0.15)
    page = (tmp_path / "out" / "gpu.md").read_text()
    assert all(row["label"] in page for row in found)
    assert (tmp_path / "out" / "gpu.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_what_the_time_does_not_suffice_for_is_listed_as_such(tmp_path):
    begin = time.monotonic()
    found = rows(tmp_path / "out", "--seconds", "3", "--only", "training", "vintix")
    assert time.monotonic() - begin < 60
    assert {row["part"] for row in found} == {"training", "vintix"}
    assert all(row["value"] is None and "no time left" in row["note"] for row in found)
