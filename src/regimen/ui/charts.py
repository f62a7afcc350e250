"""Options of the charts, all of ECharts: curves, graphs, parallel coordinates. Colours suit light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regimen.display.graph_figure import Arrow, place
from regimen.ui.markup import TONES, text

PALETTE = ("#3b7dd8", "#d9722e", "#2f9e6b", "#b0549c", "#8f7a1e", "#4aa3b5", "#c94f58", "#7a6fd0")
"""Colours of lines, in order."""

INK, FAINT = "#808a97", "#80808033"
"""Colour of axes and labels, and of grid lines: readable on light and dark."""

TONE_COLORS = {
    "good": "#2f9e6b",
    "busy": "#3b7dd8",
    "wait": "#8a919b",
    "warn": "#c98a1b",
    "bad": "#d2443b",
    "quiet": "#8a919b",
}
"""Tone of a status -> colour of a node."""

NUMBER = "value => value == null ? '–' : String(Number(Number(value).toPrecision(5)))"
"""JavaScript: a value of a tooltip with five digits."""


EDGE_LABEL = "edge => edge.data.label"
"""JavaScript: the label of an edge."""

NAME_AT_END = {"color": INK, "fontSize": 10, "align": "right", "verticalAlign": "top", "padding": [18, 0, 0, 0]}
"""Style of the name below the right end of an axis."""


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        label: its name.
        points: (k, 2) of the curve as it is shown.
        raw: (k, 2) of the curve without smoothing, drawn faintly behind; None without smoothing.
        band: (k, 3) places, lower and upper ends of an interval; None without one.
        color: number of its colour.
        faint: whether it is one of many behind another.
        marked: whether each point has a symbol, for a few points far apart.
    """

    label: str
    points: np.ndarray
    raw: np.ndarray | None = None
    band: np.ndarray | None = None
    color: int = 0
    faint: bool = False
    marked: bool = False


def curves(title: str, lines: Sequence[Line], x_name: str, log: bool, legend: bool) -> dict[str, Any]:
    """Return the chart of one metric.

    Args:
        title: name of the metric.
        lines: its curves.
        x_name: name of the axis of steps, samples or time.
        log: whether the axis of values is logarithmic; values that are not positive are left out.
        legend: whether the curves are named.
    """
    return {
        "animation": False,
        "title": {
            "text": text(title),
            "left": 2,
            "top": 0,
            "textStyle": {"fontSize": 12, "fontWeight": 500, "color": INK, "width": 300, "overflow": "truncate"},
        },
        "grid": {"left": 8, "right": 14, "top": 46 if legend else 30, "bottom": 36, "containLabel": True},
        "legend": {
            "show": legend,
            "type": "scroll",
            "top": 18,
            "left": 0,
            "itemWidth": 14,
            "itemHeight": 3,
            "icon": "rect",
            "textStyle": {"color": INK, "fontSize": 11},
            "data": [text(line.label) for line in lines if not line.faint],
        },
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "axisPointer": {"type": "line", "lineStyle": {"color": INK}},
            ":valueFormatter": NUMBER,
            "textStyle": {"fontSize": 12},
        },
        "xAxis": {
            "type": "value",
            "name": x_name,
            "nameLocation": "end",
            "nameGap": 2,
            "nameTextStyle": NAME_AT_END,
            "min": "dataMin",
            "max": "dataMax",
            "axisLine": {"lineStyle": {"color": FAINT}, "onZero": False},
            "axisTick": {"show": False},
            "splitLine": {"show": False},
            "axisLabel": {"color": INK, "fontSize": 10, "hideOverlap": True, ":formatter": SHORT},
        },
        "yAxis": _axis_of_values("log" if log else "value"),
        "dataZoom": [
            {"type": "inside", "filterMode": "none", "throttle": 60, "zoomOnMouseWheel": "ctrl"},
            {
                "type": "slider",
                "filterMode": "none",
                "throttle": 60,
                "height": 10,
                "bottom": 4,
                "showDetail": False,
                "showDataShadow": False,
                "brushSelect": False,
                "borderColor": "transparent",
                "backgroundColor": FAINT,
                "fillerColor": "#3b7dd81c",
                "handleSize": 14,
                "moveHandleSize": 0,
            },
        ],
        "series": [series for line in lines for series in _series(line, log)],
    }


