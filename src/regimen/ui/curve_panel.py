"""Curves of one or several runs: metrics to choose, smoothing, axes, zoom; the choice is in the address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from nicegui import ui
from nicegui.events import GenericEventArguments

from regimen.display.intervals import common_curve, iqm, iqm_interval
from regimen.runs.history.curves import MetricColumns, averaged, smoothed, thinned, window
from regimen.runs.history.run_view import RunView
from regimen.system import json_lines
from regimen.ui.charts import Line, curves
from regimen.ui.history import History

BUCKETS = 500
"""Buckets of a curve, see `thinned`: a chart is a few hundred pixels wide."""

FEW_CHARTS = 4
"""Charts that are shown unless the address names others."""

LARGE = 8 * 2**20
"""Bytes of metrics.jsonl from which a sample of its rows is shown while the others are read."""

SAMPLE = 1000
"""Rows of that sample."""

LOOK_S = 2.0
RESAMPLES = 500
AXES = {"step": "steps", "samples": "samples", "time": "hours of work"}
FIRST = ("Train/return", "Train/episode_length", "Train/success")
"""Metrics that come first where a run has them."""


@dataclass
class Choice:
    """What is shown, as the address names it.

    Attributes:
        curves: names of metrics separated by commas, empty for the usual ones.
        x: key of `AXES`.
        smooth: weight of the past, see `smoothed`.
        log: whether values have a logarithmic axis.
    """

    curves: str = ""
    x: str = "step"
    smooth: float = 0.0
    log: bool = False

    def __post_init__(self) -> None:
        """Replace what an address cannot mean."""
        self.x = self.x if self.x in AXES else "step"
        self.smooth = min(max(self.smooth, 0.0), 0.99) if self.smooth == self.smooth else 0.0


@dataclass(frozen=True)
class _Series:
    """(n,) places and values, and (m, 2) points of them for the whole chart."""

    x: np.ndarray
    y: np.ndarray
    whole: np.ndarray


@dataclass(frozen=True)
class _Curve:
    """A metric of a run, as it is and smoothed, for rows and settings that `state` has."""

    state: tuple[int, str, float]
    raw: _Series
    smooth: _Series


class CurvePanel:
    """The charts of some runs, in the slot in which it is made."""

    def __init__(self, history: History, groups: Mapping[str, Sequence[RunView]], choice: Choice) -> None:
        """Build the panel; curves appear when they are read.

        Args:
            history: keeps the metrics.
            groups: label -> runs; a group of several is drawn as their interquartile mean with its interval.
            choice: what to show.
        """
        self._history, self._groups, self._choice = history, groups, choice
        self._runs = [run for members in groups.values() for run in members]
        self._charts: dict[str, ui.echart] = {}
        self._windows: dict[str, tuple[float, float]] = {}
        self._names: list[str] = []
        self._sampled: dict[str, list[dict[str, Any]]] = {}
        self._kept: dict[tuple[str, str], _Curve] = {}
        self._busy = False
        self._controls()
        self._bar.set_visibility(False)
        self._area = ui.element("div").classes("charts")
        self._status = ui.label("reading the metrics …").classes("soft")
        ui.timer(0.01, self._begin, once=True)
        if any(run.status.is_open for run in self._runs):
            ui.timer(LOOK_S, self._look)

    def _controls(self) -> None:
        choice = self._choice
        with ui.element("div").classes("row") as self._bar:
            self._select = ui.select([], multiple=True, label="Metrics", with_input=True)
            self._select.props("outlined dense use-chips options-dense").style("flex: 1 1 20rem; min-width: 12rem")
            ui.select(dict(AXES), value=choice.x, label="over", on_change=partial(self._set, "x")).props(
                "outlined dense options-dense"
            ).style("width: 9rem")
            with ui.element("div").classes("row").style("flex: 0 1 13rem; flex-wrap: nowrap"):
                ui.label("smooth").classes("soft")
                slider = ui.slider(min=0, max=0.99, step=0.01, value=choice.smooth).props('label aria-label="smooth"')
                slider.on("change", lambda event: self._set("smooth", event), args=[])
                slider.style("min-width: 6rem")
                self._slider = slider
            ui.switch("log", value=choice.log, on_change=partial(self._set, "log"))

    async def _begin(self) -> None:
        """Show a sample of large files at once, then all rows."""
        large = [run for run in self._runs if _size(run) > LARGE and not self._columns(run).rows]
        if large:
            for run in large:
                path = run.dir / "metrics.jsonl"
                self._sampled[run.id] = (await asyncio.to_thread(json_lines.thinned, path, SAMPLE))[0]
            self._offer(list(dict.fromkeys(k for rows in self._sampled.values() for row in rows for k in row)))
            self._status.set_text("a sample of the rows; reading all …")
        if any(len(members) > 1 for members in self._groups.values()):
            await asyncio.to_thread(iqm, np.zeros((1, 1)))  # loads SciPy, which takes a second
        await asyncio.to_thread(self._read)
        self._sampled.clear()
        self._offer(list(dict.fromkeys(name for run in self._runs for name in self._columns(run).names)))
        self._status.set_text("" if self._names else "no run here has logged a metric")

    async def _look(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            if await asyncio.to_thread(self._read):
                names = list(dict.fromkeys(name for run in self._runs for name in self._columns(run).names))
                if names != self._names:
                    self._offer(names)
                self._status.set_text("" if names else self._status.text)
                for name in self._charts:
                    self._draw(name)
        finally:
            self._busy = False

    def _read(self) -> bool:
        return any([self._columns(run).refresh() for run in self._runs])

    def _columns(self, run: RunView) -> MetricColumns:
        return self._history.columns(run)

    def _offer(self, names: list[str]) -> None:
        """Offer metrics to choose, and draw those that are chosen."""
        names = [name for name in names if name not in ("step", "time_s")]
        asked = [name for name in self._choice.curves.split(",") if name in names]
        usual = [name for name in FIRST if name in names]
        usual += [name for name in names if name not in usual]
        chosen = list(self._select.value or []) or asked or usual[:FEW_CHARTS]
        self._names = names
        self._bar.set_visibility(bool(names))
        self._select.set_options(sorted(names), value=[name for name in chosen if name in names])
        if not self._charts:
            self._select.on_value_change(lambda: self._chosen())
        self._show()

    def _chosen(self) -> None:
        self._address("curves", ",".join(self._select.value or []))
        self._show()

    def _set(self, name: str, event: Any) -> None:
        value = self._slider.value if name == "smooth" else event.value
        setattr(self._choice, name, value)
        usual = value == getattr(Choice(), name)
        self._address(name, "" if usual else str(int(value) if isinstance(value, bool) else value))
        self._windows.clear()
        self._area.clear()
        self._charts.clear()
        self._show()

    @staticmethod
    def _address(name: str, value: str) -> None:
        ui.run_javascript(f"regimenAddress({name!r}, {json.dumps(value)})")

    def _show(self) -> None:
        """Make a chart for each chosen metric, remove the others."""
        wanted = list(self._select.value or [])
        for name in [name for name in self._charts if name not in wanted]:
            self._charts.pop(name).delete()
        for name in wanted:
            if name not in self._charts:
                with self._area:
                    chart = ui.echart(self._options(name)).style("height: 230px; width: 100%")
                chart.on("chart:datazoom", partial(self._zoomed, name), args=["start", "end", "batch"], throttle=0.03)
                self._charts[name] = chart
            else:
                self._draw(name)

    def _draw(self, name: str) -> None:
        chart = self._charts[name]
        chart.options["series"] = self._options(name)["series"]
        chart.update()

    def _zoomed(self, name: str, event: GenericEventArguments) -> None:
        part = (event.args.get("batch") or [event.args])[0]
        start, end = part.get("start"), part.get("end")
        if not isinstance(start, int | float) or not isinstance(end, int | float):
            return
        if start <= 0 and end >= 100:
            self._windows.pop(name, None)
        else:
            self._windows[name] = (start / 100, end / 100)
        self._draw(name)

    def _options(self, name: str) -> dict[str, Any]:
        choice, found = self._choice, []
        for number, (label, members) in enumerate(self._groups.items()):
            made = [curve for run in members if len((curve := self._made(run, name)).raw.whole)]
            if len(members) > 1 and len(made) > 1:
                found += self._group(label, number, made, name)
            else:
                found += [self._line(label, number, curve, name) for curve in made]
        return curves(name, found, AXES[choice.x], choice.log, len(self._groups) > 1)

    def _line(self, label: str, number: int, curve: _Curve, name: str) -> Line:
        raw = self._thin(curve.raw, name) if self._choice.smooth else None
        return Line(label, self._thin(curve.smooth, name), raw, color=number)

    def _group(self, label: str, number: int, members: list[_Curve], name: str) -> list[Line]:
        """Return the curve of a group with its interval, and those of its runs behind it."""
        found = [Line(label, self._thin(one.smooth, name), color=number, faint=True) for one in members]
        steps, values = common_curve([averaged(one.smooth.x, one.smooth.y, BUCKETS) for one in members])
        ends = iqm_interval(values, RESAMPLES)
        band = None if ends is None else np.column_stack([steps, ends[0], ends[1]])
        return [*found, Line(label, np.column_stack([steps, iqm(values)]), band=band, color=number)]

    def _thin(self, series: _Series, name: str) -> np.ndarray:
        """Return the points of a series as its chart shows them: evenly, or as it is zoomed into."""
        part = self._windows.get(name)
        if part is None or not len(series.x):
            return series.whole
        low, high = (float(series.x[0] + (series.x[-1] - series.x[0]) * share) for share in part)
        return window(series.x, series.y, low, high, BUCKETS, series.whole)

    def _made(self, run: RunView, name: str) -> _Curve:
        """Return the curve of a metric of a run; it is kept until a row is added or a setting changes."""
        rows = -1 if run.id in self._sampled else self._columns(run).rows
        state = (rows, self._choice.x, self._choice.smooth)
        known = self._kept.get((run.id, name))
        if known is None or known.state != state:
            x, y = self._curve(run, name)
            raw = _Series(x, y, thinned(x, y, BUCKETS))
            even = smoothed(y, self._choice.smooth)
            smooth = raw if even is y else _Series(x, even, thinned(x, even, BUCKETS))
            known = self._kept[run.id, name] = _Curve(state, raw, smooth)
        return known

    def _curve(self, run: RunView, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) places and values of a metric of a run."""
        if run.id in self._sampled:
            rows = [row for row in self._sampled[run.id] if row.get(name) is not None]
            key = "time_s" if self._choice.x == "time" else "step"
            x = np.array([row.get(key, 0.0) for row in rows], dtype=float)
            y = np.array([row[name] for row in rows], dtype=float)
        else:
            columns = self._columns(run)
            y = columns.column(name)
            x = columns.seconds(name) if self._choice.x == "time" else columns.steps(name)
        if self._choice.x == "samples":
            return x * samples_per_step(run), y
        return (x / 3600 if self._choice.x == "time" else x), y


def samples_per_step(run: RunView) -> float:
    """Return how many samples all envs of a run together make at one step of each."""
    value = (run.config.get("env") or {}).get("num_envs")
    return float(value) if isinstance(value, int) else 1.0


def _size(run: RunView) -> int:
    try:
        return (run.dir / "metrics.jsonl").stat().st_size
    except OSError:
        return 0
