"""Tables with a title, printed through rich: bold and coloured on a terminal, plain text in a file or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

GAP = 3
LAST_WIDTH = 30
"""Least columns of a last column that is wrapped."""

WIDTH = 120
"""Columns of a table that goes to a file or a pipe; on a terminal its width is used."""


@dataclass(frozen=True)
class TextTable:
    """One table.

    Attributes:
        title: line above the header.
        columns: names of the columns; one that begins with `>` is aligned to the right.
        rows: cells of one or more lines, as many per row as there are columns.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def print_tables(tables: Iterable[TextTable], file: TextIO | None = None) -> None:
    """Print tables one below the other.

    One that is wider than the line is continued below with the first column repeated, so that no cell is cut; a last
    column that alone is too long for the line is wrapped.

    Args:
        tables: in order.
        file: by default stdout; the width of one that is no terminal is COLUMNS, if that is set, else `WIDTH`.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    file = file or sys.stdout
    of_terminal = file.isatty() or "COLUMNS" in os.environ
    console = Console(file=file, highlight=False, width=None if of_terminal else WIDTH)
    with console.capture() as text:
        for content in tables:
            console.print(content.title, style="bold", markup=False)
            widths = [_width([name, *(row[i] for row in content.rows)]) for i, name in enumerate(content.columns)]
            for columns in _parts(widths, console.width):
                table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
                for index in columns:
                    name = content.columns[index]
                    justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
                    whole = index < len(widths) - 1 and widths[index] <= console.width - LAST_WIDTH - GAP
                    table.add_column(name.removeprefix(">"), justify=justify, no_wrap=whole, overflow="fold")
                for row in content.rows:
                    table.add_row(*(row[index] for index in columns))
                console.print(table, markup=False)
                console.print()
    file.write("".join(f"{line.rstrip()}\n" for line in text.get().splitlines()))
    file.flush()


def _width(cells: list[str]) -> int:
    from rich.cells import cell_len

    return max(cell_len(line) for cell in cells for line in cell.splitlines() or [""])


def _parts(widths: list[int], line: int) -> list[list[int]]:
    """Return the columns of each part of a table, the first one in all; a wide last column is wrapped."""
    last, parts = len(widths) - 1, [[0]]
    for index in range(1, len(widths)):
        wanted = min(widths[index], LAST_WIDTH) if index == last else widths[index]
        if len(parts[-1]) > 1 and sum(widths[i] + GAP for i in parts[-1]) + wanted > line:
            parts.append([0])
        parts[-1].append(index)
    return parts
