"""Pipelines: a list, and for each the graph of its steps with their state, and why a step was not reused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from markupsafe import Markup
from nicegui import ui

from regimen.display.formatting import duration, figure, when
from regimen.orchestration.job_table import ROOT
from regimen.orchestration.pipeline.record import FILE, REUSED, Step
from regimen.orchestration.pipeline.reuse import why_made_again
from regimen.runs.status import Status
from regimen.system import files
from regimen.system.errors import RegimenError
from regimen.ui import layout, markup
from regimen.ui.charts import Edge, Node
from regimen.ui.graphs import show_graph
from regimen.ui.history import History
from regimen.ui.layout import section, static
from regimen.ui.pages.sweeps import folders

LOOK_S = 2.0


async def show_list(history: History) -> None:
    """Build the list.

    Args:
        history: the runs.
    """
    with layout.frame("Pipelines", "/pipelines"):
        layout.heading("Pipelines")
        with section("All pipelines", "pipelines"):
            rows = [row for folder in folders(FILE) if (row := _row(folder))]
            if not rows:
                layout.missing("There is no pipeline yet: python launch.py pipeline=reach_study")
                return
            static(markup.table(("pipeline", "name", "status", ">done", ">steps", "started", "command"), rows))


async def show_one(history: History, pipeline_id: str) -> None:
    """Build the page of one pipeline.

    Args:
        history: the runs.
        pipeline_id: its id.
    """
    await history.ready()
    with layout.frame(f"Pipeline {pipeline_id}", "/pipelines"):
        folder = next((path for path in folders(FILE) if path.name == pipeline_id), None)
        data = files.read_json(folder / FILE) if folder else None
        if folder is None or not data:
            layout.heading("Pipeline")
            layout.missing(f"There is no pipeline {pipeline_id} below {ROOT} whose record can be read.")
            return
        beside = Markup('<span class="beside mono">{}</span>').format(pipeline_id)
        layout.heading(f"Pipeline {markup.text(data.get('name'))}", beside)
        _Pipeline(history, folder, data)


def _row(folder: Path) -> tuple[markup.Cell, ...] | None:
    data = files.read_json(folder / FILE) or {}
    steps = read_steps(data)
    if not steps:
        return None
    argv = data.get("argv")
    words = " ".join(map(str, argv[1:])) if isinstance(argv, list) else ""
    return (
        markup.link(f"/pipeline/{folder.name}", folder.name),
        markup.text(data.get("name")),
        markup.text(data.get("status")),
        str(sum(step.is_done for step in steps)),
        str(len(steps)),
        when(data.get("started")),
        Markup("<code>{}</code>").format(markup.text(words)),
    )


def read_steps(data: dict[str, Any]) -> list[Step]:
    """Return the steps of the content of a pipeline.json; those that are damaged are left out."""
    found = []
    for row in data.get("steps") or []:
        try:
            found.append(Step(**row))
        except TypeError:
            continue
    return found


class _Pipeline:
    """The parts of the page of a pipeline; they are renewed as its steps proceed."""

    def __init__(self, history: History, folder: Path, data: dict[str, Any]) -> None:
        self._history, self._folder, self._data = history, folder, data
        with section("Steps", "graph"):
            self._graph = ui.element("div")
        with section("Steps and their runs", "steps"):
            self._table = ui.element("div")
        static(
            Markup("<p>{} · {}</p>").format(
                markup.link(markup.runs_address(filter=f"pipeline={folder.name}"), "in the table of runs"),
                markup.link(f"/lineage?filter=pipeline%3D{folder.name}", "lineage"),
            )
        )
        self._show()
        if data.get("ended") is None:
            ui.timer(LOOK_S, self._look)

    def _look(self) -> None:
        data = files.read_json(self._folder / FILE)
        if data and data != self._data:
            self._data = data
            self._show()

    def _show(self) -> None:
        steps = read_steps(self._data)
        self._graph.clear()
        self._table.clear()
        if not steps:
            with self._table:
                layout.missing("Its record has no step that can be read.")
            return
        names = {step.name for step in steps}
        nodes = [
            Node(
                step.name,
                step.name,
                " · ".join(filter(None, [step.stage, step.status, step.headline_text()])),
                step.status,
                markup.run_address(step.run) if step.run else "",
            )
            for step in steps
        ]
        edges = [Edge(parent, step.name) for step in steps for parent in step.after if parent in names]
        with self._graph:
            show_graph(nodes, edges)
        with self._table:
            head = ("step", "stage", "status", "run", "headline", ">time", "reason")
            static(markup.table(head, [_step_row(step) for step in steps]))
            made = [step.name for step in steps if step.run and step.status != REUSED and step.status != Status.QUEUED]
            if made:
                with ui.element("div").classes("row").style("margin-top:.7rem"):
                    select = ui.select(made, label="step", value=made[0]).props("outlined dense options-dense")
                    select.style("min-width: 12rem")
                    ui.button("Why not reused?", on_click=lambda: self._explain(select.value)).props("outline no-caps")
                self._why = ui.element("div").style("margin-top:.5rem")

    async def _explain(self, name: str) -> None:
        step = next((step for step in read_steps(self._data) if step.name == name), None)
        self._why.clear()
        row = self._history.find(step.run) if step and step.run else None
        if row is None:
            with self._why:
                layout.missing("The run of this step is gone.")
            return
        found: list[str] = []

        def look() -> None:
            try:
                found.extend(why_made_again(row, self._history.rows, self._history.open(row.id).config))
            except (RegimenError, OSError) as error:
                found.append(str(error))

        await asyncio.to_thread(look)
        with self._why:
            static(
                markup.notice(
                    "warn" if found else "good",
                    found or ["No earlier run is of this step: there was nothing to reuse."],
                )
            )


def _step_row(step: Step) -> tuple[markup.Cell, ...]:
    values = ", ".join(f"{name} {figure(value)}" for name, value in list(step.headline.items())[:3])
    return (
        markup.text(step.name),
        markup.text(step.stage),
        markup.status(step.status),
        markup.run_link(step.run) if step.run else "",
        markup.text(values),
        duration(step.wall_s, "compact") if step.wall_s else "",
        markup.text(step.reason),
    )
