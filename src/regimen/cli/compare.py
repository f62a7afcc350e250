"""`regimen compare`: interquartile means with intervals, and learning curves, of groups of seeds."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.cli.lineage import require_figure_path
from regimen.display.figures import COLORS, style, title_of
from regimen.display.formatting import figure, table, visible_lines
from regimen.display.intervals import common_curve, iqm, iqm_interval
from regimen.runs.history.comparison import cautions, group_figures, headlines, select, split
from regimen.runs.history.groups import grouped
from regimen.runs.history.run_view import RunView
from regimen.runs.judgements import PREFIX
from regimen.system import json_lines
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC = "Train/return"

MOST_NAMED = 1000
"""Rows of a run in which names of metrics are looked for."""


def compare_verb(argv: list[str]) -> int:
    """Compare runs of one task: `regimen compare A B C … [name=… sweep=…] [--metric Train/return] [--out file.png]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen compare", description="Groups of seeds: IQM, intervals, curves.")
    parser.add_argument("runs", nargs="+", help="run references, and filters as of `regimen runs`, such as sweep=<id>")
    parser.add_argument("--metric", default=METRIC, help=f"metric of the learning curves (default {METRIC})")
    parser.add_argument(
        "--out", type=Path, help="figure to write, .png, .svg or .pdf (default outputs/compare-<task>-<hash>.png)"
    )
    parser.add_argument(
        "--paired", action="store_true", help="evaluations on the same episodes: difference from the first, with a test"
    )
    args = parser.parse_args(argv)
    if args.paired:
        return _compare_paired(args)
    require_figure_path(args.out)
    runs, left_out = select(args.runs)
    groups = grouped(runs)
    curves = {label: _curves(members, args.metric) for label, members in groups.items()}
    if args.metric != METRIC and not any(curves.values()):
        raise ConfigError(f"No run logged `{args.metric}`. {did_you_mean(args.metric, _metrics(runs))}")
    print("\n".join(map(visible_lines, report(runs, groups, left_out))))
    out = args.out or Path("outputs") / f"compare-{runs[0].choices.get('task')}-{_digest(runs)}.png"
    differing, _ = split(runs)
    figures = {
        label: {k: v for k, v in headlines(members).items() if k in differing} for label, members in groups.items()
    }
    if not differing and not any(curves.values()):
        print("\nno figure: the metrics are equal in all runs, and no run logged a curve")
        return 0
    draw(out, args.metric, {k: v for k, v in curves.items() if v}, figures)
    print(f"\n{out}")
    return 0


def _compare_paired(args: argparse.Namespace) -> int:
    """Compare evaluations episode by episode; nothing is drawn."""
    from regimen.cli import compare_paired

    if args.out is not None or args.metric != METRIC:
        raise ConfigError("--paired draws no figure. Leave out --out and --metric, or --paired.")
    print("\n".join(map(visible_lines, compare_paired.report(args.runs))))
    return 0


def report(runs: Sequence[RunView], groups: Mapping[str, list[RunView]], left_out: Sequence[RunView]) -> Iterator[str]:
    """Yield the table of headline metrics, and cautions.

    Args:
        runs: all compared runs.
        groups: label -> runs.
        left_out: matching runs that did not finish.
    """
    from regimen.display import intervals

    choices = runs[0].choices
    yield f"{choices.get('stage')} of {choices.get('task')}: {len(runs)} runs, {len(groups)} groups"
    yield ""
    rows = [("figure", "group", "n", "IQM", "95 % interval", "min … max")]
    differing, same = split(runs)
    for row in group_figures(groups, differing):
        between = f"{figure(row.interval[0])} … {figure(row.interval[1])}" if row.interval else "–"
        extent = f"{figure(float(row.values.min()))} … {figure(float(row.values.max()))}"
        rows.append((row.metric, row.group, str(len(row.values)), figure(row.middle), between, extent))
    yield from table(rows) if differing else []
    if same:
        yield f"\nthe same in all runs: {', '.join(f'{name} {figure(value)}' for name, value in same.items())}"
    yield from (f"\n{line}" for line in cautions(groups, left_out, intervals.FEW_RUNS))


def _curves(runs: Sequence[RunView], metric: str) -> list[np.ndarray]:
    """Return (k, 2) step and value for each run that logged the metric."""
    import numpy as np

    from regimen.display.figures import MOST_ROWS, points_of

    found = []
    for run in runs:
        if metric.startswith(PREFIX):
            points = np.array(_judged_points(run, metric.removeprefix(PREFIX)), dtype=float).reshape(-1, 2)
        else:
            points = points_of(json_lines.thinned(run.dir / "metrics.jsonl", MOST_ROWS, metric)[0], metric)
        found += [points] if len(points) else []
    return found


def _judged_points(run: RunView, name: str) -> list[tuple[int, float]]:
    """Return step and value of a figure of the evaluations alongside a training, in its own simulator."""
    rows = [row for row in run.judgements() if row.sim == run.choices.get("sim")]
    return [(row.step, row.figures[name].value) for row in rows if name in row.figures]


def _metrics(runs: Sequence[RunView]) -> set[str]:
    """Return the names of all metrics that the runs logged."""
    rows = (row for run in runs for row in json_lines.thinned(run.dir / "metrics.jsonl", MOST_NAMED)[0])
    judged = {f"{PREFIX}{name}" for run in runs for row in run.judgements() for name in row.figures}
    return judged | {name for row in rows for name in row} - {"step", "time_s"}


def _digest(runs: Sequence[RunView]) -> str:
    return hashlib.sha256("\n".join(run.id for run in runs).encode()).hexdigest()[:6]


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
