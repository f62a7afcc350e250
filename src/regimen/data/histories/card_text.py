"""The data card of learning histories as Markdown."""

from __future__ import annotations

from typing import Any

import numpy as np

from regimen.data.histories import quality_checks

HEADS = {"checkpoints": "Checkpoint history", "noise": "Noise distillation", "expert": "Expert only"}


def text(card: dict[str, Any]) -> str:
    """Return a card (`histories.card.make`) as Markdown, the quality checks first."""
    return "\n".join([*_verdict(card), *_about(card), *_progress(card), *_channels(card)]) + "\n"


def _verdict(card: dict[str, Any]) -> list[str]:
    problems = quality_checks.check(card)
    if not problems:
        return ["# Data card of histories", "", "Fit for learning in context."]
    lines = [f"- {line}" for line in problems]
    return ["# Data card of histories", "", "Not fit for learning in context:", "", *lines]


def _about(card: dict[str, Any]) -> list[str]:
    episodes, length = card["episodes"], card["episodes"]["length"]
    head = HEADS.get(card["mode"], f"Mode {card['mode']}")
    lines = ["", f"{head}: {len(card['histories'])} histories of {card['task_name']} (group {card['group']})."]
    shortest = min(row["rows"] for row in card["histories"])
    lines.append(f"{card['rows']} rows; the shortest history has {shortest}.")
    lines.append(
        f"{episodes['count']} whole episodes, length {length['min']:.0f} … {length['max']:.0f} "
        f"steps, median {length['median']:.0f}; {card['terminated_share']:.1%} ended by a termination."
    )
    lines.append(f"Return of a random policy {card['random_score']:.4g}, of the expert {card['expert_score']:.4g}.")
    masses = [row["mass_scale"] for row in card["histories"] if "mass_scale" in row]
    if masses:
        lines.append(f"Mass of the robot times {min(masses):.2f} … {max(masses):.2f}, another in each history.")
    return lines


def _progress(card: dict[str, Any]) -> list[str]:
    each = np.array([row["spearman"] for row in card["histories"]])
    lines = ["", "## Progress", ""]
    lines.append(
        f"Rank correlation of an episode's place in its history with its return: {card['spearman']:.2f} over all; of "
        f"each history {each.min():.2f} … {each.max():.2f}, median {np.median(each):.2f}; "
        f"{(each >= quality_checks.LEAST_PROGRESS).mean():.0%} reach {quality_checks.LEAST_PROGRESS}."
    )
    label = "checkpoint" if card["mode"] == "checkpoints" else "noise"
    lines += ["", f"| place | episodes | return | 10 % … 90 % | length | {label} |", "|---|---|---|---|---|---|"]
    for row in card["curve"]:
        told = "" if row["label"] is None else f"{row['label']:.3g}"
        cells = [f"{row['where']:.3f}", str(row["episodes"]), f"{row['mean']:.4g}"]
        cells += [f"{row['low']:.4g} … {row['high']:.4g}", f"{row['length']:.0f}", told]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _channels(card: dict[str, Any]) -> list[str]:
    constant = ", ".join(card["constant"]) or "none"
    return ["", "## Channels", "", f"Constant: {constant}.", "Not finite: none, such a file is refused."]
