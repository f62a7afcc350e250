"""The table that an evaluation prints."""

from __future__ import annotations

from regimen.stages.evaluation.metrics import EvaluationMetrics


def command_label(command: list[float] | None) -> str:
    """Return a short name of a command, `all` for none."""
    return ", ".join(f"{value:g}" for value in command) if command else "all"


def print_table(whole: EvaluationMetrics, each: list[EvaluationMetrics]) -> None:
    """Print one line per command and one for all together."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    rows = [*each, whole] if each[0].command else [whole]
    names = each[0].shown()
    heads = [name.replace("_", "\n") for name in names]
    title = "evaluation, with 95 % intervals: bootstrap, for survival Wilson"
    if "speed_error" in names:
        title += " (speed error of `all`: the worst command's)"
    table = Table("command", "falls", *heads, title=title, box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for row in rows:
        cells = [row.figures[name].two_lines() for name in names]
        table.add_row(command_label(row.command), f"{row.falls}\nof {row.episodes}", *cells)
    Console(width=100).print(table)
