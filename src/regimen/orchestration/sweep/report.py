"""What is said at the end of a sweep: how each job ended, a table, a picture, and what to type for the rest."""

from __future__ import annotations

import csv
import io
import os
import shlex
from pathlib import Path
from typing import Any

import yaml

from regimen.display.console import say
from regimen.orchestration.sweep.record import OPEN, Book, Job, settings, swept_keys
from regimen.runs import outcome
from regimen.system import files


def report(folder: Path) -> int:
    """Print how each job of a sweep stands, write sweep.csv and sweep.png, and return the exit code.

    Args:
        folder: the sweep's directory.
    """
    data: dict[str, Any] = files.read_json(folder / "sweep.json") or {}
    if not data.get("jobs"):
        say("no job was started")
        return outcome.EXIT_FAILED
    book = Book.open(folder)
    if data["status"] == "submitted":
        book.refresh()
        if any(job.status in OPEN for job in book.jobs):
            say(f"Once they have ended, {again(folder)} shows how, and reruns what did not finish")
            return 0
    swept = swept_keys(book.jobs)
    _print_table(book.jobs, swept)
    finished = [job for job in book.jobs if job.status == "finished"]
    say(f"\n{len(finished)} of {len(book.jobs)} jobs finished; {os.path.relpath(folder)}/sweep.json lists them")
    _say_best(folder)
    _write_files(book, swept)
    if len(finished) < len(book.jobs):
        say(f"To rerun only the others: {again(folder)}")
    if data.get("signal"):
        return outcome.signalled(int(data["signal"])).exit_code
    return 0 if len(finished) == len(book.jobs) else outcome.EXIT_FAILED


def again(folder: Path) -> str:
    """Return the command that reruns what did not finish."""
    return f"python launch.py sweep={shlex.quote(os.path.relpath(folder))}"


def _print_table(jobs: list[Job], swept: list[str]) -> None:
    rows = [("job", "overrides", "status", "headline"), *(_row(job, swept) for job in jobs)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    say("")
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(job: Job, swept: list[str]) -> tuple[str, str, str, str]:
    values = settings(job)
    status = job.status if job.exit_code in (0, None) else f"{job.status} ({job.exit_code})"
    name, value = next(iter(job.headline.items()), ("", None))
    said = " ".join(f"{key}={values[key]}" for key in swept if key in values)
    return job.run.rpartition(".")[2], said, status, f"{name} {value:.4g}" if value is not None else ""


def _say_best(folder: Path) -> None:
    """Repeat what a study found, where there was one."""
    file = folder / "optimization_results.yaml"
    found = yaml.safe_load(file.read_text()) if file.is_file() else {}
    if "best_value" in found:
        best = " ".join(f"{key}={value}" for key, value in found["best_params"].items())
        say(f"best of the study: {found['best_value']:.4g} with {best}; see {os.path.relpath(file)}")


def _write_files(book: Book, swept: list[str]) -> None:
    """Write the table and the picture; a full disk or a missing font is no reason to hide how the jobs ended."""
    from regimen.orchestration.sweep import figure

    place = os.path.relpath(book.folder)
    try:
        files.write_atomic(book.folder / "sweep.csv", table(book.jobs, swept).encode(), durable=False)
        drawn = figure.draw(book.jobs, swept, book.folder / "sweep.png")
    except (OSError, ValueError) as error:
        say(f"warning: {place}/sweep.png could not be written: {error}")
        return
    say(f"table: {place}/sweep.csv{f'  picture: {place}/sweep.png' if drawn else ''}")


def table(jobs: list[Job], swept: list[str]) -> str:
    """Return one line a job as CSV: its run, status, seconds, swept values and headline metrics.

    Args:
        jobs: of the sweep.
        swept: keys whose values differ.
    """
    metrics = dict.fromkeys(name for job in jobs for name in job.headline)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["run", "status", "exit_code", "wall_s", *swept, *metrics])
    for job in jobs:
        values = settings(job)
        figures = [job.headline.get(name) for name in metrics]
        writer.writerow([job.run, job.status, job.exit_code, job.wall_s, *(values.get(k, "") for k in swept), *figures])
    return out.getvalue()
