"""Columns of metrics.jsonl say what its rows say, whatever their form, and thinning keeps what a person looks for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regimen.runs.history.curves import MetricColumns, averaged, smoothed, thinned, window
from regimen.runs.metrics import MetricsLog

NUMBERS = st.one_of(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(-5, 5), st.none())
NAMES = st.sampled_from(["a", "Train/return", 'x"y', "ü {", "a, b"])
ROWS = st.lists(st.tuples(st.dictionaries(NAMES, NUMBERS, max_size=3), st.sampled_from(["", "cut", "[1]", "spaced"])))


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def expected(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Metric -> (step, value) by the rows that every other reader sees."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in MetricsLog(folder).rows():
        for name, value in row.items():
            if name not in ("step", "time_s") and (value is None or isinstance(value, int | float)):
                found.setdefault(name, []).append((row["step"], math.nan if value is None else value))
    return found


def read(columns: MetricColumns) -> dict[str, list[tuple[float, float]]]:
    return {name: list(zip(columns.steps(name), columns.column(name), strict=True)) for name in columns.names}


def assert_same(columns: MetricColumns, folder: Path) -> None:
    found, wanted = read(columns), expected(folder)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_columns_are_those_of_the_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("run")
    with (folder / "metrics.jsonl").open("w") as file:
        for step, (metrics, damage) in enumerate(rows):
            text = json.dumps({"step": step, "time_s": step / 10, **metrics})
            file.write({"cut": text[:-4], "[1]": "[1]", "spaced": text.replace(": ", ":  ")}.get(damage, text) + "\n")
    columns = MetricColumns(folder)
    columns.refresh()
    assert_same(columns, folder)


def test_only_what_was_appended_is_read_and_a_half_written_line_waits(tmp_path: Path) -> None:
    columns = MetricColumns(tmp_path)
    assert not columns.refresh() and columns.names == []
    write(tmp_path, [{"step": s, "time_s": s, "a": s * 0.5} for s in range(100)])
    assert columns.refresh() and not columns.refresh()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 100, "time_s": 100, "a"')
        file.flush()
        assert not columns.refresh()
        file.write(": 7.0}\n")
    assert columns.refresh()
    assert columns.column("a")[-1] == 7.0 and columns.rows == 101
    assert_same(columns, tmp_path)


def test_a_rewound_file_is_read_anew(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    for step in range(20):
        log.write(step, {"a": step})
    columns = MetricColumns(tmp_path)
    columns.refresh()
    log.rewind(9)
    for step in range(10, 30):
        log.write(step, {"a": -step})
    assert columns.refresh()
    assert_same(columns, tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    assert columns.refresh() and columns.names == []


def test_keys_that_alternate_within_lines_are_not_mixed_up(tmp_path: Path) -> None:
    with (tmp_path / "metrics.jsonl").open("w") as file:
        file.write('{"step": 1, "time_s": 1, "a": 1.0}\n')
        file.write('{"step": 2, "time_s": 2, "a": 2.0, "a": 3.0}\n')
        file.write('{"step": 3, "time_s": 3}\n')
    columns = MetricColumns(tmp_path)
    columns.refresh()
    assert_same(columns, tmp_path)


def test_the_time_of_attempts_adds_up(tmp_path: Path) -> None:
    times = [1.0, 2.0, 3.0, 0.5, 1.5, 0.25]
    write(tmp_path, [{"step": s, "time_s": t, "a": 0.0} for s, t in enumerate(times)])
    columns = MetricColumns(tmp_path)
    columns.refresh()
    np.testing.assert_allclose(columns.seconds("a"), [1.0, 2.0, 3.0, 3.5, 4.5, 4.75])


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.6, 0.99, 0.9999])
def test_smoothing_is_the_moving_average_without_its_bias(weight: float) -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, 2000)
    values[[5, 700]] = np.nan
    mean, mass, wanted = 0.0, 0.0, []
    for value in values:
        there = math.isfinite(value)
        mean = weight * mean + (1 - weight) * (value if there else 0.0)
        mass = weight * mass + (1 - weight) * there
        wanted.append(mean / mass if mass else math.nan)
    wanted = wanted if weight else list(values)
    np.testing.assert_allclose(smoothed(values, weight), wanted, rtol=1e-9)


def test_means_of_buckets_are_those_of_the_curve() -> None:
    x = np.arange(20_000.0)
    y = np.random.default_rng(0).exponential(1.0, len(x))
    y[::100] = np.nan
    points = averaged(x, y, 500)
    assert len(points) == 500 and (np.diff(points[:, 0]) > 0).all()
    assert points[:, 1].mean() == pytest.approx(np.nanmean(y), rel=0.01)
    np.testing.assert_array_equal(averaged(x[1:9], y[1:9], 500), np.column_stack([x, y])[1:9])


def test_thinning_keeps_both_ends_and_every_peak() -> None:
    x = np.arange(100_000.0)
    y = np.sin(x / 9_000)
    y[77_777], y[12_345] = 9.0, -9.0
    points = thinned(x, y, 300)
    assert len(points) <= 602 and (np.diff(points[:, 0]) > 0).all()
    assert points[0, 0] == 0 and points[-1, 0] == 99_999
    assert [77_777, 9.0] in points.tolist() and [12_345, -9.0] in points.tolist()
    few = np.array([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(thinned(np.arange(3.0), few, 300), [[0, 1], [2, 3]])


def test_a_window_is_fine_inside_and_has_the_whole_extent() -> None:
    x = np.arange(1_000_000.0)
    y = np.cos(x)
    points = window(x, y, 500_000, 500_200, 300, thinned(x, y, 300))
    assert points[0, 0] == 0 and points[-1, 0] == 999_999
    inside = points[(points[:, 0] >= 500_000) & (points[:, 0] <= 500_200)]
    np.testing.assert_array_equal(inside, np.column_stack([x, y])[500_000:500_201])
    assert len(points) < 1_000 and (np.diff(points[:, 0]) > 0).all()
