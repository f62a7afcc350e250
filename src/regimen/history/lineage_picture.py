"""The family of a run as a picture: from left to right, each run to the right of all that it was made from."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.figures import COLORS
from regimen.history.family import FILE, Link
from regimen.history.lineage import headline
from regimen.history.row import RunRow
from regimen.history.seen import GONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOX = (2.7, 0.8)
STEP = (4.5, 1.15)
"""Size of a box, and distance from one to the next, in inches."""

BAD = "#b3261e"
GOOD = "#3f8f5b"
LETTERS = 30
"""What fits into the width of a box."""


def draw(out: Path, run: RunRow, relatives: dict[str, RunRow], links: list[Link]) -> None:
    """Draw the family.

    Args:
        out: file to write; its ending says the format.
        run: whose family it is; its box is filled.
        relatives: id -> run.
        links: between them; those whose file changed or is gone are red.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places = place(list(relatives), links)
    width = max(x for x, _ in places.values()) * STEP[0] + BOX[0] + 0.4
    height = max(y for _, y in places.values()) * STEP[1] + BOX[1] + 0.4
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-0.2, width - 0.2), ylim=(height - 0.2, -0.2))
    for link in links:
        _arrow(axes, places[link.parent], places[link.child], link)
    for relative in relatives.values():
        _box(axes, places[relative.id], relative, chosen=relative.id == run.id)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def place(nodes: list[str], links: list[Link]) -> dict[str, tuple[float, float]]:
    """Return node -> (column, row): right of all its sources, in a column near the mean height of these.

    Args:
        nodes: ids.
        links: between them; a circle is cut where it closes.
    """
    parents = {node: [link.parent for link in links if link.child == node and link.parent != node] for node in nodes}
    depth = _depths(parents)
    places: dict[str, tuple[float, float]] = {}
    columns = [[node for node in nodes if depth[node] == column] for column in range(max(depth.values()) + 1)]
    tallest = max(map(len, columns))
    for column, members in enumerate(columns):
        heights = {node: [places[p][1] for p in parents[node] if p in places] for node in members}
        members.sort(key=lambda node: sum(heights[node]) / len(heights[node]) if heights[node] else 0.0)
        for row, node in enumerate(members):
            places[node] = (float(column), row + (tallest - len(members)) / 2)
    return places


def _depths(parents: dict[str, list[str]]) -> dict[str, int]:
    """Return node -> length of the longest way to it."""
    depth: dict[str, int] = {}

    def visit(node: str, path: frozenset[str]) -> int:
        if node not in depth:
            sources = [p for p in parents[node] if p not in path]
            depth[node] = max((visit(p, path | {p}) + 1 for p in sources), default=0)
        return depth[node]

    for node in parents:
        visit(node, frozenset({node}))
    return depth


def _box(axes: Axes, at: tuple[float, float], run: RunRow, chosen: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = at[0] * STEP[0], at[1] * STEP[1]
    color = {"finished": GOOD, FILE: COLORS[-1], "running": COLORS[0], "queued": COLORS[0]}.get(run.status, BAD)
    fill = "#e8eef7" if chosen else "white"
    line = "--" if run.status == GONE else "-"
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x, y), *BOX, boxstyle=style, fc=fill, ec=color, lw=2.2 if chosen else 1.3, ls=line))
    title, *rest = _words(run)
    axes.text(x + 0.12, y + 0.2, title, fontsize=9, fontweight="bold", va="center")
    for number, text in enumerate(rest):
        axes.text(x + 0.12, y + 0.41 + 0.18 * number, text, fontsize=7, va="center", color="#444444")


def _words(run: RunRow) -> list[str]:
    """Return the lines in a box."""
    if run.status == FILE:
        path = Path(run.id)
        return [_short(path.name), _short(os.path.relpath(path.parent), keep_end=True)]
    id_line = [_short(run.id, keep_end=True)] if run.name else []
    state = " · ".join(filter(None, [run.stage, run.status, headline(run)]))
    return [_short(run.name or run.id, keep_end=not run.name), *id_line, textwrap.shorten(state, 44, placeholder=" …")]


def _short(text: str, keep_end: bool = False) -> str:
    if len(text) <= LETTERS + 14 * keep_end:
        return text
    return f"…{text[-LETTERS - 13 :]}" if keep_end else f"{text[: LETTERS - 1]}…"


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], link: Link) -> None:
    x, y = start[0] * STEP[0] + BOX[0], start[1] * STEP[1] + BOX[1] / 2
    to_x, to_y = end[0] * STEP[0], end[1] * STEP[1] + BOX[1] / 2
    color = BAD if link.broken else "#666666"
    arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.2, "shrinkA": 2, "shrinkB": 3}
    axes.annotate("", (to_x, to_y), (x, y), arrowprops=arrow)
    text = f"{link.label}\n{link.state}" if link.broken else link.label
    box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.9}
    axes.text((x + to_x) / 2, (y + to_y) / 2, text, fontsize=7, color=color, ha="center", va="center", bbox=box)
