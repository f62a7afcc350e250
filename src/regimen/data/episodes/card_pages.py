"""The data card as Markdown, and its figures: balance of the classes, onset times, lengths of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.data.episodes.card_schema import HEALTHY, EpisodeCard, Histogram
from regimen.display.figures import COLORS, save, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SIZE = (5.2, 3.6)
"""Inches of one panel."""


def text(card: EpisodeCard) -> str:
    """Return a card as Markdown, the quality checks first."""
    parts = [_verdict(card), _files(card), _classes(card), _demonstrations(card), _episodes(card), _channels(card)]
    return "\n".join([line for part in parts for line in part]) + "\n"


def _verdict(card: EpisodeCard) -> list[str]:
    problems = card.problems()
    if not card.classes:
        return ["# Data card", "", "No joint fails in this task."]
    if not problems:
        return ["# Data card", "", "Fit for training a failure detector."]
    return ["# Data card", "", "Not fit for training a failure detector:", "", *[f"- {line}" for line in problems]]


def _files(card: EpisodeCard) -> list[str]:
    lines = ["", "| file | run | task | steps | envs | seed |", "|---|---|---|---|---|---|"]
    for file in card.files:
        cells = [file.path, file.run, file.task, file.steps, file.num_envs, file.seed]
        lines.append(f"| {' | '.join('' if cell is None else str(cell) for cell in cells)} |")
    reasons = [file.gate.accept for file in card.files if file.gate is not None and file.gate.short]
    return lines + [f"\nThe policy did not pass the task's gate; accepted: {reason}." for reason in reasons]


def _classes(card: EpisodeCard) -> list[str]:
    if not card.classes:
        return []
    splits = card.by_split or {}
    head = "".join(f" {name} episodes | {name} frames |" for name in ("all", *splits))
    lines = ["", "## Classes", "", f"| class |{head}", "|---|" + "---|---|" * (1 + len(splits))]
    for name in (HEALTHY, *card.classes):
        parts = [(card.episodes_by_class[name], card.frames_by_class[name])]
        parts += [(part.episodes[name], part.frames[name]) for part in splits.values()]
        lines.append(f"| {name} |" + "".join(f" {episodes} | {frames} |" for episodes, frames in parts))
    return [
        *lines,
        "",
        f"Every frame is counted once; {card.healthy_share:.1%} are healthy. An episode counts for the joint",
        "that failed in it, as healthy if none did while it was recorded. Splits are by env.",
    ]


def _demonstrations(card: EpisodeCard) -> list[str]:
    figures, dt = card.demonstrations, card.step_dt
    if figures is None:
        return []
    tried = "" if figures.attempts is None else f" of {figures.attempts} tried"
    length = figures.length
    lines = ["", "## Demonstrations", "", *[f"**Warning.** {line}\n" for line in figures.warnings]]
    lines.append(
        f"By {figures.demonstrator or 'an unknown demonstrator'}: {figures.successes} successes{tried}. Their length "
        f"is {length.min:.0f} … {length.max:.0f} steps, mean {length.mean:.1f} ({length.mean * dt:.2f} s)."
    )
    lines += ["", "| discount | reward at the end, seen from the begin of the median episode |", "|---|---|"]
    lines += [f"| {discount} | {kept:.2g} |" for discount, kept in figures.kept_reward.items()]
    lines += ["", "| action | min | mean | max | std | at the bounds |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {a.min:.2f} | {a.mean:.2f} | {a.max:.2f} | {a.std:.2f} | {a.at_bounds:.0%} |"
        for name, a in figures.actions.items()
    ]
    if figures.phase_s:
        lines += ["", "| phase | s of an episode |", "|---|---|"]
        lines += [f"| {phase} | {seconds:.2f} |" for phase, seconds in figures.phase_s.items()]
    return lines


def _episodes(card: EpisodeCard) -> list[str]:
    counts, length, dt = card.episodes, card.episodes.length, card.step_dt
    resets, copies, onsets = card.resets, card.duplicates, card.onsets
    lines = ["", "## Episodes", ""]
    lines.append(
        f"{counts.count} episodes, {card.rows} frames: {counts.terminated} terminated, {counts.truncated} ended by "
        f"time, {counts.cut} are cut by the end of the file. Length {length.min * dt:.2f} … {length.max * dt:.2f} s, "
        f"median {length.median * dt:.2f} s."
    )
    lines.append(
        f"{resets.count} resets in {resets.distinct_steps} different steps, {resets.synchronised_share:.1%} "
        f"synchronised. {copies.episodes} duplicate episodes, {copies.same_beginning} that begin as another, "
        f"{copies.leaking} in several splits."
    )
    if onsets.count:
        first, last = (step * dt for step in onsets.range)
        lines.append(
            f"{onsets.count} onsets, expected uniform over {first:.2f} … {last:.2f} s: distance "
            f"{onsets.deviation:.3f}, at most {onsets.limit:.3f}."
        )
    return lines


def _channels(card: EpisodeCard) -> list[str]:
    constant = ", ".join(card.channels.constant) or "none"
    broken = ", ".join(f"{name} ({count})" for name, count in card.channels.broken.items()) or "none"
    return ["", "## Channels", "", f"Constant: {constant}.", f"Not finite: {broken}."]


def draw(card: EpisodeCard, out: Path) -> list[Path]:
    """Draw the figures of a card into `out`; return their paths."""
    files = [_lengths(card, out / "card_lengths.png")]
    if card.classes:
        files.append(_balance(card, out / "card_balance.png"))
    if card.onsets.count:
        files.append(_onset_times(card, out / "card_onsets.png"))
    return files


def _balance(card: EpisodeCard, out: Path) -> Path:
    """Draw episodes and unique frames of each class, split by split."""
    classes = [HEALTHY, *card.classes]
    figure, axes = sheet(2, 2, SIZE)
    everything = {"all": (card.episodes_by_class, card.frames_by_class)}
    parts = {name: (part.episodes, part.frames) for name, part in (card.by_split or {}).items()} or everything
    for ax, title, kind in zip(axes, ("episodes", "frames, each counted once"), (0, 1), strict=True):
        below = np.zeros(len(classes))
        for color, (name, part) in zip(COLORS, parts.items(), strict=False):
            values = np.array([part[kind][joint] for joint in classes], dtype=float)
            ax.bar(classes, values, bottom=below, color=color, label=name)
            below += values
        ax.set_title(title, fontsize=10)
        ax.tick_params(axis="x", rotation=60)
    axes[0].legend(fontsize=8, frameon=False)
    save(figure, out)
    return out


def _onset_times(card: EpisodeCard, out: Path) -> Path:
    """Draw the onsets of the faults, and the range that they were drawn from."""
    figure, (ax,) = sheet(1, 1, SIZE)
    _bars(ax, card.onsets.histogram, card.step_dt)
    for step in card.onsets.range:
        ax.axvline(step * card.step_dt, color=COLORS[1], linewidth=1, linestyle="--")
    ax.set_title(f"onset of the fault: {card.onsets.count} episodes recorded from their begin", fontsize=10)
    ax.set_xlabel("s after the begin", fontsize=8)
    save(figure, out)
    return out


def _lengths(card: EpisodeCard, out: Path) -> Path:
    figure, (ax,) = sheet(1, 1, SIZE)
    _bars(ax, card.episodes.histogram, card.step_dt)
    ax.set_title(f"length of {card.episodes.count} episodes", fontsize=10)
    ax.set_xlabel("s", fontsize=8)
    save(figure, out)
    return out


def _bars(ax: Axes, histogram: Histogram | None, dt: float) -> None:
    assert histogram is not None, "made with the card"
    edges = np.array(histogram.edges) * dt
    ax.bar(edges[:-1], histogram.counts, np.diff(edges), align="edge", color=COLORS[0])
