"""The picture of `stage=in_context`: return by episode with intervals, and what each policy gained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regimen.display.figures import COLORS, save, sheet
from regimen.stages.in_context_evaluation.results import EpisodeSeries


def draw(out: Path, rows: Sequence[EpisodeSeries], resamples: int, seed: int) -> None:
    """Draw the curves of all policies, and beside them their improvement.

    Args:
        out: PNG to write.
        rows: the policies, at most one a colour.
        resamples: bootstrap samples behind each interval.
        seed: of the bootstrap.
    """
    figure, (curves, gains) = sheet(2, columns=2, size=(5.6, 4.0))
    for k, (row, color) in enumerate(zip(rows, COLORS, strict=False)):
        means = row.curve(resamples, seed)
        episode = np.arange(1, len(means) + 1)
        curves.plot(episode, [m.value for m in means], color=color, linewidth=1.6, label=row.label, marker=".")
        curves.fill_between(episode, [m.low for m in means], [m.high for m in means], color=color, alpha=0.15, lw=0)
        gain = row.improvement(resamples, seed)
        ends = [[max(0.0, gain.value - gain.low)], [max(0.0, gain.high - gain.value)]]
        gains.errorbar([gain.value], [k], xerr=ends, fmt="o", color=color, capsize=4)
    curves.set_title("return of an episode", fontsize=10)
    curves.set_xlabel("episode, without clearing the context", fontsize=8)
    curves.legend(fontsize=8, frameon=False)
    gains.axvline(0.0, color="#999999", linewidth=0.8)
    gains.set_yticks(range(len(rows)), [row.label for row in rows])
    gains.invert_yaxis()
    gains.set_title("improvement: last fifth of the episodes minus the first", fontsize=10)
    gains.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    figure.supxlabel(f"mean over {len(rows[0].returns)} environments, with 95 % intervals (bootstrap)", fontsize=9)
    save(figure, out)
