"""Closing report of a sweep: table of its jobs, `sweep.csv`, `sweep.png` and the command for the remaining jobs."""

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
from regimen.orchestration.sweep.record import Job, SweepRecord, settings, swept_keys
from regimen.runs import outcome, resume_check
from regimen.runs.record import read_record
from regimen.runs.status import Status
from regimen.system import files, signals


def report(folder: Path) -> int:
    """Print the status of each job, write sweep.csv and sweep.png, and return the exit code.

    Args:
        folder: directory of the sweep.
    """
    data: dict[str, Any] = files.read_json(folder / "sweep.json") or {}
    if not data.get("jobs"):
        say("no job started")
        return outcome.EXIT_FAILED
    record = SweepRecord.open(folder)
    if data["status"] == "submitted":
        record.refresh()
        if any(job.is_open for job in record.jobs):
            say(f"Once they have ended, {command_to_rerun(folder)} lists them and reruns those that did not finish")
            return 0
    swept = swept_keys(record.jobs)
    _print_table(record.jobs, swept)
    finished = [job for job in record.jobs if job.status == Status.FINISHED]
    say(f"\n{len(finished)} of {len(record.jobs)} jobs finished; {os.path.relpath(folder)}/sweep.json lists them")
    _say_best(folder)
    _write_files(record, swept)
    for job in record.jobs:
        if reason := refusal(record, job):
            say(f"{job.run}: {reason}")
    if len(finished) < len(record.jobs):
        say(f"To rerun only the unfinished jobs: {command_to_rerun(folder)}")
    if data.get("signal"):
        return signals.exit_code(int(data["signal"]))
    return 0 if len(finished) == len(record.jobs) else outcome.EXIT_FAILED


def refusal(record: SweepRecord, job: Job) -> str:
    """Return why a job that has stopped cannot be resumed, and how to start it again; empty if it can.

    Args:
        record: the sweep.
        job: one of its jobs.
    """
    run = record.run(job)
    known = read_record(run.dir)
    if known is None or known.supervisor is None or known.status.is_open or known.status == Status.FINISHED:
        return ""
    reasons = " ".join(resume_check.refusals(run))
    return f"cannot be resumed: {reasons} To create it again remove {os.path.relpath(run.dir)}" if reasons else ""


def command_to_rerun(folder: Path) -> str:
    """Return the command that reruns the unfinished jobs."""
    return f"python launch.py sweep={shlex.quote(os.path.relpath(folder))}"


def _print_table(jobs: list[Job], swept: list[str]) -> None:
    rows = [("job", "overrides", "status", "headline"), *(_row(job, swept) for job in jobs)]
    for line in ["", *formatting.table(rows)]:
        say(line)


def _row(job: Job, swept: list[str]) -> tuple[str, str, str, str]:
    values = settings(job)
    status = job.status if job.exit_code in (0, None) else f"{job.status} ({job.exit_code})"
    name, value = next(iter(job.headline.items()), ("", None))
    overrides = " ".join(f"{key}={values[key]}" for key in swept if key in values)
    return job.run.rpartition(".")[2], overrides, status, f"{name} {value:.4g}" if value is not None else ""


def _say_best(folder: Path) -> None:
    """Print the best trial of an optuna study, if the sweep was one."""
    file = folder / "optimization_results.yaml"
    study = read_yaml(file) if file.is_file() else {}
    if "best_value" in study:
        best = " ".join(f"{key}={value}" for key, value in study["best_params"].items())
        say(f"best of the study: {study['best_value']:.4g} with {best}; see {os.path.relpath(file)}")


def _write_files(record: SweepRecord, swept: list[str]) -> None:
    """Write sweep.csv and sweep.png; an error is only a warning, so that the report is complete."""
    from regimen.orchestration.sweep import figure

    place = os.path.relpath(record.folder)
    try:
        files.write_atomic(record.folder / "sweep.csv", table(record.jobs, swept).encode(), durable=False)
        drawn = figure.draw(record.jobs, swept, record.folder / "sweep.png")
    except (OSError, ValueError) as error:
        say(f"warning: {place}/sweep.png could not be written: {error}")
        return
    say(f"table: {place}/sweep.csv{f'  picture: {place}/sweep.png' if drawn else ''}")


def table(jobs: list[Job], swept: list[str]) -> str:
    """Return CSV text with one line for each job: run, status, working time, swept values and headline metrics.

    Args:
        jobs: jobs of the sweep.
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
