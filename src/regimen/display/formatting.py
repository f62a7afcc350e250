"""Numbers, times and tables as the views print them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any


def figure(value: Any) -> str:
    """Return a number with four digits, `–` where there is none, and anything else as it is."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """Return a time span in its two largest units, such as `2 h 05 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def size(count: float) -> str:
    """Return a number of bytes with its unit, such as `1.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def when(iso: str | None) -> str:
    """Return a recorded time without its seconds and offset, `–` where there is none."""
    try:
        return datetime.fromisoformat(str(iso)).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return "–"


def table(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Return aligned lines.

    Args:
        rows: cells; rows may be of different lengths.
        indent: in front of every line.
    """
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return [(indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False))).rstrip() for row in rows]
