"""Lengths of demonstrations against the discount of a training, and the labels that describe demonstrations."""

from __future__ import annotations

import math

SUCCESS, PHASE = "success", "phase"
"""Labels of a step: whether the episode ended in success with it; index of the phase of the task."""

TERMINATED, STALLED, TIMED_OUT = "terminated", "stalled", "timed_out"
"""Kinds of ends of an episode beside `success` and the names of a task's terminations."""

DISCOUNTS = (0.97, 0.99, 0.995, 0.999)
"""Discounts on the data card; the first is that of RLPD in this project and of HIL-SERL."""

LEAST_DISCOUNT = 1e-3
"""A reward at the end that is discounted below this over the episode teaches nothing about its begin."""

GOOD_DISCOUNT = 1e-2
"""What the discounts and frame skips that are proposed keep of a reward at the end."""


def discount_problem(length: float, discount: float) -> str | None:
    """Return a warning if a reward at the end of an episode is lost at its begin, with what would keep it; else None.

    Args:
        length: steps of the episode.
        discount: factor on the value of the next step.
    """
    if discount >= 1 or discount**length >= LEAST_DISCOUNT:
        return None
    needed = math.ceil(1000 * GOOD_DISCOUNT ** (1 / length)) / 1000
    if needed >= 1:  # of episodes so long that three digits do not suffice
        needed = math.ceil(1e5 * GOOD_DISCOUNT ** (1 / length)) / 1e5
    skip = math.ceil(length * math.log(discount) / math.log(GOOD_DISCOUNT))
    return (
        f"Demonstrations of {length:.0f} steps at a discount of {discount:g}: a reward at the end counts "
        f"{discount**length:.0e} at the begin, so they teach nothing there. Use a discount of {needed:g} or more, or "
        f"hold each action for {skip} steps when recording: {math.ceil(length / skip)} steps."
    )
