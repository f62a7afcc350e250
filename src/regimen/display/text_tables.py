"""Tables with a title, printed through rich: bold and coloured on a terminal, plain text in a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

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
    """Print tables one below the other; a last column that is too long for the line is wrapped.

    Args:
        tables: in order.
        file: by default stdout.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    file = file or sys.stdout
    console = Console(file=file, highlight=False, width=None if file.isatty() else WIDTH)
    with console.capture() as text:
        for content in tables:
            table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
            for name in content.columns:
                justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
                last = name is content.columns[-1]
                table.add_column(name.removeprefix(">"), justify=justify, no_wrap=not last, overflow="fold")
            for row in content.rows:
                table.add_row(*row)
            console.print(content.title, style="bold", markup=False)
            console.print(table, markup=False)
            console.print()
    file.write("".join(f"{line.rstrip()}\n" for line in text.get().splitlines()))
    file.flush()
