"""Pictures of numbers: learning curves and evaluations, drawn without a display."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.statistics import Figure as Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#3b6fb6", "#d1762f", "#3f8f5b", "#b04a5a", "#7a5ea8", "#8a6d3b", "#4a9aa5", "#777777")
MAX_PANELS = 12
ORDER = ("Train", "Metrics", "Episode_Reward", "Episode_Termination", "Perf")
"""Prefixes of metrics, most telling first."""
TOGETHER = ("Episode_Reward", "Episode_Termination")
"""Prefixes whose metrics share a unit, and so a panel."""


def learning_curve(metrics_jsonl: Path, out: Path) -> None:
    """Draw the metrics of a run over its steps: what was learnt first, then why, then the optimiser's figures.

    Args:
        metrics_jsonl: the run's metrics, one JSON object a line with `step`.
        out: PNG to write.
    """
    rows = read_rows(metrics_jsonl)
    panels = list(_panels(rows).items())[:MAX_PANELS]
    figure, axes = _sheet(max(len(panels), 1), columns=3)
    for ax, (title, names) in zip(axes, panels, strict=False):
        for name, color in zip(names, COLORS, strict=False):
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            x, y = np.array(points, dtype=float).T
            ax.plot(x, y, color=color, linewidth=1.2, marker="." if len(x) < 3 else None, label=name.split("/", 1)[-1])
        ax.set(title=title, xlabel="steps of each env")
        if len(names) > 1:
            ax.legend(fontsize=5, frameon=False)
    _save(figure, out)


def read_rows(metrics_jsonl: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics file; a last line cut short by a crash is left out."""
    rows = []
    for line in metrics_jsonl.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _panels(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Panel title -> names of metrics that have a number somewhere, in the order they are drawn."""
    numbers = {name for row in rows for name, value in row.items() if isinstance(value, int | float)}
    names = sorted(numbers - {"step", "time_s"}, key=lambda name: (_rank(name), name))
    panels: dict[str, list[str]] = {}
    for name in names:
        prefix = name.split("/")[0]
        lines = panels.setdefault(prefix if prefix in TOGETHER else name, [])
        if len(lines) < len(COLORS):
            lines.append(name)
    return panels


def _rank(name: str) -> int:
    """Place of a metric's prefix in `ORDER`; unknown ones come last."""
    prefix = name.split("/")[0]
    return ORDER.index(prefix) if prefix in ORDER else len(ORDER)


def evaluation(
    out: Path,
    labels: Sequence[str],
    bars: Mapping[str, Sequence[Interval]],
    times: np.ndarray,
    survival: Sequence[np.ndarray],
    wanted: Sequence[float] | None = None,
) -> None:
    """Draw one panel a figure with its intervals per command, and the survival curves.

    Args:
        out: PNG to write.
        labels: one name per command.
        bars: title -> one figure per command.
        times: (T,) s.
        survival: per command, (T,) share without a fall.
        wanted: the commanded forward speeds in m/s, drawn beside `forward_speed`.
    """
    figure, axes = _sheet(len(bars) + 1, columns=2)
    for ax, (title, values) in zip(axes, bars.items(), strict=False):
        _intervals(ax, labels, values)
        if wanted is not None and title.startswith("forward_speed"):
            ax.scatter(range(len(wanted)), wanted, marker="_", s=400, color=COLORS[1], label="command")
            ax.legend(fontsize=7, frameon=False)
        if title == "survival":
            ax.set_ylim(-0.03, 1.03)
        ax.set(title=title, xlabel="command")
    ax = axes[len(bars)]
    for label, curve, color in zip(labels, survival, COLORS * len(labels), strict=False):
        ax.plot(times, curve, color=color, label=label)
    ax.set(title="share without a fall", xlabel="s", ylim=(-0.03, 1.03))
    ax.legend(fontsize=7, frameon=False)
    _save(figure, out)


def _intervals(ax: Axes, labels: Sequence[str], values: Sequence[Interval]) -> None:
    middle = np.array([v.value for v in values])
    ends = np.array([[v.value - v.low for v in values], [v.high - v.value for v in values]])
    ax.errorbar(range(len(values)), middle, yerr=ends.clip(min=0), fmt="o", color=COLORS[0], capsize=4)
    ax.set_xticks(range(len(labels)), labels)
    ax.margins(x=0.2)


def _sheet(panels: int, columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with `panels` axes in rows of at most `columns`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.title.set_fontsize(9)
        ax.tick_params(labelsize=7)
    for ax in axes[panels:]:
        ax.set_visible(False)
    return figure, axes


def _save(figure: Figure, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
