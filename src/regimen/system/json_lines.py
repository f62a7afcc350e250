"""Files with one JSON object per line, such as metrics.jsonl: read one line at a time, damaged lines left out."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regimen.system.files import open_regular
from regimen.system.json_data import Json

MAX_LINE = 2**20
"""Longest line in bytes that is read; a longer one is damage."""

READ_WHOLE = 8 * 2**20
"""Size in bytes up to which all rows of a file are read to thin them."""


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; nothing if there is no regular file."""
    try:
        file = open_regular(path)
    except OSError:
        return
    with file:
        while line := file.readline(MAX_LINE):
            if line.endswith(b"\n") or len(line) < MAX_LINE:
                yield line
            else:
                while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass


def parse(line: bytes) -> Json | None:
    """Return the object of a line; None for a line that is damaged or cut."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def rows(path: Path) -> Iterator[Json]:
    """Yield the objects of a file, one in memory at a time."""
    return (row for line in lines(path) if (row := parse(line)) is not None)


def thinned(path: Path, most: int, key: str = "") -> tuple[list[Json], int]:
    """Return at most `most` rows in order, and of about how many neighbouring rows one was taken.

    A large file is not read whole: one row is taken from each of `most` parts, from a place in it that is drawn by the
    same seed each time, so that a row that comes every so often is not missed.

    Args:
        path: the file.
        most: of rows; all are returned where there are no more.
        key: only rows with this key count.
    """
    size = path.stat().st_size if path.is_file() else 0
    if size <= READ_WHOLE:
        every = [row for row in rows(path) if not key or key in row]
        block = max(1, math.ceil(len(every) / most))
        draw = random.Random(0)
        return [draw.choice(every[first : first + block]) for first in range(0, len(every), block)], block
    name, draw, kept = f"{json.dumps(key)}:".encode() if key else b"", random.Random(0), []
    with open_regular(path) as file:
        for part in range(most):
            start = max(file.tell(), round((part + draw.random()) * size / most))
            file.seek(start)
            file.readline(MAX_LINE)  # the rest of a line
            while (line := file.readline(MAX_LINE)) and name not in line and file.tell() < (part + 1) * size / most:
                pass
            row = parse(line) if name in line else None
            kept += [(row, len(line))] if row is not None else []
    length = sum(size for _, size in kept) / max(1, len(kept))
    return [row for row, _ in kept], max(1, round(size / max(1.0, length) / most))


def number_of(row: Json, key: str) -> float | None:
    """Return a value of a row if it is a number, else None."""
    value: Any = row.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
