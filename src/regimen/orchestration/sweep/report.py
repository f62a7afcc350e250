"""What is said at the end of a sweep: how each job ended, a table, a picture, and what to type for the rest."""

from __future__ import annotations

import csv
import io
import os
import shlex
from pathlib import Path
from typing import Any

from regimen.config.yaml_io import read_yaml
from regimen.display import formatting
from regimen.display.console import say
from regimen.orchestration.sweep.record import OPEN, Book, Job
from regimen.runs import outcome
from regimen.system import files, signals


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
        return signals.exit_code(int(data["signal"]))
    return 0 if len(finished) == len(book.jobs) else outcome.EXIT_FAILED


def again(folder: Path) -> str:
    """Return the command that reruns what did not finish."""
    return f"python launch.py sweep={shlex.quote(os.path.relpath(folder))}"


def swept_keys(jobs: list[Job]) -> list[str]:
    """Return the keys whose values differ between jobs, in the order of the arguments."""
    rows = [settings(job) for job in jobs]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({row.get(key) for row in rows}) > 1]


def settings(job: Job) -> dict[str, str]:
    """Return key -> value of a job's arguments, as text."""
    parts = (override.partition("=") for override in job.overrides)
    return {key.lstrip("+"): value.replace("\\", "").strip("'\"") for key, _, value in parts}


def _print_table(jobs: list[Job], swept: list[str]) -> None:
    rows = [("job", "overrides", "status", "headline"), *(_row(job, swept) for job in jobs)]
    for line in ["", *formatting.table(rows)]:
        say(line)


def _row(job: Job, swept: list[str]) -> tuple[str, str, str, str]:
    values = settings(job)
    status = job.status if job.exit_code in (0, None) else f"{job.status} ({job.exit_code})"
    name, value = next(iter(job.headline.items()), ("", None))
    said = " ".join(f"{key}={values[key]}" for key in swept if key in values)
    return job.run.rpartition(".")[2], said, status, f"{name} {value:.4g}" if value is not None else ""


def _say_best(folder: Path) -> None:
    """Repeat what a study found, where there was one."""
    file = folder / "optimization_results.yaml"
    found = read_yaml(file) if file.is_file() else {}
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
