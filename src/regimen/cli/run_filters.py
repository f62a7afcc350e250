"""Arguments shared by the commands on many runs: filters and order."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from regimen.runs.history.filters import FORM, KEYS, ORDER, TIMES, order, parse, select
from regimen.runs.index import liveness
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary


def filter_parser(verb: str, does: str, file: str | None = None) -> argparse.ArgumentParser:
    """Return an argument parser with filters and `--sort`.

    Args:
        verb: name of the verb.
        does: description, one sentence.
        file: description of a first argument `file`, None without one.
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
    """Return arguments with `--sort -return` joined to one word; argparse would read two flags."""
    words = list(argv)
    if "--sort" in words[:-1]:
        at = words.index("--sort")
        words[at : at + 2] = [f"--sort={words[at + 1]}"]
    return words


def choose_runs(filters: Sequence[str], sort: str) -> tuple[list[RunSummary], list[RunSummary]]:
    """Return the runs that match the filters, sorted, and all runs.

    Args:
        filters: words `key=value`.
        sort: keys separated by commas, with `-` for descending order.

    Raises:
        ConfigError: a filter or a sort key is invalid.
    """
    parsed = parse(filters)
    everything = Index().rows()
    if any(liveness.is_scheduled(run) for run in everything):
        from regimen.orchestration.slurm.job_states import ask_schedulers

        ask_schedulers(everything)
    chosen = select(parsed, everything)
    return (chosen if sort == "-started" else order(chosen, sort, everything)), everything
