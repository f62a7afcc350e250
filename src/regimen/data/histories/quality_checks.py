"""Quality checks of learning histories, before a model learns in context from them."""

from __future__ import annotations

from typing import Any

LEAST_PROGRESS = 0.7
"""Rank correlation of the place of an episode in its history with its return, over all histories together."""


def check(card: dict[str, Any]) -> list[str]:
    """Return one line for each quality check that the card of histories fails."""
    lines = []
    if card["mode"] == "expert":
        lines.append("mode=expert: nothing improves in these histories; they are for comparison only.")
    if card["spearman"] < LEAST_PROGRESS:
        lines.append(
            f"progress: returns rise along the histories with a rank correlation of {card['spearman']:.2f}, needed "
            f"{LEAST_PROGRESS} or more."
        )
    if card["expert_score"] <= card["random_score"]:
        lines.append(
            f"expert_score {card['expert_score']:.3g} is not above random_score {card['random_score']:.3g}: there is "
            "nothing to improve to."
        )
    return lines
