"""Learning curves and evaluation figures, drawn without a display."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.display.intervals import Figure as Interval
from regimen.system.json_lines import number_of, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from regimen.system.json_data import Json

COLORS = ("#3b6fb6", "#d1762f", "#3f8f5b", "#b04a5a", "#7a5ea8", "#8a6d3b", "#4a9aa5", "#777777")
MAX_PANELS = 15
PANEL_HEIGHT = 2.0
"""Height of the axes in a learning curve, inches."""

DPI = 120
ORDER = ("Train", "Metrics", "Episode_Reward", "Episode_Termination", "Loss", "Policy", "Learning", "Perf")
"""Prefixes of metrics, most important first."""
UNITS = {
    "forward_speed": "m/s",
    "speed_error": "m/s",
    "lin_vel_error": "m/s",
    "turning_rate": "rad/s",
    "ang_vel_error": "rad/s",
    "distance": "m",
    "power": "W",
    "dtw_body_cm": "cm",
    "dtw_joint": "rad",
    "joint_error": "rad",
    "body_error": "m",
    "root_error": "m",
    "episode_length": "steps",
    "episode_length_s": "s",
    "samples_per_s": "1/s",
    "success": "share of episodes",
    "success_time_s": "s",
    "survival": "share of episodes",
}
MOST_ROWS = 4000
"""Rows of a metrics file that are drawn; of more, as many are drawn from neighbouring ones."""

SMOOTH_FROM = 100
"""Rows from which a curve is drawn faint under its running mean."""


@dataclass
class Panel:
    """One pair of axes of the learning curve.

    Attributes:
        title: title above the axes.
        names: metrics that share it, at most one a colour.
        left_out: number of metrics of this panel that are not drawn.
        shared: whether the title names a group of metrics, so that each curve needs its own name.
    """

    title: str
    names: list[str] = field(default_factory=list)
    left_out: int = 0
    shared: bool = False

    @property
    def legend_columns(self) -> int:
        """Columns of its legend: one where the names are long."""
        return 1 if any(len(name.split("/", 1)[-1]) > 28 for name in self.names) else 2

    @property
    def legend_rows(self) -> int:
        """Rows of its legend."""
        return -(-(len(self.names) + (self.left_out > 0)) // self.legend_columns)


def learning_curve(metrics_jsonl: Path, out: Path) -> None:
    """Draw the metrics of a run over its steps: returns first, then reward terms, then losses.

    Args:
        metrics_jsonl: the run's metrics, one JSON object a line with `step`.
        out: PNG to write; a run with fewer than two rows has no curve, and nothing is written.
    """
    rows, block = thinned(metrics_jsonl, MOST_ROWS)
    if len(rows) < 2:
        return
    panels = _panels(rows)
    shown = panels[:MAX_PANELS]
    figure, axes = sheet(max(len(shown), 1), columns=3)
    figure.set_layout_engine("none")  # it takes longer than all else; `_place` is enough for panels of one kind
    window = len(rows) // 40 if len(rows) >= SMOOTH_FROM else 1
    for ax, panel in zip(axes, shown, strict=False):
        for name, color in zip(panel.names, COLORS, strict=False):
            _curve(ax, points_of(rows, name), color, name.split("/", 1)[-1], window)
        _label(ax, panel.title, "")
        if panel.shared:
            _legend_below(ax, panel)
    notes = _footnote(window, block, [panel.title for panel in panels[MAX_PANELS:]]).splitlines()
    footnote = "\n".join(textwrap.fill(line, 50 * min(3, len(axes))) for line in notes)
    _place(figure, axes, shown, lines=len(footnote.splitlines()))
    figure.supxlabel(footnote, fontsize=9, y=0.1 / figure.get_figheight(), va="bottom")
    save(figure, out)


def _place(figure: Figure, axes: Sequence[Axes], panels: Sequence[Panel], lines: int) -> None:
    """Set the height of the learning curve and the place of its axes, rows of panels with room for their legends.

    Args:
        figure: the learning curve.
        axes: one for each panel, perhaps more.
        panels: what the axes show.
        lines: lines of the footnote.
    """
    columns = min(3, len(axes))
    starts = range(0, len(axes), columns)
    below = [max([0.3, *(0.4 + 0.165 * p.legend_rows for p in panels[i : i + columns] if p.shared)]) for i in starts]
    bottom = 0.2 + 0.17 * lines
    width, height = figure.get_figwidth(), bottom + sum(below) + len(below) * (PANEL_HEIGHT + 0.35)
    figure.set_figheight(height)
    top = height
    for start, room in zip(starts, below, strict=True):
        top -= 0.35 + PANEL_HEIGHT
        for column, ax in enumerate(axes[start : start + columns]):
            left = width / columns * column + 0.62
            ax.xaxis.set_label_coords(
                0.5, -0.2
            )  # without it the place of each label is computed, of empty ones as well
            ax.yaxis.set_label_coords(-0.2, 0.5)
            ax.set_position((left / width, top / height, (width / columns - 0.72) / width, PANEL_HEIGHT / height))
        top -= room


def _curve(ax: Axes, points: np.ndarray, color: str, label: str, window: int) -> None:
    """Draw `points` (n, 2), and over them their mean over `window` neighbours if that is more than one."""
    x, y = points.T
    if window < 2 or len(x) < 2 * window:
        ax.plot(x, y, color=color, linewidth=1.4, marker="." if len(x) < 3 else None, label=label)
        return
    ax.plot(x, y, color=color, linewidth=0.8, alpha=0.3)
    kernel = np.ones(window)
    mean = np.convolve(y, kernel, "same") / np.convolve(np.ones_like(y), kernel, "same")
    ax.plot(x, mean, color=color, linewidth=1.6, label=label)


def points_of(rows: Sequence[Json], name: str) -> np.ndarray:
    """Return step and value of a metric, (n, 2), of the rows that have it."""
    pairs = [(number_of(row, "step"), number_of(row, name)) for row in rows]
    return np.array([pair for pair in pairs if None not in pair], dtype=float).reshape(-1, 2)


def _footnote(window: int, block: int, left_out: Sequence[str]) -> str:
    lines = ["horizontal: steps of each env"]
    faint = "each log line" if block == 1 else f"one log line in {block}"
    if window > 1:
        lines[0] += f"; faint: {faint}, bold: mean of {window} around it"
    if left_out:
        lines.append(f"not drawn, see metrics.jsonl: {', '.join(left_out)}")
    return "\n".join(lines)


def _panels(rows: Sequence[dict[str, Any]]) -> list[Panel]:
    """Return the panels in order, for all metrics with at least one number."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name in row.keys() - {"step", "time_s"}:
            if (value := number_of(row, name)) is not None:
                values.setdefault(name, []).append(value)
    means = {name: float(np.mean(numbers)) for name, numbers in values.items()}
    groups: dict[str, list[str]] = {}
    for name in sorted(means, key=lambda name: _rank(name, means[name])):
        groups.setdefault(_shared_panel(name, means[name]) or name, []).append(name)
    return [_panel(key, names, means) for key, names in groups.items()]