SHORT = """value => { const size = Math.abs(value);
  for (const [limit, unit] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']])
    if (size >= limit) return Number((value / limit).toPrecision(3)) + unit;
  return String(Number(value.toPrecision(3))); }"""
"""JavaScript: a number of an axis in few characters."""


def _axis_of_values(kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "scale": True,
        "splitNumber": 4,
        "axisLine": {"show": False},
        "axisTick": {"show": False},
        "axisLabel": {"color": INK, "fontSize": 10, ":formatter": SHORT},
        "splitLine": {"lineStyle": {"color": FAINT}},
    }


def _series(line: Line, log: bool) -> list[dict[str, Any]]:
    color = PALETTE[line.color % len(PALETTE)]
    base = {
        "type": "line",
        "name": text(line.label),
        "showSymbol": False,
        "itemStyle": {"color": color},
        "emphasis": {"disabled": True},
    }
    quiet = {"silent": True, "tooltip": {"show": False}}
    found = []
    if line.band is not None and len(line.band):
        low = {"data": _points(line.band[:, :2], log), "lineStyle": {"opacity": 0}, "stack": f"band {line.label}"}
        height = np.column_stack([line.band[:, 0], line.band[:, 2] - line.band[:, 1]])
        area = {"data": _points(height, False), "lineStyle": {"opacity": 0}, "stack": f"band {line.label}"}
        area |= {"areaStyle": {"color": color, "opacity": 0.16}}
        found += [base | quiet | {"stackStrategy": "all"} | part for part in (low, area)]
    if line.raw is not None:
        look = {"lineStyle": {"width": 1, "opacity": 0.28, "color": color}, "z": 1}
        found.append(base | quiet | look | {"data": _points(line.raw, log)})
    width, opacity = (1, 0.3) if line.faint else (1.8, 1)
    look = {"lineStyle": {"width": width, "opacity": opacity, "color": color}, "z": 1 if line.faint else 3}
    if line.marked:
        look |= {"showSymbol": True, "symbol": "circle", "symbolSize": 6}
    found.append(base | (quiet if line.faint else {}) | look | {"data": _points(line.points, log)})
    return found


def _points(points: np.ndarray, log: bool) -> list[list[float]]:
    kept = points[points[:, 1] > 0] if log and len(points) else points
    return [[float(f"{x:.10g}"), float(f"{y:.6g}")] for x, y in kept.tolist()]


@dataclass(frozen=True)
class IntervalMark:
    """One group in a chart of intervals.

    Attributes:
        label: of the group.
        values: of its runs.
        middle: their mean.
        interval: of the mean, None for too few runs.
    """

    label: str
    values: list[float]
    middle: float
    interval: tuple[float, float] | None


