"""`regimen runs`: table of runs."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from regimen.cli import export_runs
from regimen.cli.run_filters import choose_runs, filter_parser, join_sort_flag
from regimen.display.console import SILENT_S
from regimen.display.formatting import duration, table, visible, visible_lines
from regimen.runs.history.filters import ORDER, near_misses, parse
from regimen.runs.index.index import without_garbage_collection
from regimen.runs.index.summary import RunSummary, seconds
from regimen.runs.status import Status
from regimen.system import files

HEADER = ("id", "name", "task", "agent", "stage", "status", "headline", "age", "duration")
METRIC = HEADER.index("headline")
NONE = "–"

SHRINKS = (6, 2, 3, 1, 4)
"""Columns that shrink on a narrow terminal; the others keep their width."""

LEAST = dict.fromkeys(SHRINKS, 5) | {METRIC: 9}
"""Smallest width of a column."""

ID_LEAST = 15
"""Smallest length of a shortened id: date and time; a shortened id is unique, so it is a valid reference."""

RESERVED_LINES = 4
"""Lines of a terminal reserved for the command, the header, the last line and the next prompt."""


def runs_verb(argv: list[str]) -> int:
    """List runs: `regimen runs task=h1_failure status=failed since=3d --sort -return`.

    Args:
        argv: the arguments after the verb.
    """
    parser = filter_parser("runs", "List runs, newest first.")
    parser.add_argument("--limit", type=_count, metavar="N", help="show N runs, 0 for all (default: those that fit)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--json", action="store_true", help="print all fields of the index as JSON")
    kinds.add_argument("--csv", metavar="FILE", help="write a table as `regimen export` does")
    args = parser.parse_intermixed_args(join_sort_flag(argv))
    with without_garbage_collection():
        return _print(args)


def _print(args: argparse.Namespace) -> int:
    chosen, everything = choose_runs(args.filters, args.sort)
    shown = chosen[: args.limit] if args.limit else chosen
    if args.csv:
        return export_runs.write(shown, args.csv)
    if args.json:
        print(json.dumps([run.to_dict() for run in shown], indent=1))
        return 0
    if not chosen:
        _explain_no_match(args.filters, everything)
        return 0
    for line in _listing(chosen, everything, args.limit, args.sort):
        print(line)
    return 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of runs, 0 for all, not `{text}`")
    return int(text)


def _explain_no_match(filters: Sequence[str], everything: Sequence[RunSummary]) -> None:
    """Print on stderr why no run matches; stdout stays empty."""
    lines = near_misses(parse(filters), everything)
    if everything:
        lines = [f"None of {len(everything):,} runs matches {' '.join(filters)}.", *lines]
    else:
        lines = [f"There is no run under outputs or multirun in {Path.cwd()}. Start one: python launch.py task=reach"]
    print(visible_lines("\n".join(lines)), file=sys.stderr)


def _listing(chosen: Sequence[RunSummary], everything: Sequence[RunSummary], limit: int | None, sort: str) -> list[str]:
    terminal = shutil.get_terminal_size() if sys.stdout.isatty() else None
    if limit is None:
        limit = max(1, terminal.lines - RESERVED_LINES) if terminal else 0
    shown = chosen[:limit] if limit else chosen
    metric = next((key.removeprefix("-") for key in sort.split(",") if key.removeprefix("-") not in ORDER), None)
    rows = _with_one_metric([HEADER, *(_cells(run, metric) for run in shown)])
    lines = _fit(rows, [run.id for run in everything], terminal.columns) if terminal else table(rows)
    if terminal:
        more = "; --limit 0 shows all" if len(shown) < len(chosen) else ""
        lines.append(f"{len(shown):,} of {len(chosen):,} runs{more}")
    return lines


def _cells(run: RunSummary, metric: str | None) -> tuple[str, ...]:
    words = (run.id, run.name, run.task, run.agent, run.stage, _status(run))
    now = time.time()
    wall = run.wall_s or max(0.0, seconds(run.ended) - run.began)  # a killed supervisor recorded no time
    if run.status == Status.RUNNING:
        wall += now - (seconds(run.attempt) or run.began)
    span = duration(wall, "compact") if wall else NONE
    return (
        *(visible(word or NONE) for word in words),
        visible(_headline(run, metric)),
        duration(now - run.began, "compact"),
        span,
    )


def _status(run: RunSummary) -> str:
    """Return the status, and for how long a running run has reported nothing if that is long."""
    age = files.age(run.dir / "progress.json") if run.status == Status.RUNNING else None
    return run.status if age is None or age < SILENT_S else f"{run.status}, no progress for {age // 60:.0f} min"


def _headline(run: RunSummary, metric: str | None) -> str:
    if run.unreadable:
        return f"run.json: {run.unreadable}"
    name = metric if metric in run.headline else next(iter(run.headline), None)
    value = run.headline.get(name) if name else None
    return f"{name} {value:.4g}" if isinstance(value, int | float) else NONE


def _with_one_metric(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Move the name of the metric to the header if it is the same in all rows."""
    names = {row[METRIC].rpartition(" ")[0] for row in rows[1:] if row[METRIC] != NONE}
    if len(names) != 1 or not names.isdisjoint({"", *HEADER}):
        return rows
    lines = [(*row[:METRIC], row[METRIC].rpartition(" ")[2], *row[METRIC + 1 :]) for row in rows[1:]]
    return [(*HEADER[:METRIC], *names, *HEADER[METRIC + 1 :]), *lines]


def _fit(rows: Sequence[Sequence[str]], ids: Sequence[str], columns: int) -> list[str]:
    """Return aligned lines that fit a terminal: ids are shortened first, then wide columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > columns:
        short = _short_ids([row[0] for row in rows[1:]], ids)
        rows = [rows[0], *((cell, *row[1:]) for cell, row in zip(short, rows[1:], strict=True))]
        widths[0] = max(map(len, short))
    while sum(widths) + 2 * (len(widths) - 1) > columns:
        widest = max(SHRINKS, key=lambda i: widths[i] - LEAST[i])
        if widths[widest] <= LEAST[widest]:
            break
        widths[widest] -= 1
    cut = [[_cut(cell, widths[i], i == METRIC) for i, cell in enumerate(row)] for row in rows]
    return [line[:columns] for line in table(cut)]


def _cut(cell: str, width: int, at_start: bool) -> str:
    if len(cell) <= width:
        return cell
    return f"…{cell[1 - width :]}" if at_start else f"{cell[: width - 1]}…"


def _short_ids(shown: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Return the shortest unique prefixes of ids, at least `ID_LEAST` long."""
    ordered = sorted(ids)
    neighbours = {b: (a, c) for a, b, c in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False)}
    shared = [max(_shared(one, other) for other in neighbours[one]) for one in shown]
    return [one[: max(ID_LEAST, length + 1)] for one, length in zip(shown, shared, strict=True)]


def _shared(one: str, other: str) -> int:
    """Return the length of the common prefix of two ids."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
