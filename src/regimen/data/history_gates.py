"""What learning histories must show before a model learns from them to improve."""

from __future__ import annotations

from typing import Any

import numpy as np

from regimen.data.histories import Histories
from regimen.errors import DatasetError

LEAST_PROGRESS = 0.7
"""Rank correlation of the place of an episode in its history with its return, over all histories together."""


def check(card: dict[str, Any]) -> list[str]:
    """Return what stands against learning to improve from the histories of a card, one line each; empty if nothing."""
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


def require_longer(histories: Histories, context: int) -> None:
    """Refuse histories that give no sample: a context needs one row more than it is long.

    Args:
        histories: opened.
        context: rows that a model sees.

    Raises:
        DatasetError: naming those that are shorter, counted without the episodes that `episode_sparsity` leaves out.
    """
    every = int(histories.about["episode_sparsity"])
    left = histories.rows if every == 1 else np.array([len(history.thinned(every)) for history in histories])
    short = [f"{histories.about['files'][i]['name']} ({left[i]})" for i in np.flatnonzero(left < context + 1)]
    if short:
        told = ", ".join(short[:5]) + (f" and {len(short) - 5} more" if len(short) > 5 else "")
        raise DatasetError(
            f"{histories.path.parent} has histories of fewer than {context + 1} rows, which a context of {context} "
            f"needs: {told}. Choose a shorter context, or collect longer histories."
        )