def intervals(title: str, marks: Sequence[IntervalMark]) -> dict[str, Any]:
    """Return the groups of one metric: each run as a faint point, the mean with its interval.

    Args:
        title: name of the metric.
        marks: groups, in the order of their colours.
    """
    series: list[dict[str, Any]] = []
    for number, mark in enumerate(marks):
        color = PALETTE[number % len(PALETTE)]
        runs = [[number - 0.14, value] for value in mark.values]
        look = {"type": "scatter", "name": text(mark.label), "itemStyle": {"color": color}}
        series.append(look | {"data": runs, "symbolSize": 6, "itemStyle": {"color": color, "opacity": 0.35}})
        if mark.interval:
            bar = {"type": "line", "showSymbol": False, "lineStyle": {"color": color, "width": 2}, "silent": True}
            series.append(bar | {"data": [[number, end] for end in mark.interval], "tooltip": {"show": False}})
        series.append(look | {"data": [[number, mark.middle]], "symbolSize": 9})
    return {
        "animation": False,
        "title": {"text": text(title), "textStyle": {"fontSize": 12, "fontWeight": 500, "color": INK}, "left": 2},
        "grid": {"left": 8, "right": 14, "top": 38, "bottom": 10, "containLabel": True},
        "tooltip": {"confine": True, ":valueFormatter": NUMBER, "textStyle": {"fontSize": 12}},
        "xAxis": {
            "type": "value",
            "min": -0.6,
            "max": len(marks) - 0.4,
            "axisLabel": {"show": False},
            "axisTick": {"show": False},
            "splitLine": {"show": False},
            "axisLine": {"lineStyle": {"color": FAINT}, "onZero": False},
        },
        "yAxis": _axis_of_values("value"),
        "series": series,
    }


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    Attributes:
        id: its name in arrows; the address that a click opens is in `address`.
        title: first line.
        detail: second line.
        status: status, for its colour.
        address: page that a click opens, empty for none.
        chosen: whether it is emphasised.
    """

    id: str
    title: str
    detail: str = ""
    status: str = ""
    address: str = ""
    chosen: bool = False


@dataclass(frozen=True)
class Edge:
    """An arrow of a graph; `broken` ones are red."""

    parent: str
    child: str
    label: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Graph:
    """A drawn graph.

    Attributes:
        options: of the chart.
        height: in pixels.
        width: least width in pixels in which no label covers another.
    """

    options: dict[str, Any]
    height: int
    width: int


def graph(nodes: Sequence[Node], edges: Sequence[Edge]) -> Graph:
    """Return a graph whose nodes stand to the right of all their sources.

    Args:
        nodes: at least one.
        edges: between them.
    """
    places = place([node.id for node in nodes], [Arrow(edge.parent, edge.child) for edge in edges])
    columns = 1 + max(x for x, _ in places.values())
    rows = 1 + max(y for _, y in places.values())
    hidden = {"type": "value", "show": False}
    options = {
        "animation": False,
        "tooltip": {"confine": True, "textStyle": {"fontSize": 12}},
        "grid": {"left": 0, "right": 0, "top": 0, "bottom": 0},
        "xAxis": {**hidden, "min": -0.5, "max": columns - 0.5},
        "yAxis": {**hidden, "min": -0.45, "max": rows - 0.25, "inverse": True},
        "series": [
            {
                "type": "graph",
                "coordinateSystem": "cartesian2d",
                "symbol": "roundRect",
                "symbolSize": [16, 14],
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 7,
                "label": {
                    "show": True,
                    "position": "bottom",
                    "color": INK,
                    "fontSize": 11,
                    "lineHeight": 15,
                    "width": COLUMN - 20,
                    "overflow": "truncate",
                },
                "edgeLabel": {"show": len(edges) <= 12, "fontSize": 10, "color": INK, ":formatter": EDGE_LABEL},
                "lineStyle": {"color": INK, "width": 1.2, "opacity": 0.8, "curveness": 0.06},
                "data": [_node(node, places[node.id]) for node in nodes],
                "links": [_edge(edge) for edge in edges],
            }
        ],
    }
    return Graph(options, 40 + round(ROW * rows), round(COLUMN * columns))


COLUMN, ROW = 190, 76
"""Pixels from one node of a graph to the next."""


def _node(node: Node, at: tuple[float, float]) -> dict[str, Any]:
    color = TONE_COLORS[TONES.get(node.status, "bad" if node.status.startswith("blocked") else "quiet")]
    words = "\n".join(filter(None, [text(node.title), text(node.detail)]))
    look: dict[str, Any] = {"color": color, "borderColor": color, "borderWidth": 1}
    if node.chosen:
        look |= {"borderColor": "#3b7dd8", "borderWidth": 4}
    return {
        "id": node.id,
        "name": node.id,
        "value": list(at),
        "address": node.address,
        "itemStyle": look,
        "label": {"formatter": words.replace("{", "(").replace("}", ")"), "fontWeight": 600 if node.chosen else 400},
    }


def _edge(edge: Edge) -> dict[str, Any]:
    style = {"color": TONE_COLORS["bad"], "width": 2} if edge.broken else {}
    return {"source": edge.parent, "target": edge.child, "label": text(edge.label), "lineStyle": style}


@dataclass(frozen=True)
class Axis:
    """An axis of parallel coordinates: numbers, or the words in `words`."""

    name: str
    words: list[str] = field(default_factory=list)


def parallel(axes: Sequence[Axis], rows: Sequence[Mapping[str, Any]], color_by: str) -> dict[str, Any]:
    """Return parallel coordinates.

    Args:
        axes: in order.
        rows: axis -> number or text of each line, and `id`.
        color_by: axis of numbers that colours the lines.
    """
    values = [row[color_by] for row in rows if row.get(color_by) is not None]
    names = [axis.name for axis in axes]
    return {
        "animation": False,
        "tooltip": {"confine": True, "textStyle": {"fontSize": 12}},
        "parallel": {"left": 50, "right": 70, "top": 44, "bottom": 24},
        "parallelAxis": [
            {
                "dim": number,
                "name": _shortened(axis.name),
                "nameTextStyle": {"color": INK, "fontSize": 11},
                "axisLabel": {"color": INK, "fontSize": 10},
                "axisLine": {"lineStyle": {"color": INK}},
                "scale": True,
                **({"type": "category", "data": [text(word) for word in axis.words]} if axis.words else {}),
            }
            for number, axis in enumerate(axes)
        ],
        "visualMap": {
            "show": False,
            "min": min(values, default=0),
            "max": max(values, default=1),
            "dimension": names.index(color_by),
            "inRange": {"color": ["#5b6fb8", "#3b9fa8", "#5dbb63", "#d9b52e"]},
        },
        "series": [
            {
                "type": "parallel",
                "lineStyle": {"width": 1.6, "opacity": 0.75},
                "data": [
                    {"name": text(row["id"]), "value": [row.get(name) for name in names], "address": row["address"]}
                    for row in rows
                ],
            }
        ],
    }


def scatter(x: Axis, y_name: str, points: Sequence[tuple[Any, float, str, str]]) -> dict[str, Any]:
    """Return one metric over one setting.

    Args:
        x: the setting.
        y_name: the metric.
        points: value of the setting, of the metric, label and address of each run.
    """
    x_axis: dict[str, Any] = {"type": "category", "data": [text(word) for word in x.words]}
    if not x.words:
        numbers = [float(point[0]) for point in points]
        is_log = min(numbers) > 0 and max(numbers) / min(numbers) >= 50
        x_axis = {"type": "log" if is_log else "value", "scale": True}
    quiet = {"axisLabel": {"color": INK, "fontSize": 10}, "splitLine": {"lineStyle": {"color": FAINT}}}
    named = {"nameTextStyle": {"color": INK, "fontSize": 11}}
    return {
        "animation": False,
        "tooltip": {"confine": True, "textStyle": {"fontSize": 12}},
        "grid": {"left": 10, "right": 20, "top": 34, "bottom": 30, "containLabel": True},
        "xAxis": {**x_axis, **quiet, **named, "name": _shortened(x.name), "nameLocation": "middle", "nameGap": 24},
        "yAxis": {"type": "value", "scale": True, **quiet, **named, "name": text(y_name)},
        "series": [
            {
                "type": "scatter",
                "symbolSize": 9,
                "itemStyle": {"color": PALETTE[0], "opacity": 0.8},
                "data": [{"name": text(name), "value": [a, b], "address": go} for a, b, name, go in points],
            }
        ],
    }


def _shortened(name: str) -> str:
    shown = text(name)
    return shown if len(shown) <= 26 else f"…{shown[-25:]}"
