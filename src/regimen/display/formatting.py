"""Format numbers, times, sizes and tables as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Control characters, and characters without a width or that change the direction of the text."""


def visible(text: str) -> str:
    r"""Return text of a record as one line in which control characters are written out, such as `\x1b` and `\n`.

    A record may have another origin: an escape sequence rewrites the screen, and a line break forges a line.
    """
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """Return text of several lines with control characters written out; line breaks stay."""
    return "\n".join(visible(line.replace("\t", "    ")) for line in text.split("\n"))


def figure(value: Any) -> str:
    """Return a number with four digits, `–` for None, other values as text."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None, style: Literal["words", "compact", "clock"] = "words") -> str:
    """Return a time span, `–` where there is none.

    Args:
        seconds: its length.
        style: `words` has the two largest units, such as `2 h 05 min` or `3.4 s`; `compact` the same in at most six
            characters, such as `2h05m`, `7s` or `57d`; `clock` all of them as Slurm writes them, such as `3:12`,
            `1:03:12` or `2-01:03:12`.
    """
    if seconds is None:
        return "–"
    if style == "words" and seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if style == "clock":
        start = f"{days}-{hours:02d}:{minutes:02d}" if days else f"{hours}:{minutes:02d}" if hours else f"{minutes}"
        return f"{start}:{rest:02d}"
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    first = next((i for i, (count, _) in enumerate(units[:3]) if count), 3)
    two = units[first : first + 2]
    if style == "words":
        (large, unit), (small, below) = two
        return f"{large} {unit} {small:02d} {below}"
    if days >= 10:
        return f"{days}d"
    return "".join(f"{count:02d}{unit[0]}" if i else f"{count}{unit[0]}" for i, (count, unit) in enumerate(two))


def size(count: float) -> str:
    """Return a number of bytes with its unit, such as `1.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:  # which three digits round to 1e+03
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
    """Return aligned lines, control characters in cells written out.

    Args:
        rows: cells; rows may be of different lengths.
        indent: in front of every line.
    """
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return [(indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False))).rstrip() for row in rows]
