"""The table of runs: its columns, and the cells of a run as plain values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from regimen.display import console
from regimen.display.formatting import duration, figure, visible
from regimen.runs.history.filters import ORDER
from regimen.runs.index.summary import RunSummary, seconds
from regimen.runs.status import Status
from regimen.system import files

METRIC = "metric:"
"""Prefix of the keys of columns that show one headline metric."""


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        key: its name in the address.
        title: its header.
        width: in pixels.
        cell: value of a run.
        sort: key of `regimen runs --sort`, empty where it cannot be sorted by.
        is_shown: whether it is shown unless the address names others.
        is_number: whether it is aligned to the right.
    """

    key: str
    title: str
    width: int
    cell: Callable[[RunSummary], Any]
    sort: str = ""
    is_shown: bool = False
    is_number: bool = False


def _text(value: object) -> str:
    return "" if value is None else visible(str(value))


def _headline(run: RunSummary) -> str:
    if run.unreadable:
        return _text(f"run.json: {run.unreadable}")
    name, value = next(((n, v) for n, v in run.headline.items() if v is not None), ("", None))
    return f"{_text(name)} {figure(value)}" if value is not None else ""


def _duration(run: RunSummary) -> str:
    wall = run.wall_s or max(0.0, seconds(run.ended) - run.began)  # a killed supervisor recorded no time
    if run.status == Status.RUNNING:
        wall += time.time() - (seconds(run.attempt) or run.began)
    return duration(wall, "compact") if wall else ""


def progress(run: RunSummary) -> str:
    """Return progress and remaining time of a running run, empty for others."""
    if run.status != Status.RUNNING:
        return ""
    path = run.dir / "progress.json"
    return _text(console.describe(files.read_json(path) or {}, files.age(path)))


COLUMNS = (
    Column("status", "Status", 116, lambda run: run.status, "status", True),
    Column("name", "Name", 150, lambda run: _text(run.name), "name", True),
    Column("id", "Run", 270, lambda run: run.id, "id", True),
    Column("task", "Task", 110, lambda run: _text(run.task), "task", True),
    Column("agent", "Agent", 100, lambda run: _text(run.agent), "agent", True),
    Column("stage", "Stage", 90, lambda run: _text(run.stage), "stage", True),
    Column("headline", "Headline", 150, _headline, is_shown=True),
    Column("progress", "Progress", 230, progress, is_shown=True),
    Column("age", "Age", 74, lambda run: duration(time.time() - run.began, "compact"), "age", True, True),
    Column("duration", "Time", 80, _duration, "duration", True, True),
    Column("tags", "Tags", 110, lambda run: _text(" ".join(run.tags)), is_shown=True),
    Column("notes", "Notes", 74, lambda run: run.notes or "", is_shown=True, is_number=True),
    Column("seed", "Seed", 70, lambda run: run.seed, "seed", is_number=True),
    Column("sim", "Sim", 90, lambda run: _text(run.sim)),
    Column("hardware", "Hardware", 100, lambda run: _text(run.hardware)),
    Column("experiment", "Experiment", 110, lambda run: _text(run.experiment)),
    Column("sweep", "Sweep", 190, lambda run: _text(run.sweep)),
    Column("pipeline", "Pipeline", 150, lambda run: _text(run.pipeline.name if run.pipeline else None)),
    Column("step", "Step", 100, lambda run: _text(run.pipeline.step if run.pipeline else None)),
    Column("host", "Host", 100, lambda run: _text(run.host)),
    Column("memory", "Memory (GiB)", 110, lambda run: round(run.peak_memory_gib, 2) or "", "memory", False, True),
    Column("commit", "Commit", 100, lambda run: _text(run.commit)[:10]),
    Column("reason", "Reason", 260, lambda run: _text(run.reason)),
    Column("settings", "Arguments", 320, lambda run: _text(" ".join(run.overrides))),
)


def metric_columns(runs: Iterable[RunSummary]) -> list[Column]:
    """Return a column for each headline metric that a run has, the most frequent first."""
    counts: dict[str, int] = {}
    for run in runs:
        for name in run.headline:
            counts[name] = counts.get(name, 0) + 1
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return [_metric_column(name) for name in names if name not in ORDER]


def _metric_column(name: str) -> Column:
    def cell(run: RunSummary) -> str:
        value = run.headline.get(name)
        return "" if value is None else figure(value)

    return Column(METRIC + name, _text(name), 110, cell, name, is_number=True)


def named(keys: Sequence[str]) -> list[Column]:
    """Return the columns of some keys, also of headline metrics that no run has; other keys are left out."""
    known = {column.key: column for column in COLUMNS}
    metrics = {key: _metric_column(key.removeprefix(METRIC)) for key in keys if key.startswith(METRIC)}
    return [*(known[key] for key in keys if key in known), *metrics.values()]


def shown(text: str | None, columns: Sequence[Column]) -> list[str]:
    """Return the keys of the columns to show, in their order.

    Args:
        text: keys separated by commas, as in the address; None or unknown ones stand for the usual columns.
        columns: all columns.
    """
    known = {column.key for column in columns}
    asked = [key for key in (text or "").split(",") if key in known]
    return asked or [column.key for column in columns if column.is_shown]


def cells(run: RunSummary, columns: Sequence[Column]) -> dict[str, Any]:
    """Return one row: `id`, which is never hidden, and the values of some columns."""
    return {"id": run.id, **{column.key: column.cell(run) for column in columns}}
