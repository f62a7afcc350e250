"""Figure of `regimen compare`: learning curves with intervals, and a panel for each headline metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.display.figures import COLORS, style, title_of
from regimen.display.intervals import common_curve, iqm, iqm_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE_RESAMPLES = 2000
NOTE = "IQM of the runs of a group, with its bootstrap 95 % interval; faint: each run"
MARKS = "os^Dv"
LINES = ("-", "--", ":", "-.")


def draw(
    out: Path,
    metric: str,
    curves: Mapping[str, Sequence[np.ndarray]],
    figures: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Draw the comparison.

    Args:
        out: PNG to write.
        metric: metric of the curves.
        curves: group -> (k, 2) step and value of each run; if empty, only headline metrics are drawn.
        figures: group -> headline metric -> (n,) values.
    """
    names = list(dict.fromkeys(name for group in figures.values() for name in group))
    groups = list(figures)
    sheet, panels = _sheet(bool(curves), names)
    for number, label in enumerate(groups):
        if curves.get(label):
            _curve(panels["curve"], curves[label], label, number)
        for name in names:
            if name in figures[label]:
                _values(panels[name], figures[label][name], label, number)
    for name, ax in panels.items():
        style(ax)
        ax.set_title(title_of((metric if name == "curve" else name).split("/", 1)[-1]), fontsize=10)
        if name != "curve":
            ax.set_xticks(range(len(groups)), [""] * len(groups))
            ax.margins(x=0.3, y=0.15)
    if curves:
        panels["curve"].set_xlabel("steps of each env", fontsize=8)
    handles, labels = next(iter(panels.values())).get_legend_handles_labels()
    looks: dict[str, Any] = {"fontsize": 8, "title_fontsize": 8, "frameon": False, "ncols": min(3, len(labels))}
    sheet.legend(handles, labels, loc="outside lower center", title=NOTE, **looks)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.savefig(out, dpi=120)


def _sheet(with_curve: bool, names: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a large panel for the curves and a panel for each headline metric."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(1, -(-len(names) // 2))
    grid = [[*names, *["."] * (2 * columns - len(names))][row * columns : (row + 1) * columns] for row in (0, 1)]
    grid = [row for row in grid if set(row) != {"."}] if not with_curve else grid
    mosaic: list[Any] = [["curve"] * (2 * with_curve) + row for row in grid] if names else [["curve"]]
    figure = Figure(figsize=(2.6 * len(mosaic[0]) + 0.8, 2.5 * len(mosaic) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplot_mosaic(mosaic)


def _curve(ax: Axes, curves: Sequence[np.ndarray], label: str, number: int) -> None:
    color = COLORS[number % len(COLORS)]
    steps, values = common_curve(curves)
    for curve in curves:
        ax.plot(*curve.T, color=color, linewidth=0.6, alpha=0.25)
    line = LINES[number // len(COLORS) % len(LINES)]
    ax.plot(steps, iqm(values), color=color, linewidth=1.8, linestyle=line, label=f"{label} (n = {len(curves)})")
    ends = iqm_interval(values, CURVE_RESAMPLES)
    if ends is not None:
        ax.fill_between(steps, *ends, color=color, alpha=0.18, linewidth=0)


def _values(ax: Axes, values: np.ndarray, label: str, number: int) -> None:
    color = COLORS[number % len(COLORS)]
    middle = float(iqm(values))
    ends = iqm_interval(values)
    error = [[max(middle - float(ends[0]), 0.0)], [max(float(ends[1]) - middle, 0.0)]] if ends is not None else None
    ax.scatter(np.full(len(values), number - 0.18), values, s=12, color=color, alpha=0.35, linewidth=0)
    mark = MARKS[number // len(COLORS) % len(MARKS)]
    name = f"{label} (n = {len(values)})"
    ax.errorbar([number], [middle], yerr=error, fmt=mark, markersize=5, color=color, capsize=4, label=name)
