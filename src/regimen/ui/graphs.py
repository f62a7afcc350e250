"""Graphs on a page: what was made from what, and the steps of pipelines; a click opens a node."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from nicegui import ui
from nicegui.events import GenericEventArguments

from regimen.runs.history.lineage import FILE, Lineage, ParentLink, headline, state
from regimen.runs.history.run_view import GONE
from regimen.runs.index.summary import RunSummary
from regimen.ui import charts, markup
from regimen.ui.charts import Edge, Node


def show_graph(nodes: Sequence[Node], edges: Sequence[Edge]) -> None:
    """Show a graph; a click on a node opens its page.

    Args:
        nodes: at least one.
        edges: between them.
    """
    drawn = charts.graph(nodes, edges)
    size = f"height: {drawn.height}px; width: 100%; min-width: {drawn.width}px"
    with ui.element("div").classes("scroll"):
        open_on_click(ui.echart(drawn.options).style(size))


def show_family(lineage: Lineage, rows: Sequence[RunSummary]) -> None:
    """Show ancestors and descendants of runs, once the inputs of all of them are compared with their checksums.

    Args:
        lineage: all runs.
        rows: the runs.
    """
    area = ui.element("div")
    with area:
        ui.label("comparing the inputs with their checksums …").classes("soft")

    async def fill() -> None:
        nodes, edges = await asyncio.to_thread(family, lineage, rows)
        area.clear()
        with area:
            show_graph(nodes, edges)

    ui.timer(0.01, fill, once=True)


def open_on_click(chart: ui.echart) -> None:
    """Let a click on a part of a chart open the address that its data has."""

    def clicked(event: GenericEventArguments) -> None:
        data = event.args.get("data")
        address = data.get("address") if isinstance(data, dict) else None
        if isinstance(address, str) and address.startswith("/"):
            ui.navigate.to(address)

    chart.on("componentClick", clicked, ["data"])


def family(lineage: Lineage, rows: Iterable[RunSummary]) -> tuple[list[Node], list[Edge]]:
    """Return ancestors and descendants of runs, themselves emphasised.

    Args:
        lineage: all runs.
        rows: the runs.
    """
    chosen = list(rows)
    relatives: dict[str, RunSummary] = {}
    links: dict[ParentLink, None] = {}
    for row in chosen:
        found, between = lineage.graph(row)
        relatives |= found
        links |= dict.fromkeys(between)
    ids = {row.id for row in chosen} if len(chosen) == 1 else set()
    nodes = [_node(row, row.id in ids) for row in relatives.values()]
    return nodes, [Edge(one.parent, one.child, _label(one), one.broken) for one in links if one.parent in relatives]


def _label(link: ParentLink) -> str:
    return f"{link.label} [{link.state}]" if link.broken else link.label


def _node(row: RunSummary, chosen: bool) -> Node:
    word = state(row)
    if word in (FILE, GONE):
        path = Path(row.id)
        return Node(row.id, path.name or row.id, os.path.relpath(path.parent) if path.is_absolute() else "", word)
    title = row.name or " ".join(filter(None, [row.stage, row.task])) or row.id
    detail = " · ".join(filter(None, [row.stage, word, headline(row)]))
    return Node(row.id, title, detail, word, markup.run_address(row.id), chosen)
