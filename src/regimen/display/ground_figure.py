"""Picture of uneven ground: the whole of it from above, and a profile of each kind of tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regimen.display.figures import COLORS, save

MOST_POINTS = 1200
"""Points along a side of the map; of more, every second, third, … is drawn."""

MAP_INCHES, PROFILE_INCHES = 6.0, 1.2


@dataclass(frozen=True)
class Profile:
    """Heights along a line through the middle of a tile.

    Attributes:
        kind: of the tile.
        level: of difficulty.
        heights: (n,) m.
    """

    kind: str
    level: int
    heights: np.ndarray


def draw_ground(
    heights: np.ndarray,
    cell: float,
    start: tuple[float, float],
    columns: Sequence[tuple[str, float]],
    profiles: Sequence[Profile],
    out: Path,
) -> None:
    """Draw the ground.

    Args:
        heights: (X, Y) m.
        cell: distance between neighbouring points in m.
        start: x and y of the first point in m.
        columns: name of each kind and the y in m at which it stands.
        profiles: of each kind, some levels each.
        out: file to write; its suffix sets the format.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LightSource
    from matplotlib.figure import Figure

    every = -(-max(heights.shape) // MOST_POINTS)
    shown = heights[::every, ::every]
    kinds = list(dict.fromkeys(profile.kind for profile in profiles))
    rows = -(-len(kinds) // 3)
    figure = Figure(figsize=(11.0, MAP_INCHES + PROFILE_INCHES * rows), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=[MAP_INCHES, max(PROFILE_INCHES * rows, 0.1)])
    above, below = parts
    ax = above.subplots()
    light = LightSource(azdeg=315, altdeg=45)
    shaded = light.shade(
        shown, cmap=colormaps["YlGnBu_r"], blend_mode="soft", vert_exag=2.0, dx=cell * every, dy=cell * every
    )
    x, y = ((start[axis], start[axis] + (heights.shape[axis] - 1) * cell) for axis in (0, 1))
    ax.imshow(shaded, origin="lower", extent=(y[0], y[1], x[0], x[1]), interpolation="nearest")
    ax.set_xlabel("y in m: kinds")
    ax.set_ylabel("x in m: difficulty")
    for name, place in columns:
        ax.annotate(name, (place, x[1]), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=8)
    axes = below.subplots(rows, 3, squeeze=False, sharex=True).ravel()
    for panel, kind in zip(axes, kinds, strict=False):
        for color, profile in zip(COLORS, [p for p in profiles if p.kind == kind], strict=False):
            along = (np.arange(len(profile.heights)) - len(profile.heights) // 2) * cell
            panel.plot(along, profile.heights, color=color, linewidth=1.2, label=f"level {profile.level}")
        panel.set_title(kind, fontsize=9)
        panel.tick_params(labelsize=7)
    for panel in axes[len(kinds) :]:
        panel.set_axis_off()
    axes[0].legend(fontsize=7, frameon=False)
    below.supxlabel("m along x, from the middle of a tile", fontsize=8)
    save(figure, out)
