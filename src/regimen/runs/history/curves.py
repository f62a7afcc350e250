"""Curves of a run: the columns of metrics.jsonl as arrays, read as the file grows, thinned for a screen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from regimen.system import json_lines
from regimen.system.files import open_regular

CHUNK = 2 * 2**20
"""Bytes of a file that are parsed at once."""

STEP, TIME = "step", "time_s"
"""Columns that every row has: environment steps per env, and seconds since the beginning of its attempt."""

Loads = Callable[[bytes], Any]


class MetricColumns:
    """The columns of metrics.jsonl in memory.

    Rows of different metrics may alternate: each metric has the places of the rows in which it stands.

    Attributes:
        rows: number of rows read so far.
    """

    def __init__(self, folder: Path, loads: Loads = json.loads) -> None:
        """Prepare to read; nothing is read before the first `refresh`.

        Args:
            folder: the run directory.
            loads: parser of JSON, for a faster one.
        """
        self.path = folder / "metrics.jsonl"
        self._loads = loads
        self._inode = -1
        self._forget()

    @property
    def names(self) -> list[str]:
        """Names of the metrics, in the order in which they first appear."""
        return [name for name in self._blocks if name not in (STEP, TIME)]

    def refresh(self) -> bool:
        """Read what was appended since the last call; everything if the file was rewound. Return whether it changed."""
        try:
            stat = self.path.stat()
        except OSError:
            changed = self.rows > 0
            self._forget()
            return changed
        rewound = stat.st_ino != self._inode or stat.st_size < self._offset
        if rewound:
            self._forget()
        self._inode = stat.st_ino
        before = self.rows
        self._read()
        return rewound or self.rows != before

    def column(self, name: str) -> np.ndarray:
        """Return the (n,) values of a metric, NaN where it was not finite; empty for an unknown one."""
        return self._joined(self._blocks, name)

    def steps(self, name: str) -> np.ndarray:
        """Return the (n,) environment steps per env at which a metric was logged."""
        return self.column(STEP)[self._joined(self._places, name).astype(np.int64)]

    def seconds(self, name: str) -> np.ndarray:
        """Return the (n,) seconds of work at which a metric was logged, all attempts added up."""
        times = np.nan_to_num(self.column(TIME))
        if not len(times):
            return times
        ends = np.flatnonzero(np.diff(times) < 0)  # an attempt counts from its own start
        offsets = np.zeros(len(times))
        for end in ends:
            offsets[end + 1 :] += times[end]
        return (times + offsets)[self._joined(self._places, name).astype(np.int64)]

    def _forget(self) -> None:
        self.rows = 0
        self._offset = 0
        self._blocks: dict[str, list[np.ndarray]] = {}
        self._places: dict[str, list[np.ndarray]] = {}

    def _read(self) -> None:
        try:
            file = open_regular(self.path)
        except OSError:
            return
        with file:
            file.seek(self._offset)
            rest = b""
            while data := file.read(CHUNK):
                cut = data.rfind(b"\n") + 1
                if not cut:
                    rest += data
                    continue
                self._add(rest + data[:cut])
                rest = data[cut:]
            self._offset = file.tell() - len(rest)

    def _add(self, chunk: bytes) -> None:
        """Add whole lines."""
        columns = _regular(chunk, self._loads)
        if columns is not None:
            places = np.arange(self.rows, self.rows + len(columns[STEP]))
            for name, values in columns.items():
                self._append(name, values, places)
            self.rows += len(places)
            return
        found: dict[str, tuple[list[float], list[int]]] = {}
        for line in chunk.splitlines(keepends=True):
            row = json_lines.parse(line) if len(line) < json_lines.MAX_LINE else None
            if row is None or json_lines.number_of(row, STEP) is None:
                continue
            row = {STEP: row[STEP], TIME: json_lines.number_of(row, TIME), **row}
            for name, value in row.items():
                if value is None or json_lines.number_of(row, name) is not None:
                    numbers, at = found.setdefault(name, ([], []))
                    numbers.append(math.nan if value is None else float(value))
                    at.append(self.rows)
            self.rows += 1
        for name, (numbers, at) in found.items():
            self._append(name, np.array(numbers), np.array(at))

    def _append(self, name: str, values: np.ndarray, places: np.ndarray) -> None:
        self._blocks.setdefault(name, []).append(values)
        self._places.setdefault(name, []).append(places)

    @staticmethod
    def _joined(blocks: dict[str, list[np.ndarray]], name: str) -> np.ndarray:
        """Return the one array of a column; its blocks are replaced by it."""
        parts = blocks.get(name, [])
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0] if parts else np.empty(0)


def _regular(chunk: bytes, loads: Loads) -> dict[str, np.ndarray] | None:
    """Return name -> (n,) values of lines that all have the keys of the first one, in its order; None for others.

    The keys are cut out and the numbers parsed as one array, which takes a third of the time of objects.

    Args:
        chunk: whole lines.
        loads: parser of JSON.
    """
    first = json_lines.parse(chunk[: chunk.index(b"\n")])
    if not first or STEP not in first or TIME not in first:
        return None
    count, text = chunk.count(b"\n"), chunk
    for number, name in enumerate(first):
        key = b"%s%s: " % (b", " if number else b"{", json.dumps(name).encode())
        if text.count(key) != count:
            return None
        text = text.replace(key, b"," if number else b"")
    if text.count(b"}\n") != count or any(sign in text for sign in b'{"['):
        return None
    signs = np.frombuffer(text, np.uint8)
    before = np.searchsorted(np.flatnonzero(signs == ord(",")), np.flatnonzero(signs == ord("}")))
    if not np.array_equal(before, np.arange(1, count + 1) * (len(first) - 1)):
        return None  # a key that stands twice in one line and is missing in another
    try:
        values = np.array(loads(b"[" + text[:-2].replace(b"}\n", b",") + b"]"), dtype=np.float64)
    except (ValueError, TypeError, RecursionError):
        return None
    if values.size != count * len(first):
        return None
    return dict(zip(first, np.ascontiguousarray(values.reshape(count, -1).T), strict=True))


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average of values, without the bias to zero at the beginning; NaN is left out.

    Args:
        values: (n,).
        weight: of the past, from 0 (no smoothing) to below 1.
    """
    if weight <= 0 or not len(values):
        return values
    there = np.isfinite(values)
    sums = _decayed_sums(np.where(there, values, 0.0), weight)
    weights = _decayed_sums(there.astype(float), weight)
    return np.divide(sums, weights, out=np.full(len(values), np.nan), where=weights > 0)


