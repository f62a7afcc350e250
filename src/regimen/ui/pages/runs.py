"""The table of all runs, with a filter, columns to choose, and notes and tags to edit."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup
from nicegui import ui
from nicegui.events import GenericEventArguments

from regimen.ui import layout, markup
from regimen.ui.dialogs import edit_notes, edit_tags
from regimen.ui.history import NEWEST_FIRST, History, Selection
from regimen.ui.layout import static
from regimen.ui.run_table import COLUMNS, Column, cells, metric_columns, shown

BLOCK = 100
"""Rows that the table asks for at once."""

FIRST_ROWS = 40
"""Rows that stand in the page itself, to be seen before its scripts have run."""

PLACEHOLDER = "task=h1_failure status=failed,killed since=3d name!=try*"


def register(history: History) -> None:
    """Register the table of runs.

    Args:
        history: the runs.
    """

    @layout.page("/")
    async def runs(filter: str = "", sort: str = "", columns: str = "") -> None:
        await history.ready()
        every = [*COLUMNS, *metric_columns(history.rows)]
        keys = shown(columns, every)
        chosen = [next(column for column in every if column.key == key) for key in keys]
        found = history.select(filter, sort or NEWEST_FIRST)
        ui.add_head_html(f'<script src="/assets/{layout.assets_version()}/runs.js"></script>')
        ui.add_body_html(_first_rows(found, chosen, filter, history.version))
        with layout.frame("Runs", "/", wide=True):
            static(_bar(every, keys, filter))
            _grid(history, every, keys, sort, found)


def _bar(every: list[Column], keys: list[str], text: str) -> Markup:
    boxes = markup.joined(
        Markup('<label><input type="checkbox" value="{}"{}> {}</label>').format(
            column.key, Markup(" checked") if column.key in keys else "", column.title
        )
        for column in every
    )
    return Markup(
        '<div class="runs-bar"><input id="filter" type="search" value="{}" placeholder="{}" aria-label="Filter" '
        'spellcheck="false" autocomplete="off" autocapitalize="off"><span class="runs-count" id="count"></span>'
        '<button type="button" class="plain-button" id="compare" disabled>Compare</button>'
        '<details id="columns"><summary class="plain-button">Columns</summary><div class="menu">{}</div></details>'
        '</div><p class="runs-hint" id="hint" role="status"></p>'
    ).format(text, PLACEHOLDER, boxes)


def _grid(history: History, every: list[Column], keys: list[str], sort: str, found: Selection) -> None:
    options: dict[str, Any] = {
        "columnDefs": _definitions(every, keys, sort),
        "defaultColDef": {"resizable": True, "suppressHeaderMenuButton": True, "suppressMovable": True},
        "rowModelType": "infinite",
        "cacheBlockSize": BLOCK,
        "infiniteInitialRowCount": max(1, len(found.runs)),
        "maxBlocksInCache": 30,
        "rowHeight": 34,
        "headerHeight": 36,
        "rowSelection": {"mode": "multiRow", "checkboxes": True, "headerCheckbox": False},
        "selectionColumnDef": {"width": 42, "pinned": "left"},
        "suppressFieldDotNotation": True,
        "suppressCellFocus": False,
        "multiSortKey": "ctrl",
        "overlayNoRowsTemplate": "<span>no run matches</span>",
        ":getRowId": "regimenRuns.id",
        ":datasource": "regimenRuns.datasource",
        ":onGridReady": "regimenRuns.ready",
        ":onSelectionChanged": "regimenRuns.selected",
        ":onSortChanged": "regimenRuns.sorted",
        ":onFirstDataRendered": "regimenRuns.shown",
    }
    grid = ui.aggrid(options, auto_size_columns=False).classes("runs-grid")

    def edit(event: GenericEventArguments) -> None:
        run_id, column = event.args.get("rowId"), event.args.get("colId")
        if run_id and column in ("tags", "notes"):
            opened = edit_tags if column == "tags" else edit_notes
            opened(history, str(run_id), lambda: grid.run_grid_method("refreshInfiniteCache"))

    grid.on("cellClicked", edit, ["rowId", "colId"])


def _definitions(every: list[Column], keys: list[str], sort: str) -> list[dict[str, Any]]:
    order = sorted(every, key=lambda column: keys.index(column.key) if column.key in keys else len(keys))
    sorts = {word.removeprefix("-"): (word, at) for at, word in enumerate(sort.split(",")) if word}
    definitions = []
    for column in order:
        definition: dict[str, Any] = {
            "field": column.key,
            "colId": column.key,
            "headerName": column.title,
            "width": column.width,
            "hide": column.key not in keys,
            "sortable": bool(column.sort),
            "context": {"sort": column.sort},
        }
        if column.sort in sorts:
            word, at = sorts[column.sort]
            definition |= {"sort": "desc" if word.startswith("-") else "asc", "sortIndex": at}
        if column.is_number:
            definition["type"] = "rightAligned"
        if column.key in ("status", "id", "name", "tags", "notes"):
            definition[":cellRenderer"] = f"regimenRuns.cells.{column.key}"
        if column.key in ("tags", "notes"):
            definition["cellClass"] = "editable"
        definitions.append(definition)
    return definitions


def _first_rows(found: Selection, columns: list[Column], text: str, version: int) -> str:
    """Return the top of the table as plain HTML, and the tones of statuses for the scripts."""
    rows = [cells(run, columns) for run in found.runs[:FIRST_ROWS]]
    body = markup.table(
        [f">{column.title}" if column.is_number else column.title for column in columns],
        [[_first_cell(column, row) for column in columns] for row in rows],
        "first",
    )
    links = markup.joined(
        Markup('<a href="{}"{}>{}</a>').format(address, Markup(' aria-current="page"') if address == "/" else "", name)
        for address, name in layout.PAGES.items()
    )
    tones = {str(name): tone for name, tone in markup.TONES.items()}
    data = json.dumps({"tones": tones, "filter": text, "version": version}).replace("<", "\\u003c")
    return str(
        Markup(
            '<div id="first"><header class="top"><span class="brand">regimen</span><nav>{}</nav></header>'
            '<div class="page wide"><div class="card">{}</div></div></div>'
            "<script>regimenRuns.start({});</script>"
        ).format(links, body, Markup(data))
    )


def _first_cell(column: Column, row: dict[str, Any]) -> markup.Cell:
    value = row[column.key]
    if column.key == "status":
        return markup.status(str(value))
    if column.key == "id":
        return markup.run_link(str(value))
    return markup.text(value)
