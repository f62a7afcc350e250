"""Pictures of a data card: balance of the classes by split, onset times, lengths of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.display.figures import COLORS, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(card: dict[str, Any], out: Path) -> list[Path]:
    """Draw the figures of a card (`card.make`) into `out`; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    files = [_lengths(card, out / "card_lengths.png")]
    if card["classes"]:
        files.append(_balance(card, out / "card_balance.png"))
    if card["onsets"]["count"]:
        files.append(_onset_times(card, out / "card_onsets.png"))
    return files


def _balance(card: dict[str, Any], out: Path) -> Path:
    """Draw episodes and unique frames of each class, split by split."""
    classes = ["healthy", *card["classes"]]
    figure, (episodes, frames) = _figure(2)
    whole = {"all": {"episodes": card["episodes_by_class"], "frames": card["frames_by_class"]}}
    parts = card["by_split"] or whole
    for ax, what in ((episodes, "episodes"), (frames, "frames")):
        below = np.zeros(len(classes))
        for color, (name, part) in zip(COLORS, parts.items(), strict=False):
            values = np.array([part[what][joint] for joint in classes], dtype=float)
            ax.bar(classes, values, bottom=below, color=color, label=name)
            below += values
        ax.set_title("episodes" if what == "episodes" else "frames, each counted once", fontsize=10)
        ax.tick_params(axis="x", rotation=60)
    episodes.legend(fontsize=8, frameon=False)
    return _save(figure, out)


def _onset_times(card: dict[str, Any], out: Path) -> Path:
    """Draw when faults began, and the range they were drawn from."""
    onsets, dt = card["onsets"], card["step_dt"]
    figure, (ax,) = _figure(1)
    _bars(ax, onsets["histogram"], dt)
    for step in onsets["range"]:
        ax.axvline(step * dt, color=COLORS[1], linewidth=1, linestyle="--")
    ax.set_title(f"onset of the fault: {onsets['count']} episodes recorded from their begin", fontsize=10)
    ax.set_xlabel("s after the begin", fontsize=8)
    return _save(figure, out)


def _lengths(card: dict[str, Any], out: Path) -> Path:
    figure, (ax,) = _figure(1)
    _bars(ax, card["episodes"]["histogram"], card["step_dt"])
    ax.set_title(f"length of {card['episodes']['count']} episodes", fontsize=10)
    ax.set_xlabel("s", fontsize=8)
    return _save(figure, out)


def _bars(ax: Axes, histogram: dict[str, list[float]], dt: float) -> None:
    edges = np.array(histogram["edges"]) * dt
    ax.bar(edges[:-1], histogram["counts"], np.diff(edges), align="edge", color=COLORS[0])


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * panels, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, squeeze=False).flat)
    for ax in axes:
        style(ax)
    return figure, axes


def _save(figure: Figure, out: Path) -> Path:
    figure.savefig(out, dpi=120)
    return out