def _shared_panel(name: str, mean: float) -> str | None:
    """Return the shared panel of a metric: of rewards, penalties or terminations; other metrics have their own."""
    prefix = name.split("/")[0]
    if prefix == "Episode_Reward":
        return "rewards (per s of full length)" if mean > 0 else "penalties (per s of full length)"
    return "ends of episodes (share)" if prefix == "Episode_Termination" else None


def _panel(key: str, names: Sequence[str], means: Mapping[str, float]) -> Panel:
    """Return a panel with as many metrics as colours: those of the largest mean magnitude, in the order of `names`."""
    largest = sorted(names, key=lambda name: -abs(means[name]))[: len(COLORS)]
    title = title_of(key.split("/", 1)[-1])
    kept = [name for name in names if name in largest]
    return Panel(title, kept, len(names) - len(kept), shared=key not in means)


def _rank(name: str, mean: float) -> tuple[int, bool, bool, str]:
    """Return the sort key of a metric: its prefix in `ORDER`, unknown ones last; rewards before penalties."""
    prefix = name.split("/")[0]
    place = ORDER.index(prefix) if prefix in ORDER else len(ORDER)
    return place, prefix == "Episode_Reward" and mean <= 0, name != "Train/return", name


def evaluation(
    out: Path,
    labels: Sequence[str],
    bars: Mapping[str, Sequence[Interval]],
    times: np.ndarray,
    survival: Sequence[np.ndarray],
    wanted: Mapping[str, Sequence[float]] | None = None,
    command: str = "command",
) -> None:
    """Draw one panel per metric with its intervals per command, and the survival curves.

    Args:
        out: PNG to write.
        labels: one name per command.
        bars: name -> one figure per command.
        times: (T,) s.
        survival: per command, (T,) share without a fall.
        wanted: name of a figure -> the value each command asks for, drawn beside it.
        command: quantity that the labels are values of.
    """
    figure, axes = sheet(len(bars) + 1, columns=3)
    for ax, (name, values) in zip(axes, bars.items(), strict=False):
        _intervals(ax, labels, values)
        if wanted is not None and name in wanted:
            ax.scatter(range(len(labels)), wanted[name], marker="_", s=300, color=COLORS[1], label="asked for")
            ax.legend(fontsize=8, frameon=False)
        limits(ax, name, max(v.high for v in values))
        _label(ax, title_of(name), command)
    _survival(axes[len(bars)], labels, times, survival)
    figure.supxlabel("dot: measured, with its 95 % interval (bootstrap; shares: Wilson)", fontsize=9)
    save(figure, out)


