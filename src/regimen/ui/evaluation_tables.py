"""Tables of an evaluation's result: every figure with its 95 % interval."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from regimen.display.formatting import figure
from regimen.ui import markup

ROWS = {"commands": "command", "ground": "ground", "joints": "joint", "cells": "fault"}
"""Part of a result that holds rows of figures -> what a row is."""

LABELS = ("kind", "level", "joint", "severity", "case", "name")
"""Fields of a row that say what it is, beside its command."""


def evaluation_tables(result: dict[str, Any]) -> Markup:
    """Return the figures of a result by command, ground, joint and fault, and over all of them; empty without any.

    Args:
        result: content of a result.json, of any stage.
    """
    parts = []
    over_all = [(name, row) for name in ("healthy", "overall") if _figures(row := result.get(name))]
    if over_all:
        parts.append(_table("over", [(name, row) for name, row in over_all]))
    for part, title in ROWS.items():
        found = result.get(part)
        pairs = list(found.items()) if isinstance(found, dict) else [(_label(row), row) for row in found or []]
        rows = [(str(label), row) for label, row in pairs if _figures(row)]
        if rows:
            parts.append(_table(title, rows))
    return markup.joined(parts)


def _table(title: str, rows: list[tuple[str, Any]]) -> Markup:
    names = list(dict.fromkeys(name for _, row in rows for name in _figures(row)))
    counts = [name for name in ("episodes", "falls") if any(isinstance(row.get(name), int) for _, row in rows)]
    cells = [
        (label, *(str(row.get(name, "")) for name in counts), *(_cell(_figures(row).get(name)) for name in names))
        for label, row in rows
    ]
    return markup.table((title, *(f">{name}" for name in counts), *names), cells, "tight")


def _figures(row: Any) -> dict[str, dict[str, Any]]:
    """Return the figures of a row: objects with a value and the ends of its interval."""
    if not isinstance(row, dict):
        return {}
    return {name: value for name, value in row.items() if isinstance(value, dict) and "value" in value}


def _cell(value: dict[str, Any] | None) -> Markup:
    if value is None or not isinstance(value.get("value"), int | float):
        return Markup('<span class="soft">–</span>')
    low, high = value.get("low"), value.get("high")
    ends = f"{figure(low)} … {figure(high)}" if isinstance(low, int | float) and isinstance(high, int | float) else ""
    return Markup("{} <span class='soft'>{}</span>").format(figure(value["value"]), ends)


def _label(row: Any) -> str:
    """Return the name of a row: its command, or its fault."""
    if not isinstance(row, dict):
        return ""
    command = row.get("command")
    if isinstance(command, list) and command:
        return ", ".join(figure(value) for value in command)
    names = [str(row[name]) for name in LABELS if row.get(name) is not None]
    return " ".join(names) or "all"
