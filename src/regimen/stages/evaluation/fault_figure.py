"""Figure of a fault evaluation: survival by joint and severity, as a heat map and as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.display.figures import COLORS, save, sheet, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from regimen.stages.evaluation.metrics import FaultMetrics


def draw(out: Path, joints: Mapping[str, Sequence[FaultMetrics]]) -> None:
    """Draw the heat map, and one panel of curves for each kind of joint, left and right together.

    Args:
        out: PNG to write.
        joints: joint -> metrics by severity, the mildest first; the same number for each.
    """
    kinds: dict[str, list[str]] = {}
    for name in joints:
        kinds.setdefault(name.removeprefix("left_").removeprefix("right_"), []).append(name)
    figure, axes = sheet(1 + len(kinds), columns=3)
    _heat_map(axes[0], joints)
    for ax, (kind, names) in zip(axes[1:], kinds.items(), strict=False):
        for name, color in zip(names, COLORS, strict=False):
            _curve(ax, joints[name], name, color)
        style(ax)
        ax.set_ylim(-0.03, 1.05)
        ax.set_title(f"survival, {kind.replace('_', ' ')}", fontsize=10)
        ax.set_xlabel("severity: what is left of the joint", fontsize=8)
        ax.legend(fontsize=8, frameon=False)
    figure.supxlabel("share of episodes without a fall, with Wilson 95 % intervals", fontsize=9)
    save(figure, out)


def _heat_map(ax: Axes, joints: Mapping[str, Sequence[FaultMetrics]]) -> None:
    values = np.array([[e.metrics.figures["survival"].value for e in row] for row in joints.values()])
    ax.imshow(values, vmin=0.0, vmax=1.0, cmap="RdYlGn", aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        case = list(joints.values())[y][x].case
        ax.text(x, y, f"{value:.2f}\n{case.severity if case else 0:g}", ha="center", va="center", fontsize=6)
    ax.set_yticks(range(len(joints)), [name.replace("_", " ") for name in joints], fontsize=7)
    ax.set_xticks([])
    ax.grid(False)
    ax.set_title("survival, severity below", fontsize=10)


def _curve(ax: Axes, row: Sequence[FaultMetrics], name: str, color: str) -> None:
    severity = [e.case.severity for e in row if e.case]
    survival = [e.metrics.figures["survival"] for e in row]
    ends = [[s.value - s.low for s in survival], [s.high - s.value for s in survival]]
    errors = np.array(ends).clip(min=0.0)
    ax.errorbar(
        severity, [s.value for s in survival], yerr=errors, color=color, marker="o", markersize=4, capsize=3, label=name
    )
