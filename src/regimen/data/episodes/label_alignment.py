"""Check that labels begin at the row of the fault, which shows in the torques as an effort limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OFFSETS = (-2, -1, 0, 1, 2)
SETTLED = 3
"""Rows after an event from which the torques are surely under the new limit, whatever the offset."""


@dataclass(frozen=True)
class Event:
    """A joint that broke.

    Attributes:
        row: first row of the fault according to the file.
        stop: row after the last of the episode.
        joint: id.
    """

    row: int
    stop: int
    joint: int


def fitting_offset(torque: np.ndarray, events: Sequence[Event]) -> tuple[int | None, dict[int, int]]:
    """Return the offset between the labels of a file and its torques, and the contradictions at each offset.

    The limit of a faulty joint is its largest torque from `SETTLED` rows after an event on. A row that is labelled
    limited and exceeds it is a contradiction. The result is the smallest offset without contradictions, if the next
    smaller one has some; else the torques are inconclusive.

    Args:
        torque: (T, J) N·m.
        events: all of the file.

    Returns:
        The first row under the fault is `event.row` + offset; None if the torques do not show it.
    """
    limits = _limits(torque, events)
    table = {offset: 0 for offset in (OFFSETS[0] - 1, *OFFSETS)}
    for event in events:
        limit = limits.get(event.joint, np.inf) * 1.001 + 1e-3
        for offset in table:
            first = max(event.row + offset, 0)
            rows = torque[first : min(event.row + SETTLED, event.stop), event.joint]
            table[offset] += int((np.abs(rows) > limit).sum())
    clean = [offset for offset in OFFSETS if not table[offset]]
    if not clean or not table[clean[0] - 1]:
        return None, table
    return clean[0], table


def _limits(torque: np.ndarray, events: Sequence[Event]) -> dict[int, float]:
    """Return joint -> the largest torque (N·m) that it shows well after a fault, in the median of its faults."""
    largest: dict[int, list[float]] = {}
    for event in events:
        rows = torque[event.row + SETTLED : event.stop, event.joint]
        if len(rows):
            largest.setdefault(event.joint, []).append(float(np.abs(rows).max()))
    return {joint: float(np.median(values)) for joint, values in largest.items()}


def shift_between(a: np.ndarray, b: np.ndarray) -> int | None:
    """Return k of `OFFSETS`, the nearest to 0, for which b[t + k] equals a[t] throughout; None if there is none.

    Args:
        a: (T,) bool.
        b: (T',) bool of about the same length.
    """
    for k in sorted(OFFSETS, key=abs):
        mine, theirs = (a[: len(a) - k], b[k:]) if k >= 0 else (a[-k:], b[:k])
        common = min(len(mine), len(theirs))
        if common and np.array_equal(mine[:common], theirs[:common]):
            return k
    return None
