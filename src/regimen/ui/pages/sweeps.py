"""Sweeps: a list, and for each its jobs, what was swept, and a metric over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup
from nicegui import ui

from regimen.display.formatting import duration, figure
from regimen.orchestration.job_table import ROOT
from regimen.orchestration.sweep.record import Job, SweepRecord, settings, swept_keys
from regimen.orchestration.sweep.report import command_to_rerun, headline_of, number
from regimen.runs.status import Status
from regimen.system import files
from regimen.system.errors import RegimenError
from regimen.ui import charts, layout, markup
from regimen.ui.graphs import open_on_click
from regimen.ui.history import History
from regimen.ui.layout import section, static

FILE = "sweep.json"


def folders(file: str) -> list[Path]:
    """Return the folders of sweeps or pipelines that have a file, the newest first.

    Args:
        file: name of their record.
    """
    try:
        found = [path for path in ROOT.iterdir() if (path / file).is_file()]
    except OSError:
        return []
    return sorted(found, key=lambda path: path.name, reverse=True)


async def show_list(history: History) -> None:
    """Build the list.

    Args:
        history: the runs.
    """
    await history.ready()
    with layout.frame("Sweeps", "/sweeps"):
        layout.heading("Sweeps")
        rows = [row for folder in folders(FILE) if (row := _row(folder))]
        with section("All sweeps", "sweeps"):
            if not rows:
                layout.missing("There is no sweep yet: python launch.py -m task=reach seed=0,1,2")
                return
            static(markup.table(("sweep", "status", ">finished", ">jobs", "command"), rows))


async def show_one(history: History, sweep_id: str, metric: str) -> None:
    """Build the page of one sweep.

    Args:
        history: the runs.
        sweep_id: its id.
        metric: headline metric to show, empty for the usual one.
    """
    await history.ready()
    with layout.frame(f"Sweep {sweep_id}", "/sweeps"):
        layout.heading("Sweep", Markup('<span class="beside mono">{}</span>').format(sweep_id))
        folder = next((path for path in folders(FILE) if path.name == sweep_id), None)
        try:
            if folder is None:
                raise RegimenError(f"There is no sweep {sweep_id} below {ROOT} (any more).")
            record = SweepRecord.open(folder)
            record.refresh()
        except (RegimenError, TypeError, OSError) as error:
            layout.missing(str(error))
            return
        _Sweep(record, metric)


def _row(folder: Path) -> tuple[markup.Cell, ...] | None:
    data = files.read_json(folder / FILE) or {}
    jobs = data.get("jobs")
    if not isinstance(jobs, list):
        return None
    done = sum(isinstance(job, dict) and job.get("status") == Status.FINISHED for job in jobs)
    argv = data.get("argv")
    words = " ".join(map(str, argv[1:])) if isinstance(argv, list) else ""
    status = markup.status(str(data.get("status", "")))
    link = markup.link(f"/sweep/{folder.name}", folder.name)
    return link, status, str(done), str(len(jobs)), Markup("<code>{}</code>").format(markup.text(words))


@dataclass
class _Point:
    """A job with a value of the metric."""

    job: Job
    values: dict[str, str]
    result: float


class _Sweep:
    """The parts of the page of a sweep."""

    def __init__(self, record: SweepRecord, metric: str) -> None:
        self._record, self._keys = record, swept_keys(record.jobs)
        metrics = list(dict.fromkeys(name for job in record.jobs for name in job.headline))
        self._metric = metric if metric in metrics else headline_of(record.jobs) or ""
        if metrics:
            with section("What was swept", "swept"):
                select = ui.select(metrics, value=self._metric, label="metric").props("outlined dense options-dense")
                select.style("width: 14rem")
                self._area = ui.element("div")
                select.on_value_change(lambda event: self._choose(event.value))
            self._draw()
        with section("Jobs", "jobs"):
            static(self._table(metrics))
        static(
            markup.joined(
                [
                    Markup("<p>{} · {} · {}</p>").format(
                        markup.link(f"/compare?filter=sweep%3D{record.folder.name}", "compare all jobs"),
                        markup.link(markup.runs_address(filter=f"sweep={record.folder.name}"), "in the table of runs"),
                        markup.link(f"/lineage?filter=sweep%3D{record.folder.name}", "lineage"),
                    ),
                    markup.command(command_to_rerun(record.folder), "reruns the unfinished jobs"),
                ]
            )
        )

    def _choose(self, metric: str) -> None:
        self._metric = metric
        ui.run_javascript(f"regimenAddress('metric', {metric!r})")
        self._draw()

    def _points(self) -> list[_Point]:
        jobs = [job for job in self._record.jobs if job.status == Status.FINISHED]
        found = [(job, job.headline.get(self._metric)) for job in jobs]
        return [_Point(job, settings(job), float(value)) for job, value in found if isinstance(value, int | float)]

    def _draw(self) -> None:
        self._area.clear()
        points = self._points()
        with self._area:
            if not points or not self._keys:
                static(Markup('<p class="soft">no finished job with this metric</p>'))
                return
            axes = [_axis(key, points) for key in self._keys]
            rows = [self._line(axes, point) for point in points]
            chart = ui.echart(charts.parallel([*axes, charts.Axis(self._metric)], rows, self._metric))
            open_on_click(chart.style("height: 300px; width: 100%"))
            with ui.element("div").classes("charts"):
                for axis in axes:
                    shown = [
                        (_place(axis, p.values.get(axis.name, "")), p.result, p.job.run, markup.run_address(p.job.run))
                        for p in points
                    ]
                    one = ui.echart(charts.scatter(axis, self._metric, shown)).style("height: 230px; width: 100%")
                    open_on_click(one)

    def _line(self, axes: Sequence[charts.Axis], point: _Point) -> dict[str, Any]:
        row: dict[str, Any] = {axis.name: _place(axis, point.values.get(axis.name, "")) for axis in axes}
        return row | {self._metric: point.result, "id": point.job.run, "address": markup.run_address(point.job.run)}

    def _table(self, metrics: Sequence[str]) -> Markup:
        jobs = sorted(self._record.jobs, key=partial(_best_first, self._metric))
        rows = [
            (
                markup.run_link(job.run, job.run.rpartition(".")[2]),
                markup.status(job.status),
                *(markup.text(settings(job).get(key, "")) for key in self._keys),
                *(figure(job.headline.get(name)) for name in metrics),
                duration(job.wall_s, "compact") if job.wall_s else "",
            )
            for job in jobs
        ]
        head = ("job", "status", *map(markup.text, self._keys), *(f">{markup.text(name)}" for name in metrics), ">time")
        return markup.table(head, rows, "tight")


def _best_first(metric: str, job: Job) -> tuple[bool, float]:
    value = job.headline.get(metric)
    return value is None, -(value or 0.0)


def _axis(key: str, points: Sequence[_Point]) -> charts.Axis:
    texts = list(dict.fromkeys(point.values.get(key, "") for point in points))
    if all(number(word) is not None for word in texts):
        return charts.Axis(key)
    return charts.Axis(key, sorted(texts))


def _place(axis: charts.Axis, word: str) -> float | str | None:
    return word if axis.words else number(word)
