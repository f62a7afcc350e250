"""The table that an evaluation prints."""

from __future__ import annotations

from regimen.display.text_tables import TextTable, print_tables
from regimen.stages.evaluation.metrics import Judgement


def command_label(command: list[float] | None) -> str:
    """Return a short name of a command, `all` for none."""
    return ", ".join(f"{value:g}" for value in command) if command else "all"


def print_table(whole: Judgement, each: list[Judgement]) -> None:
    """Print one line per command and one for all together."""
    rows = [*each, whole] if each[0].command else [whole]
    names = each[0].shown()
    heads = ["command", "falls", *(name.replace("_", "\n") for name in names)]
    title = "evaluation, with 95 % intervals: bootstrap, for survival Wilson"
    if "speed_error" in names:
        title += " (speed error of `all`: the worst command's)"
    cells = [
        (
            command_label(row.command),
            f"{row.falls}\nof {row.episodes}",
            *(row.figures[name].two_lines() for name in names),
        )
        for row in rows
    ]
    print_tables([TextTable(title, heads, cells)])