def judged_curves(curves: Mapping[str, Mapping[str, Sequence[tuple[int, Interval]]]], out: Path) -> None:
    """Draw figures of the checkpoints of a training with their intervals, one panel for each.

    Args:
        curves: metric -> simulator -> (step, figure); nothing is written without any.
        out: PNG to write.
    """
    if not curves:
        return
    shown = dict(list(curves.items())[:MAX_PANELS])
    sims = list(dict.fromkeys(sim for by_sim in shown.values() for sim in by_sim))
    figure, axes = sheet(len(shown), columns=3)
    for ax, (metric, by_sim) in zip(axes, shown.items(), strict=False):
        for sim, points in by_sim.items():
            color = COLORS[sims.index(sim) % len(COLORS)]
            steps, values = [step for step, _ in points], [value for _, value in points]
            ax.plot(steps, [v.value for v in values], color=color, linewidth=1.6, marker=".", label=sim)
            ax.fill_between(steps, [v.low for v in values], [v.high for v in values], color=color, alpha=0.2, lw=0)
        limits(ax, metric, max(v.high for points in by_sim.values() for _, v in points))
        _label(ax, title_of(metric), "")
        if len(sims) > 1:
            ax.legend(fontsize=8, frameon=False)
    figure.supxlabel("horizontal: steps of each env; band: 95 % interval over episodes", fontsize=9)
    save(figure, out)


def limits(ax: Axes, name: str, high: float) -> None:
    """Set the lower limit of shares and errors to zero, so that a small difference looks small."""
    if name in ("survival", "success"):
        ax.set_ylim(-0.03, 1.05)
    elif (name.endswith("error") or name == "distance") and high > 0:
        ax.set_ylim(0.0, 1.15 * high)


def _survival(ax: Axes, labels: Sequence[str], times: np.ndarray, survival: Sequence[np.ndarray]) -> None:
    """Draw the curves, each thinner than the last, so that equal ones stay visible."""
    widths = np.linspace(4.5, 1.2, len(labels))
    for label, curve, color, width in zip(labels, survival, COLORS * len(labels), widths, strict=False):
        ax.plot(times, curve, color=color, linewidth=width, label=label)
    ax.set_ylim(-0.03, 1.05)
    _label(ax, "share without a fall so far", "time in the episode (s)")
    ax.legend(fontsize=8, frameon=False, loc="lower left", title="command", title_fontsize=8)


def error_bars(ax: Axes, x: Sequence[float] | np.ndarray, values: Sequence[Interval], **style: Any) -> None:
    """Draw figures at `x` (n,) with their intervals; `style` is that of `Axes.errorbar`."""
    middle = np.array([v.value for v in values])
    ends = np.array([[v.value - v.low for v in values], [v.high - v.value for v in values]]).reshape(2, -1)
    ax.errorbar(x, middle, yerr=ends.clip(min=0), **{"fmt": "o", "markersize": 4, "capsize": 2, **style})


def _intervals(ax: Axes, labels: Sequence[str], values: Sequence[Interval]) -> None:
    error_bars(ax, range(len(values)), values, markersize=5, color=COLORS[0], capsize=5)
    crowded = sum(map(len, labels)) > 40
    ax.set_xticks(range(len(labels)), labels, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    ax.margins(x=0.15, y=0.15)


def style(ax: Axes) -> None:
    """Apply the common style to axes."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.set_axisbelow(True)


def title_of(name: str) -> str:
    """Return a metric's name in words, with its unit where it is known."""
    unit = UNITS.get(name)
    words = name.removesuffix(f"_{unit}").replace("_", " ")
    return words + (f" ({unit})" if unit else "")


def _label(ax: Axes, title: str, xlabel: str) -> None:
    ax.set_title(title, fontsize=10, y=1.0)  # a place that is not searched for
    ax.set_xlabel(xlabel, fontsize=8)


def _legend_below(ax: Axes, panel: Panel) -> None:
    """Draw the legend below the panel, where it covers no curve."""
    if panel.left_out:
        ax.plot([], [], color="none", label=f"and {panel.left_out} smaller, not drawn")
    place: dict[str, Any] = {"bbox_to_anchor": (0.5, -0.1), "ncols": panel.legend_columns, "handlelength": 1.2}
    ax.legend(loc="upper center", fontsize=8, frameon=False, **place)


def sheet(panels: int, columns: int, size: tuple[float, float] = (4.2, 2.8)) -> tuple[Figure, list[Axes]]:
    """Return a figure with `panels` axes, each of about `size` inches, in rows of at most `columns`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(columns, panels)
    rows = -(-panels // columns)
    layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.3), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes:
        style(ax)
    for ax in axes[panels:]:
        ax.set_visible(False)
    return figure, axes


def save(figure: Figure, out: Path) -> None:
    """Write a figure of `sheet` as PNG `out`.

    `Figure.savefig` draws it twice, to lay it out and to write it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    canvas: Any = figure.canvas
    canvas.print_png(out)
