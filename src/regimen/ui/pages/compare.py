"""Several runs beside each other: groups of seeds with intervals, curves, differing settings, synchronous films."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from nicegui import ui

from regimen.display.formatting import figure
from regimen.display.intervals import FEW_RUNS
from regimen.runs.history.comparison import GroupFigure, cautions, comparable, group_figures, split
from regimen.runs.history.groups import grouped
from regimen.runs.history.run_diff import differences
from regimen.runs.history.run_view import RunView, settings
from regimen.system.errors import RegimenError
from regimen.ui import charts, layout, markup, run_files
from regimen.ui.curve_panel import Choice, CurvePanel
from regimen.ui.history import History
from regimen.ui.layout import section, static

FILM = '<figure><video muted playsinline preload="auto" src="{}"></video><figcaption>{} {}</figcaption></figure>'

MOST = 100
"""Runs of one comparison."""

MOST_COLUMNS = 12
"""Runs whose settings stand beside each other."""


def register(history: History) -> None:
    """Register the page of a comparison.

    Args:
        history: the runs.
    """

    @layout.page("/compare")
    async def compare(
        runs: str = "",
        filter: str = "",
        curves: str = "",
        x: str = "step",
        smooth: float = 0.0,
        log: bool = False,
    ) -> None:
        await history.ready()
        with layout.frame("Compare", "/"):
            layout.heading("Compare")
            found, problems = _named(history, runs, filter)
            if problems:
                layout.missing("\n".join(problems))
            if len(found) < 2:
                layout.missing(
                    "Choose two runs or more in the table of runs, or give a filter: /compare?filter=name=walk*"
                )
                return
            content = ui.element("div")
            with content:
                static(Markup('<p class="soft">reading {} runs …</p>').format(len(found)))

            async def fill() -> None:
                compared = await asyncio.to_thread(_compared, found)
                content.clear()
                with content:
                    _show(history, found, compared, Choice(curves, x, smooth, log))

            ui.timer(0.01, fill, once=True)


@dataclass
class _Compared:
    """What takes a while: groups, their figures, and why some of it is not there."""

    groups: dict[str, list[RunView]]
    figures: list[GroupFigure]
    same: dict[str, float]
    notes: list[str]
    problem: str = ""


def _named(history: History, ids: str, text: str) -> tuple[list[RunView], list[str]]:
    """Return the runs of ids and of a filter, and a line for each that cannot be shown."""
    problems = []
    names = [word for word in ids.split(",") if word]
    if text:
        selected = history.select(text)
        problems += [selected.problem] if selected.problem else selected.hints
        names += [row.id for row in selected.runs if row.unreadable is None]
    names = list(dict.fromkeys(names))
    if len(names) > MOST:
        problems.append(f"{len(names)} runs: only the first {MOST} are compared.")
    found = []
    for name in names[:MOST]:
        try:
            found.append(history.open(name))
        except RegimenError as error:
            problems.append(str(error).splitlines()[0])
    return found, problems


def _compared(found: Sequence[RunView]) -> _Compared:
    try:
        finished, left_out = comparable(found)
        groups = grouped(finished)
        differing, same = split(finished)
        figures = list(group_figures(groups, differing))
        notes = list(cautions(groups, left_out, FEW_RUNS))
    except (RegimenError, OSError) as error:
        return _Compared({_label(run, found): [run] for run in found}, [], {}, [], str(error))
    for run in left_out:
        groups[f"{_label(run, found)} ({run.status})"] = [run]
    return _Compared(groups, figures, same, notes)


def _show(history: History, found: Sequence[RunView], compared: _Compared, choice: Choice) -> None:
    with section("Groups", "groups"):
        if compared.problem:
            layout.missing(compared.problem)
        static(_members(compared.groups))
        if compared.figures:
            static(_figures(compared.figures))
            _intervals(compared.figures)
        if compared.same:
            equal = ", ".join(f"{name} {figure(value)}" for name, value in compared.same.items())
            static(Markup("<p class='soft'>the same in all runs: {}</p>").format(markup.text(equal)))
        if compared.notes:
            static(markup.notice("warn", compared.notes))
    with section("Curves", "curves"):
        CurvePanel(history, compared.groups, choice)
    films = [(run, name) for run in found for name in run_files.of_kind(run, "video")]
    if films:
        with section("Films, synchronous", "films"):
            static(_films(films))
    with section("Settings that differ", "settings"):
        static(_settings(found))
    if len(found) == 2:
        with section("Everything else that differs", "differences"):
            static(_differences(found[0], found[1]))
    with section("Commands", "commands"):
        ids = [run.id for run in found]
        static(markup.command(shlex.join(["regimen", "compare", *ids])))
        if len(ids) == 2:
            static(markup.command(shlex.join(["regimen", "diff", *ids])))


def _label(run: RunView, among: Sequence[RunView]) -> str:
    """Return the name of a run where no other one has it, else its id."""
    name = run.record.name
    return name if name and sum(other.record.name == name for other in among) == 1 else run.id


def _members(groups: Mapping[str, Sequence[RunView]]) -> Markup:
    found = [run for members in groups.values() for run in members]
    rows = [
        (
            Markup('<span class="key" style="background:{}"></span>{}').format(
                charts.PALETTE[number % len(charts.PALETTE)], markup.text(label)
            ),
            markup.joined((markup.run_link(run.id, _label(run, found)) for run in members), ", "),
            markup.joined((markup.status(word) for word in dict.fromkeys(run.status for run in members)), " "),
        )
        for number, (label, members) in enumerate(groups.items())
    ]
    return markup.table(("group", "runs", "status"), rows)


def _figures(figures: Sequence[GroupFigure]) -> Markup:
    rows = [
        (
            markup.text(row.metric),
            markup.text(row.group),
            str(len(row.values)),
            Markup("<b>{}</b>").format(figure(row.middle)),
            f"{figure(row.interval[0])} … {figure(row.interval[1])}" if row.interval else "–",
            f"{figure(float(row.values.min()))} … {figure(float(row.values.max()))}",
        )
        for row in figures
    ]
    head = ("figure", "group", ">n", ">IQM", "95 % interval", "min … max")
    return Markup("<div style='margin-top:.8rem'>{}</div>").format(markup.table(head, rows, "tight"))


def _intervals(figures: Sequence[GroupFigure]) -> None:
    by_metric: dict[str, list[GroupFigure]] = {}
    for row in figures:
        by_metric.setdefault(row.metric, []).append(row)
    with ui.element("div").classes("charts"):
        for metric, rows in by_metric.items():
            marks = [charts.IntervalMark(r.group, r.values.tolist(), r.middle, r.interval) for r in rows]
            ui.echart(charts.intervals(metric, marks)).style("height: 190px; width: 100%")


def _films(films: Sequence[tuple[RunView, str]]) -> Markup:
    found = [run for run, _ in films]
    parts = [
        Markup(FILM).format(
            run_files.address(run, name), markup.run_link(run.id, _label(run, found)), markup.text(name)
        )
        for run, name in films
    ]
    controls = Markup(
        '<div class="row sync-controls"><button type="button" class="plain-button" data-sync="play">play</button>'
        '<button type="button" class="plain-button" data-sync="back">from the start</button>'
        '<input type="range" min="0" max="1" step="0.001" value="0" data-sync="seek" aria-label="Time">'
        '<span class="soft" data-sync="time"></span></div>'
    )
    return Markup('<div data-films>{}<div class="media">{}</div></div>').format(controls, markup.joined(parts))


def _settings(found: Sequence[RunView]) -> Markup:
    chosen = found[:MOST_COLUMNS]
    rows = [settings(run) for run in chosen]
    keys = [
        key for key in dict.fromkeys(k for row in rows for k in row) if len({_word(row.get(key)) for row in rows}) > 1
    ]
    if not keys:
        return Markup('<span class="soft">no difference</span>')
    head = ("", *(markup.text(_label(run, found)) for run in chosen))
    cells = [(key, *(_word(row[key]) if key in row else "–" for row in rows)) for key in keys]
    more = f"the first {MOST_COLUMNS} of {len(found)} runs" if len(found) > MOST_COLUMNS else ""
    return markup.table(head, cells, "settings") + Markup("<p class='soft'>{}</p>").format(more)


def _word(value: Any) -> str:
    shown = "null" if value is None else markup.text(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"


def _differences(a: RunView, b: RunView) -> Markup:
    different = differences(a, b)
    parts = []
    for title in ("inputs", "packages", "host", "run", "headline"):
        rows = [(key, figure(x), figure(y)) for key, (x, y) in different[title].items()]
        if rows:
            labels = [markup.text(_label(run, (a, b))) for run in (a, b)]
            parts.append(Markup("<h3>{}</h3>{}").format(title, markup.table(("", *labels), rows)))
    parts.append(Markup("<p class='soft'>The difference of the code: regimen diff --code</p>"))
    return markup.joined(parts)
