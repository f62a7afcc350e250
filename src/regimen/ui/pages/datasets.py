"""Datasets: a list of the runs that made one, and the data card with the checks that it passes or not."""

from __future__ import annotations

import shlex
from pathlib import Path

from markupsafe import Markup

from regimen.display.formatting import duration, size
from regimen.runs.history.run_view import RunView
from regimen.runs.index.summary import RunSummary
from regimen.system import files
from regimen.system.errors import RegimenError
from regimen.ui import layout, markup, run_files
from regimen.ui.card_text import card_markup, verdict
from regimen.ui.history import History
from regimen.ui.layout import section, static
from regimen.ui.pages.run import media

STAGES = ("collect", "collect_histories", "collect_motion")
"""Stages that make datasets."""

CARDS = ("data/card.md", "data/histories/card.md")


def register(history: History) -> None:
    """Register the pages of datasets.

    Args:
        history: the runs.
    """

    @layout.page("/datasets")
    async def datasets() -> None:
        await history.ready()
        with layout.frame("Datasets", "/datasets"):
            layout.heading("Datasets")
            with section("Runs that recorded data", "datasets"):
                rows = [_row(run) for run in history.rows if run.stage in STAGES and run.has_data]
                if not rows:
                    layout.missing("There is no dataset yet: python launch.py stage=collect policy=<run> task=<task>")
                    return
                head = ("dataset", "name", "task", "status", "checks", ">time")
                static(markup.table(head, rows))

    @layout.page("/dataset/{run_id}")
    async def dataset(run_id: str) -> None:
        await history.ready()
        with layout.frame(f"Dataset {run_id}", "/datasets"):
            try:
                run = history.open(run_id)
            except RegimenError as error:
                layout.heading("Dataset")
                layout.missing(str(error))
                return
            beside = Markup('<span class="beside">{}</span>').format(markup.run_link(run.id))
            layout.heading(run.record.name or "Dataset", beside)
            _show(run)


def _card(folder: Path) -> str:
    """Return the text of the card of a run, empty without one."""
    for name in CARDS:
        try:
            return files.read_bytes(folder / name).decode(errors="replace")
        except OSError:
            continue
    return ""


def _row(run: RunSummary) -> tuple[markup.Cell, ...]:
    card = _card(run.dir)
    found = verdict(card)
    return (
        markup.link(f"/dataset/{run.id}", run.id),
        markup.text(run.name),
        markup.text(run.task),
        markup.status(run.status),
        Markup('<span class="status {}">{}</span>').format(found.tone, found.text),
        duration(run.wall_s, "compact") if run.wall_s else "",
    )


def _show(run: RunView) -> None:
    card = _card(run.dir)
    with section("Card", "card"):
        if card:
            static(card_markup(card))
        else:
            layout.missing("It has no card yet. This writes one:")
        static(markup.command(f"regimen card {shlex.quote(run.id)}"))
    pictures = [name for name in run_files.of_kind(run, "figures") if Path(name).name.startswith("card")]
    if pictures:
        with section("Pictures of the card", "pictures"):
            static(media(run, pictures))
    with section("Files", "files"):
        rows = [
            (markup.text(row.path), size(row.bytes), Markup('<span class="mono">{}</span>').format(row.sha256))
            for row in run.record.artifacts
            if row.kind == "dataset"
        ]
        static(markup.table(("file", ">size", "sha256"), rows))
