"""`regimen runs`: the table of all runs."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from regimen.cli import export_runs
from regimen.runs.history.filters import FORM, KEYS, ORDER, TIMES, near_misses, order, parse, select
from regimen.runs.index import liveness
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary, seconds

HEADER = ("id", "name", "task", "agent", "stage", "status", "headline", "age", "duration")
METRIC = HEADER.index("headline")
NONE = "–"

SHRINKS = (6, 2, 3, 1, 4)
"""Columns that give up width on a narrow terminal; the others are never cut."""

LEAST = dict.fromkeys(SHRINKS, 5) | {METRIC: 9}
"""Width below which a column does not shrink."""

ID_LEAST = 15
"""A shortened id keeps at least its date and time, and is a unique beginning: it can be typed."""

RESERVED_LINES = 4
"""Lines of a terminal left for the command, the header, the last line and the next prompt."""


def runs_verb(argv: list[str]) -> int:
    """List runs: `regimen runs task=h1_failure status=failed since=3d --sort -return`.

    Args:
        argv: the arguments after the verb.
    """
    parser = parser_of("runs", "List runs, newest first.")
    parser.add_argument("--limit", type=_count, metavar="N", help="show N runs, 0 for all (default: those that fit)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--json", action="store_true", help="print all that the index knows as JSON")
    kinds.add_argument("--csv", metavar="FILE", help="write a table as `regimen export` does")
    args = parser.parse_intermixed_args(joined(argv))
    chosen, everything = choose(args.filters, args.sort)
    shown = chosen[: args.limit] if args.limit else chosen
    if args.csv:
        return export_runs.write(shown, args.csv)
    if args.json:
        print(json.dumps([run.plain() for run in shown], indent=1))
        return 0
    if not chosen:
        _say_none(args.filters, everything)
        return 0
    for line in _listing(chosen, everything, args.limit, args.sort):
        print(line)
    return 0


def parser_of(verb: str, does: str, file: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with what the verbs on many runs share: filters and order.

    Args:
        verb: its name.
        does: one sentence.
        file: what a first argument `file` is for, if there is one.
    """
    keys = ", ".join([*KEYS, *TIMES])
    parser = argparse.ArgumentParser(
        prog=f"regimen {verb}", description=does, epilog=f"{FORM} Keys: {keys}. since=3d or since=2026-11-20."
    )
    if file:
        parser.add_argument("file", metavar="FILE", help=file)
    parser.add_argument("filters", nargs="*", metavar="key=value", help="only runs that meet all of these")
    parser.add_argument(
        "--sort", default="-started", metavar="KEY[,-KEY]", help=f"{', '.join(ORDER)} or a headline metric"
    )
    return parser


def joined(argv: Sequence[str]) -> list[str]:
    """Return arguments with `--sort -return` as one word, which argparse would take for two flags."""
    words = list(argv)
    if "--sort" in words[:-1]:
        at = words.index("--sort")
        words[at : at + 2] = [f"--sort={words[at + 1]}"]
    return words


def choose(filters: Sequence[str], sort: str) -> tuple[list[RunSummary], list[RunSummary]]:
    """Return the runs that words of a command line choose, sorted, and all runs.

    Raises:
        ConfigError: a filter or a key of the order is wrong.
    """
    parsed = parse(filters)
    everything = Index().rows()
    liveness.ask_schedulers(everything)
    chosen = select(parsed, everything)
    return (chosen if sort == "-started" else order(chosen, sort)), everything


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of runs, 0 for all, not `{text}`")
    return int(text)


def _say_none(filters: Sequence[str], everything: Sequence[RunSummary]) -> None:
    """Say on the error stream why there is nothing, so that a pipe gets nothing."""
    said = near_misses(parse(filters), everything)
    if everything:
        said = [f"None of {len(everything):,} runs meets {' '.join(filters)}.", *said]
    else:
        said = [f"There is no run under outputs or multirun in {Path.cwd()}. Start one: python launch.py task=reach"]
    print("\n".join(said), file=sys.stderr)


def _listing(chosen: Sequence[RunSummary], everything: Sequence[RunSummary], limit: int | None, sort: str) -> list[str]:
    terminal = shutil.get_terminal_size() if sys.stdout.isatty() else None
    if limit is None:
        limit = max(1, terminal.lines - RESERVED_LINES) if terminal else 0
    shown = chosen[:limit] if limit else chosen
    metric = next((key.removeprefix("-") for key in sort.split(",") if key.removeprefix("-") not in ORDER), None)
    rows = _with_one_metric([HEADER, *(_cells(run, metric) for run in shown)])
    lines = _fit(rows, [run.id for run in everything], terminal.columns) if terminal else _aligned(rows)
    if terminal:
        more = "; --limit 0 shows all" if len(shown) < len(chosen) else ""
        lines.append(f"{len(shown):,} of {len(chosen):,} runs{more}")
    return lines


def _cells(run: RunSummary, metric: str | None) -> tuple[str, ...]:
    words = (run.id, run.name, run.task, run.agent, run.stage, run.status)
    now = time.time()
    worked = run.wall_s or max(0.0, seconds(run.ended) - run.began)  # a supervisor that was killed recorded no time
    if run.status == "running":
        worked += now - (seconds(run.attempt) or run.began)
    span = compact(worked) if worked else NONE
    return (*(word or NONE for word in words), _headline(run, metric), compact(now - run.began), span)


def _headline(run: RunSummary, metric: str | None) -> str:
    if run.unreadable:
        return f"run.json: {run.unreadable}"
    name = metric if metric in run.headline else next(iter(run.headline), None)
    value = run.headline.get(name) if name else None
    return f"{name} {value:.4g}" if isinstance(value, int | float) else NONE


def _with_one_metric(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Say the metric's name once, in the header, where all rows have the same."""
    names = {row[METRIC].rpartition(" ")[0] for row in rows[1:] if row[METRIC] != NONE}
    if len(names) != 1 or not names.isdisjoint({"", *HEADER}):
        return rows
    lines = [(*row[:METRIC], row[METRIC].rpartition(" ")[2], *row[METRIC + 1 :]) for row in rows[1:]]
    return [(*HEADER[:METRIC], *names, *HEADER[METRIC + 1 :]), *lines]


def compact(seconds: float) -> str:
    """Return a time span in at most six characters: `7s`, `4m05s`, `2h10m`, `3d04h`, `57d`."""
    whole = max(0, round(seconds))
    for size, unit, below, below_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = "" if whole >= 10 * 86400 else f"{whole % size // below:02d}{below_unit}"
            return f"{whole // size}{unit}{rest}"
    return f"{whole}s"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _fit(rows: Sequence[Sequence[str]], ids: Sequence[str], columns: int) -> list[str]:
    """Return aligned lines that fit a terminal: first ids are shortened, then wide columns."""
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
    return [line[:columns] for line in _aligned(cut)]


def _cut(cell: str, width: int, at_start: bool) -> str:
    if len(cell) <= width:
        return cell
    return f"…{cell[1 - width :]}" if at_start else f"{cell[: width - 1]}…"


def _short_ids(shown: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Return the shortest unique beginnings of ids, at least date and time long."""
    ordered = sorted(ids)
    neighbours = {b: (a, c) for a, b, c in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False)}
    shared = [max(_shared(one, other) for other in neighbours[one]) for one in shown]
    return [one[: max(ID_LEAST, length + 1)] for one, length in zip(shown, shared, strict=True)]


def _shared(one: str, other: str) -> int:
    """Return how many characters two ids begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
