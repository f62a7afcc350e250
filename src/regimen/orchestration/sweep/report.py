"""Closing report of a sweep: table of its jobs, `sweep.csv`, `sweep.png` and the command for the remaining jobs.

The figure shows the headline metric over each swept key, and as a map over two keys.
"""

from __future__ import annotations

import csv
import io
import math
import os
import shlex
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.config.yaml_io import read_yaml
from regimen.display import formatting
from regimen.display.console import say
from regimen.orchestration.sweep.record import Job, SweepRecord, settings, swept_keys
from regimen.runs import outcome, resume_check
from regimen.runs.record import read_record
from regimen.runs.status import Status
from regimen.system import files, signals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    reasons = " ".join(resume_check.refusals(run, read_all=False))
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
    overrides = " ".join(f"{key}={values[key]}" for key in swept if key in values)
    return job.run.rpartition(".")[2], overrides, job.status_text(), job.headline_text()


def _say_best(folder: Path) -> None:
    """Print the best trial of an optuna study, if the sweep was one."""
    file = folder / "optimization_results.yaml"
    study = read_yaml(file) if file.is_file() else {}
    if "best_value" in study:
        best = " ".join(f"{key}={value}" for key, value in study["best_params"].items())
        say(f"best of the study: {study['best_value']:.4g} with {best}; see {os.path.relpath(file)}")


def _write_files(record: SweepRecord, swept: list[str]) -> None:
    """Write sweep.csv and sweep.png; an error is only a warning, so that the report is complete."""
    place = os.path.relpath(record.folder)
    try:
        files.write_atomic(record.folder / "sweep.csv", table(record.jobs, swept).encode(), durable=False)
        drawn = draw(record.jobs, swept, record.folder / "sweep.png")
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


REPLICATES = ("seed",)
"""Keys to average over; they get a panel only if no other key is swept."""

MAX_PANELS = 6
MAX_CELLS = 400
LOG_FROM = 50.0
"""Ratio of largest to smallest positive value above which the axis is logarithmic."""


def draw(jobs: list[Job], swept: list[str], out: Path) -> bool:
    """Draw the finished jobs; return whether a figure was written.

    Args:
        jobs: jobs of the sweep.
        swept: keys whose values differ.
        out: PNG to write.
    """
    from regimen.display.figures import title_of
    from regimen.orchestration.sweep.record import settings

    metric = headline_of(jobs)
    keys = [key for key in swept if key not in REPLICATES] or swept
    rows = [
        ({key: values.get(key, "") for key in keys}, float(value))
        for job in jobs
        if job.status == Status.FINISHED and (value := job.headline.get(metric or "")) is not None
        for values in [settings(job)]
    ]
    if not rows or not keys:
        return False
    with_map = len(keys) == 2 and _is_grid(rows, keys)
    figure, axes = _sheet(min(len(keys), MAX_PANELS) + with_map)
    for ax, key in zip(axes, keys[:MAX_PANELS], strict=False):
        _panel(ax, key, [(point[key], value) for point, value in rows])
        ax.set_ylabel(title_of(str(metric)), fontsize=9)
    if with_map:
        _map(figure, axes[-1], keys, rows, title_of(str(metric)))
    unfinished = len(jobs) - len(rows)
    caption = f"{len(rows)} runs: points are runs; line, bars and cells are means; band is the middle half"
    figure.supxlabel(caption + (f"; {unfinished} without this metric" if unfinished else ""), fontsize=8)
    figure.savefig(out, dpi=120)
    return True


def headline_of(jobs: list[Job]) -> str | None:
    """Return the headline metric that most finished jobs have, the first of several; None without one."""
    counts = Counter(name for job in jobs if job.status == Status.FINISHED for name in job.headline)
    return max(counts, key=lambda name: counts[name], default=None)


def number(text: str) -> float | None:
    """Return the finite number that a text stands for, None for other text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_grid(rows: list[tuple[dict[str, str], float]], keys: list[str]) -> bool:
    """Return whether two keys vary independently; keys from `zip` fill only a diagonal."""
    lengths = [len({point[key] for point, _ in rows}) for key in keys]
    cells = len({tuple(point.values()) for point, _ in rows})
    return min(lengths) > 1 and math.prod(lengths) <= MAX_CELLS and cells > max(lengths)


def _panel(ax: Axes, key: str, points: list[tuple[str, float]]) -> None:
    """Draw the metric over one key: a line for numbers, bars for names."""
    from regimen.display.figures import COLORS, style

    groups: dict[str, list[float]] = defaultdict(list)
    for text, value in points:
        groups[text].append(value)
    style(ax)
    ax.set_xlabel(_short(key), fontsize=9)
    numbers = {text: number(text) for text in groups}
    if all(value is not None for value in numbers.values()) and len(groups) > 1:
        _line(ax, sorted((float(numbers[text] or 0.0), values) for text, values in groups.items()), COLORS[0])
        return
    means = [sum(values) / len(values) for values in groups.values()]
    ax.bar(range(len(groups)), means, width=0.6, color=COLORS[0], alpha=0.25)
    for place, values in enumerate(groups.values()):
        ax.scatter([place] * len(values), values, s=16, color=COLORS[0], zorder=3)
    crowded = sum(map(len, groups)) > 30
    ax.set_xticks(range(len(groups)), list(groups), rotation=30 if crowded else 0, ha="right" if crowded else "center")


def _line(ax: Axes, groups: list[tuple[float, list[float]]], color: str) -> None:
    import numpy as np

    x = [place for place, _ in groups]
    ax.plot(x, [np.mean(values) for _, values in groups], color=color, linewidth=1.4)
    low, high = np.array([np.percentile(values, [25, 75]) for _, values in groups]).T
    ax.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    for place, values in groups:
        ax.scatter([place] * len(values), values, s=16, color=color, zorder=3)
    if x[0] > 0 and x[-1] / x[0] >= LOG_FROM:
        ax.set_xscale("log")


def _map(figure: Figure, ax: Axes, keys: list[str], rows: list[tuple[dict[str, str], float]], title: str) -> None:
    """Draw the mean over two keys as coloured cells."""
    import numpy as np

    names = [sorted({point[key] for point, _ in rows}, key=_order) for key in keys]
    cells: dict[tuple[int, int], list[float]] = defaultdict(list)
    for point, value in rows:
        cells[names[1].index(point[keys[1]]), names[0].index(point[keys[0]])].append(value)
    means = np.full((len(names[1]), len(names[0])), np.nan)
    for place, values in cells.items():
        means[place] = np.mean(values)
    image = ax.imshow(means, aspect="auto", origin="lower", cmap="viridis")
    ax.set_xticks(range(len(names[0])), names[0], fontsize=8)
    ax.set_yticks(range(len(names[1])), names[1], fontsize=8)
    ax.set_xlabel(_short(keys[0]), fontsize=9)
    ax.set_ylabel(_short(keys[1]), fontsize=9)
    bar = figure.colorbar(image, ax=ax)
    bar.set_label(title, fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _order(text: str) -> tuple[bool, float, str]:
    value = number(text)
    return value is None, value or 0.0, text


def _short(key: str) -> str:
    return key if len(key) <= 34 else f"…{key[-33:]}"


def _sheet(panels: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[panels:]:
        ax.set_visible(False)
    return figure, axes[:panels]
