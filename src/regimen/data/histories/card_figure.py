"""The figure of learning histories: return, episode length and noise over the place in the history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.display.figures import COLORS, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(card: dict[str, Any], out: Path) -> Path:
    """Draw a card (`histories.card.make`) into the file `out` and return it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure, (returns, length, label) = sheet(3, 3)
    where = np.array([row["where"] for row in card["curve"]])
    _returns(returns, where, card)
    length.plot(where, [row["length"] for row in card["curve"]], color=COLORS[0])
    length.set_title("length of an episode (steps)", fontsize=10)
    label.plot(where, [_number(row["label"]) for row in card["curve"]], color=COLORS[0])
    label.set_title("checkpoint" if card["mode"] == "checkpoints" else "share of noise", fontsize=10)
    for ax in (returns, length, label):
        ax.set_xlabel("place in the history", fontsize=8)
        ax.set_xlim(0, 1)
    save(figure, out)
    return out


def _returns(ax: Axes, where: np.ndarray, card: dict[str, Any]) -> None:
    """Draw the mean return with the range of 80 % of the episodes, between random and expert."""
    mean, low, high = ([row[name] for row in card["curve"]] for name in ("mean", "low", "high"))
    ax.fill_between(where, low, high, color=COLORS[0], alpha=0.2, linewidth=0, label="10 % … 90 %")
    ax.plot(where, mean, color=COLORS[0], label="mean")
    for name, style in (("random_score", ":"), ("expert_score", "--")):
        ax.axhline(card[name], color=COLORS[1], linewidth=1, linestyle=style, label=name.partition("_")[0])
    ax.set_title(f"return, rank correlation {card['spearman']:.2f} ({card['mode']})", fontsize=10)
    ax.legend(fontsize=7, frameon=False)


def _number(value: float | None) -> float:
    return np.nan if value is None else value
