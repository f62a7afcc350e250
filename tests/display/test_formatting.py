"""Numbers, times and tables are short and aligned."""

from __future__ import annotations

import pytest

from regimen.display.formatting import duration, figure, size, table, when


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (3.21, "3.2 s"),
        (61, "1 min 01 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90000, "1 d 01 h"),
    ],
)
def test_durations_have_two_units(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "compact", "clock"),
    [
        (7, "7s", "0:07"),
        (245, "4m05s", "4:05"),
        (7800, "2h10m", "2:10:00"),
        (273_700, "3d04h", "3-04:01:40"),
        (57 * 86_400, "57d", "57-00:00:00"),
        (-3, "0s", "0:00"),
    ],
)
def test_durations_in_columns(seconds: float, compact: str, clock: str) -> None:
    assert (duration(seconds, "compact"), duration(seconds, "clock")) == (compact, clock)


def test_figures_sizes_and_times() -> None:
    assert [figure(v) for v in (None, 1234.567, 3, True)] == ["–", "1235", "3", "True"]
    assert [size(n) for n in (12, 201_000, 1.3e9, 4e12)] == ["12 B", "201 kB", "1.3 GB", "4 TB"]
    assert [size(n) for n in (999, 999_400, 999_600, 999_999_999)] == ["999 B", "999 kB", "1 MB", "1 GB"]
    assert when("2026-11-20T10:05:09+00:00") == "2026-11-20 10:05"
    assert when(None) == when("yesterday") == "–"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([("a", "bb", "c"), ("long", "b")]) == ["a     bb  c", "long  b"]
    assert table([]) == []
