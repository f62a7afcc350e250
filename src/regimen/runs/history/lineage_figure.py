"""The family of a run as a picture: from left to right, each run to the right of all that it was made from."""

from __future__ import annotations

import os
from pathlib import Path

from regimen.display.graph_figure import BAD, COLORS, QUIET, Arrow, Box
from regimen.display.graph_figure import draw as draw_graph
from regimen.runs.history.lineage import FILE, ParentLink, headline, state
from regimen.runs.history.run_view import GONE
from regimen.runs.index.summary import RunSummary


def draw(out: Path, run: RunSummary, relatives: dict[str, RunSummary], links: list[ParentLink]) -> None:
    """Draw the family.

    Args:
        out: file to write; its ending says the format.
        run: whose family it is; its box is filled.
        relatives: id -> run.
        links: between them; those whose file changed or is gone are red.
    """
    draw_graph(out, [_box(relative, run) for relative in relatives.values()], [_arrow(link) for link in links])


def _box(run: RunSummary, chosen: RunSummary) -> Box:
    if state(run) == FILE:
        path = Path(run.id)
        return Box(run.id, path.name, [os.path.relpath(path.parent)], QUIET)
    title = run.name or " ".join(filter(None, [run.stage, run.task])) or GONE
    text = " · ".join(filter(None, [run.stage, state(run), headline(run)]))
    return Box(run.id, title, [run.id, text], COLORS.get(state(run), BAD), run.id == chosen.id, state(run) == GONE)


def _arrow(link: ParentLink) -> Arrow:
    if link.broken:
        return Arrow(link.parent, link.child, f"{link.label}\n{link.state}", BAD)
    return Arrow(link.parent, link.child, link.label)
