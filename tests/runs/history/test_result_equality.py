"""Two results are equal bit for bit, or it is said where they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import assert_names
from helpers.run_directories import add
from regimen.runs import checkpoint
from regimen.runs.history.result_equality import differences, unequal
from regimen.runs.history.run_view import RunView, open_view_dir


def result(outputs: Path, run_id: str, **changes: Any) -> RunView:
    """A finished run with a checkpoint, metrics, and a result."""
    known = {"weight": torch.arange(4.0), "metric": 1.0, "data": "d", "rows": [1.0, 2.0, 3.0]} | changes
    artifact = {"path": "data/e.h5", "kind": "dataset", "bytes": 1, "sha256": known["data"]}
    folder = add(outputs, run_id, artifacts=[artifact])
    bundle = {"policy": {"w": known["weight"]}, "metric": known["metric"], "format": 1, "run": run_id}
    checkpoint.save(folder / "checkpoints/last.pt", bundle)
    timed = {"Perf/samples_per_s": hash(run_id), "Stats/Update time (ms)": hash(run_id), "time_s": hash(run_id)}
    rows = [{"step": i, "Train/return": value, **timed} for i, value in enumerate(known["rows"])]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "result.json").write_text(
        json.dumps({"headline": {"return": known["rows"][-1]}, "first_step_at": run_id})
    )
    return open_view_dir(folder)


def test_only_clocks_and_names_differ(tmp_path: Path) -> None:
    assert differences(result(tmp_path, "a"), result(tmp_path, "b")) == []


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"weight": torch.tensor([0.0, 1.0, 2.0, 3.0000002])}, ("policy.w", "1 of 4", "2.38e-07")),
        ({"weight": torch.tensor([-0.0, 1.0, 2.0, 3.0])}, ("policy.w", "1 of 4", "0")),
        ({"weight": torch.zeros(3)}, ("policy.w", "(4,) torch.float32", "(3,) torch.float32")),
        ({"metric": 2.0}, ("checkpoints/last.pt", "metric", "1.0", "2.0")),
        ({"data": "e"}, ("data/e.h5",)),
        ({"rows": [1.0, 2.5, 3.0]}, ("metrics.jsonl", "Train/return", "2.0", "2.5", "step 1")),
        ({"rows": [1.0, 2.0, 3.0, 3.0]}, ("metrics.jsonl", "3", "4", "steps")),
    ],
)
def test_each_difference_is_named(tmp_path: Path, change: dict[str, Any], names: tuple[str, ...]) -> None:
    [found] = differences(result(tmp_path, "a"), result(tmp_path, "b", **change))
    assert_names(found, *names)


def test_a_missing_or_damaged_checkpoint_is_a_difference(tmp_path: Path) -> None:
    a, b = result(tmp_path, "a"), result(tmp_path, "b")
    (b.dir / "checkpoints/last.pt").write_bytes(b"no zip")
    assert_names(differences(a, b)[0], b.dir / "checkpoints/last.pt")
    (b.dir / "checkpoints/last.pt").unlink()
    [line] = differences(a, b)
    assert_names(line, "checkpoints/last.pt", "first")


def test_not_a_number_equals_itself_and_types_count() -> None:
    nan = float("nan")
    assert list(unequal([nan, torch.tensor(nan)], [nan, torch.tensor(nan)])) == []
    types, lengths = unequal({"a": 1, "b": [1, 2]}, {"a": 1.0, "b": [1]})
    assert_names(types, "a", "1", "1.0")
    assert_names(lengths, "b", "[1, 2]", "[1]")


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    a, b = ({str(i): i + shift for i in range(30)} for shift in (0, 1))
    runs = [result(tmp_path, name) for name in "ab"]
    for run, content in zip(runs, (a, b), strict=True):
        (run.dir / "result.json").write_text(json.dumps(content))
    found = differences(*runs)
    assert_names(found[-1], 30 - len(found[:-1]))
    assert len(found) < 30
