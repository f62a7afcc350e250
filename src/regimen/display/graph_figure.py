"""Draw a directed graph: boxes with a few words, each to the right of all its sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BOX = (2.7, 0.8)
STEP = (4.5, 1.15)
"""Size of a box, and distance from one to the next, in inches."""

GOOD, BAD, BUSY, QUIET = "#3f8f5b", "#b3261e", "#3b6fb6", "#777777"
COLORS = {"finished": GOOD, "reused": GOOD, "running": BUSY, "queued": BUSY, "waiting": QUIET, "not started": QUIET}
"""Status -> colour; all other statuses have the colour of a failure."""

LETTERS = 44
"""Characters that fit into the width of a box in small type."""


@dataclass
class Box:
    """A node of the graph.

    Attributes:
        id: name of the node in arrows.
        title: its first line.
        lines: at most two lines below the title.
        color: of its frame.
        chosen: whether it is filled.
        dashed: whether its frame is dashed.
    """

    id: str
    title: str
    lines: list[str] = field(default_factory=list)
    color: str = QUIET
    chosen: bool = False
    dashed: bool = False


@dataclass
class Arrow:
    """An edge from one box to another."""

    parent: str
    child: str
    label: str = ""
    color: str = "#666666"


def draw(out: Path, boxes: Sequence[Box], arrows: Sequence[Arrow]) -> None:
    """Draw the graph.

    Args:
        out: file to write; its suffix sets the format.
        boxes: at least one.
        arrows: between them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places = place([box.id for box in boxes], arrows)
    width = max(x for x, _ in places.values()) * STEP[0] + BOX[0] + 0.4
    height = max(y for _, y in places.values()) * STEP[1] + BOX[1] + 0.4
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-0.2, width - 0.2), ylim=(height - 0.2, -0.2))
    for arrow in arrows:
        _arrow(axes, places[arrow.parent], places[arrow.child], arrow)
    for box in boxes:
        _box(axes, places[box.id], box)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def place(nodes: Sequence[str], arrows: Sequence[Arrow]) -> dict[str, tuple[float, float]]:
    """Return node -> (column, row): right of all its sources, in a column near the mean height of these.

    Args:
        nodes: ids.
        arrows: edges; one that closes a cycle is ignored.
    """
    parents = {node: [a.parent for a in arrows if a.child == node and a.parent != node] for node in nodes}
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


def _box(axes: Axes, at: tuple[float, float], box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = at[0] * STEP[0], at[1] * STEP[1]
    fill, style = "#e8eef7" if box.chosen else "white", "round,pad=0,rounding_size=0.08"
    frame = FancyBboxPatch((x, y), *BOX, boxstyle=style, fc=fill, ec=box.color, ls="--" if box.dashed else "-")
    frame.set_linewidth(2.2 if box.chosen else 1.3)
    axes.add_patch(frame)
    axes.text(x + 0.12, y + 0.2, short(box.title, 30), fontsize=9, fontweight="bold", va="center")
    for number, text in enumerate(box.lines):
        axes.text(x + 0.12, y + 0.41 + 0.18 * number, short(text), fontsize=7, va="center", color="#444444")


def short(text: str, letters: int = LETTERS) -> str:
    """Return text that fits into a box; the middle of a longer one is left out."""
    if len(text) <= letters:
        return text
    return f"{text[: letters // 3]}…{text[len(text) - (letters - letters // 3 - 1) :]}"


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], arrow: Arrow) -> None:
    x, y = start[0] * STEP[0] + BOX[0], start[1] * STEP[1] + BOX[1] / 2
    to_x, to_y = end[0] * STEP[0], end[1] * STEP[1] + BOX[1] / 2
    props = {"arrowstyle": "-|>", "color": arrow.color, "lw": 1.2, "shrinkA": 2, "shrinkB": 3}
    axes.annotate("", (to_x, to_y), (x, y), arrowprops=props)
    if arrow.label:
        box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.9}
        middle = ((x + to_x) / 2, (y + to_y) / 2)
        axes.text(*middle, arrow.label, fontsize=7, color=arrow.color, ha="center", va="center", bbox=box)
