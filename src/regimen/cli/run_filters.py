"""Arguments that the commands on many runs share: filters and order."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from regimen.runs.history.filters import FORM, KEYS, ORDER, TIMES, order, parse, select
from regimen.runs.index import liveness
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunRow


def filter_parser(verb: str, does: str, file: str | None = None) -> argparse.ArgumentParser:
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


def join_sort_flag(argv: Sequence[str]) -> list[str]:
    """Return arguments with `--sort -return` as one word, which argparse would take for two flags."""
    words = list(argv)
    if "--sort" in words[:-1]:
        at = words.index("--sort")
        words[at : at + 2] = [f"--sort={words[at + 1]}"]
    return words


def choose_runs(filters: Sequence[str], sort: str) -> tuple[list[RunRow], list[RunRow]]:
    """Return the runs that words of a command line choose, sorted, and all runs.

    Raises:
        ConfigError: a filter or a key of the order is wrong.
    """
    parsed = parse(filters)
    everything = Index().rows()
    liveness.ask_schedulers(everything)
    chosen = select(parsed, everything)
    return (chosen if sort == "-started" else order(chosen, sort)), everything
