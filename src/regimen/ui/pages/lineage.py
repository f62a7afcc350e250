"""Lineage: ancestors and descendants of one run, or of all runs of a filter."""

from __future__ import annotations

import shlex

from markupsafe import Markup

from regimen.system.errors import RegimenError
from regimen.ui import layout, markup
from regimen.ui.graphs import show_family
from regimen.ui.history import History
from regimen.ui.layout import section, static

MOST = 200
"""Runs of a filter whose families are drawn."""


def register(history: History) -> None:
    """Register the pages of the lineage.

    Args:
        history: the runs.
    """

    @layout.page("/lineage/{run_id}")
    async def of_run(run_id: str) -> None:
        await history.ready()
        with layout.frame(f"Lineage of {run_id}", "/"):
            try:
                run = history.open(run_id)
            except RegimenError as error:
                layout.heading("Lineage")
                layout.missing(str(error))
                return
            layout.heading(
                "Lineage", Markup('<span class="beside">{}</span>').format(markup.run_link(run.id, run.label))
            )
            with section("Made from, and went into", "graph"):
                show_family(history.family, [run.row])
            _legend()
            static(markup.command(f"regimen lineage {shlex.quote(run.id)}"))

    @layout.page("/lineage")
    async def of_filter(filter: str = "") -> None:
        await history.ready()
        with layout.frame("Lineage", "/"):
            found = history.select(filter)
            back = markup.link(markup.runs_address(filter=filter), f"{len(found.runs)} runs: {filter or 'all'}")
            layout.heading("Lineage", Markup('<span class="beside">{}</span>').format(back))
            if found.problem or not found.runs:
                layout.missing(found.problem or "No run matches this filter.")
                return
            rows = list(found.runs[:MOST])
            with section("Made from, and went into", "graph"):
                show_family(history.family, rows)
            _legend()
            if len(found.runs) > MOST:
                static(Markup("<p class='soft'>the newest {} of {} runs</p>").format(MOST, len(found.runs)))


def _legend() -> None:
    words = ("finished", "running", "queued", "killed", "failed", "file")
    marks = markup.joined((markup.status(word) for word in words), " ")
    text = "A red arrow: the input has changed since, or is gone. A click opens a run."
    static(Markup('<p class="row">{} <span class="soft">{}</span></p>').format(marks, text))