def _decayed_sums(values: np.ndarray, weight: float) -> np.ndarray:
    """Return s (n,) with s[i] = weight · s[i - 1] + values[i], in blocks: SciPy's filters load for a second."""
    length = max(1, min(512, int(100 / -math.log10(weight))))  # so that no power leaves the range of float64
    blocks = np.zeros((-(-len(values) // length), length))
    blocks.ravel()[: len(values)] = values
    powers = weight ** np.arange(length)
    sums = np.cumsum(blocks / powers, axis=1) * powers
    carry, decay = 0.0, weight**length
    carried = np.empty(len(sums))
    for number, last in enumerate(sums[:, -1]):
        carried[number] = carry
        carry = float(last) + decay * carry
    sums += carried[:, None] * (powers * weight)
    return sums.ravel()[: len(values)]


def thinned(x: np.ndarray, y: np.ndarray, buckets: int) -> np.ndarray:
    """Return the (k, 2) points of a curve that a screen can show, see `peaks`; values that are not finite are left out.

    Args:
        x: (n,) ascending.
        y: (n,).
        buckets: number of buckets.
    """
    there = np.isfinite(x) & np.isfinite(y)
    if not there.all():
        x, y = x[there], y[there]
    places = peaks(y, buckets)
    return np.column_stack([x[places], y[places]])


def peaks(y: np.ndarray, buckets: int) -> np.ndarray:
    """Return the places (k,) of both ends and of the first least and greatest value of each bucket of a curve.

    Args:
        y: (n,) finite.
        buckets: number of buckets, of equal numbers of points; of up to twice as many points all are kept.
    """
    if len(y) <= 2 * buckets:
        return np.arange(len(y))
    edges = np.linspace(0, len(y), buckets + 1).astype(np.int64)
    width = int(np.diff(edges).max())
    inside = edges[:-1, None] + np.arange(width)
    rows = y[np.minimum(inside, edges[1:, None] - 1)]
    starts = edges[:-1]
    last = np.diff(edges) - 1
    chosen = [starts + np.minimum(rows.argmin(1), last), starts + np.minimum(rows.argmax(1), last)]
    return np.unique(np.concatenate([*chosen, [0, len(y) - 1]]))


def averaged(x: np.ndarray, y: np.ndarray, buckets: int) -> np.ndarray:
    """Return the (k, 2) means of the points of each bucket of a curve, for statistics over several curves.

    The least and greatest values, which `thinned` keeps, are no sample of a curve.

    Args:
        x: (n,) ascending.
        y: (n,); values that are not finite are left out.
        buckets: number of buckets, of equal numbers of points; up to twice as many points are returned as they are.
    """
    there = np.isfinite(x) & np.isfinite(y)
    points = np.column_stack([x, y])[there]
    if len(points) <= 2 * buckets:
        return points
    edges = np.linspace(0, len(points), buckets + 1).astype(np.int64)
    return np.add.reduceat(points, edges[:-1]) / np.diff(edges)[:, None]


def window(x: np.ndarray, y: np.ndarray, low: float, high: float, buckets: int, whole: np.ndarray) -> np.ndarray:
    """Return the (k, 2) points of a curve that is zoomed into: fine within the window, as before outside of it.

    The outside keeps the extent of the axis, so that a place on it means the same before and after.

    Args:
        x: (n,) ascending.
        y: (n,).
        low: left end of the window.
        high: right end of the window.
        buckets: of the window; see `thinned`.
        whole: (m, 2) the curve thinned as a whole.
    """
    first = max(0, int(np.searchsorted(x, low, "left")) - 1)
    end = min(len(x), int(np.searchsorted(x, high, "right")) + 1)
    inside = thinned(x[first:end], y[first:end], buckets)
    if not len(inside):
        return whole
    before, after = whole[whole[:, 0] < inside[0, 0]], whole[whole[:, 0] > inside[-1, 0]]
    return np.concatenate([before, inside, after])
