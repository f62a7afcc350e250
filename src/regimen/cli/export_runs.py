"""Export runs as a CSV table, with a column for every field, headline metric and override."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from regimen.cli import run_filters
from regimen.runs.index.summary import RunSummary
from regimen.runs.record_parts import PipelineStep
from regimen.system import files
from regimen.system.errors import ConfigError, PreflightError

PLAIN = (
    *("id", "name", "task", "agent", "stage", "status", "started", "ended", "wall_s", "seed", "sim", "hardware"),
    *("experiment", "tags", "notes", "parents", "sweep", "pipeline", "step", "rerun_of", "host", "commit"),
    *("exit_code", "reason", "peak_memory_gib", "signature_config", "signature_code", "unreadable", "path"),
)


def export_verb(argv: list[str]) -> int:
    """Write runs to a CSV file: `regimen export runs.csv task=h1_failure`.

    Args:
        argv: the arguments after the verb.
    """
    parser = run_filters.filter_parser(
        "export", "Write a table of runs as CSV.", "file to write, - for the standard output"
    )
    args = parser.parse_intermixed_args(run_filters.join_sort_flag(argv))
    if "=" in args.file and "/" not in args.file:
        raise ConfigError(f"{args.file}: expected the file to write first: regimen export runs.csv {args.file}")
    return write(run_filters.choose_runs(args.filters, args.sort)[0], args.file)


def write(chosen: Sequence[RunSummary], file: str) -> int:
    """Write runs to a CSV file atomically.

    Args:
        chosen: the runs.
        file: its path, or `-`.

    Raises:
        PreflightError: it cannot be written.
    """
    text = table(chosen)
    if file == "-":
        sys.stdout.write(text)
        return 0
    try:
        files.write_atomic(Path(file), text.encode())
    except OSError as error:
        raise PreflightError(f"Cannot write {file}: {error.strerror}. Name a file in a folder of yours.") from error
    print(f"{len(chosen)} runs in {file}")
    return 0


def table(chosen: Sequence[RunSummary]) -> str:
    """Return runs as CSV text, with a header.

    Args:
        chosen: the runs.
    """
    headline = sorted({f"headline.{name}" for run in chosen for name in run.headline})
    config = sorted({f"config.{key}" for run in chosen for key in _overrides(run)})
    text = io.StringIO()
    writer = csv.DictWriter(text, [*PLAIN, *headline, *config], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_line(run) for run in chosen)
    return text.getvalue()


def _line(run: RunSummary) -> dict[str, object]:
    pipeline = run.pipeline or PipelineStep()
    line = {name: getattr(run, name) for name in PLAIN if name not in ("tags", "parents", "pipeline", "step")}
    line |= {"tags": " ".join(run.tags), "parents": " ".join(run.parents)}
    line |= {"pipeline": pipeline.id, "step": pipeline.step}
    line |= {f"headline.{name}": value for name, value in run.headline.items()}
    return line | {f"config.{key}": value for key, value in _overrides(run).items()}


def _overrides(run: RunSummary) -> dict[str, str]:
    """Return the overrides of a run as key -> text; `~key` has no value."""
    return {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in run.overrides)}
