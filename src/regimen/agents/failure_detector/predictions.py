"""Predictions of a detector for whole episodes with their labels: the input of all metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from regimen.agents.failure_detector.decision_rule import DecisionCfg, decide


@dataclass(frozen=True)
class Predictions:
    """E episodes side by side, padded at the end to L frames, on the CPU.

    Attributes:
        target: (E, L) int8 class, 0 for healthy.
        probabilities: (E, L, C) float32.
        verdict: (E, L) int16 class, -1 for none.
        active: (E, L) bool, faulty, and the joint has reached its limit (see `frames.saturated_since`).
        mask: (E, L) bool.
        unit: (E,) env of the episode, the unit of resampling for intervals.
        fell: (E,) bool, the episode ended by a termination.
    """

    target: np.ndarray
    probabilities: np.ndarray
    verdict: np.ndarray
    active: np.ndarray
    mask: np.ndarray
    unit: np.ndarray
    fell: np.ndarray

    @property
    def length(self) -> np.ndarray:
        """Frames of each episode, (E,)."""
        return np.asarray(self.mask.sum(1))

    @property
    def onset(self) -> np.ndarray:
        """First faulty frame of each episode, (E,); -1 where it stays healthy."""
        faulty = (self.target > 0) & self.mask
        return np.where(faulty.any(1), faulty.argmax(1), -1)


def make_predictions(
    target: torch.Tensor,
    probabilities: torch.Tensor,
    active: torch.Tensor,
    mask: torch.Tensor,
    unit: torch.Tensor,
    fell: torch.Tensor,
    decision: DecisionCfg,
) -> Predictions:
    """Return predictions with the verdicts of `decision`; shapes as in `Predictions`."""
    verdict = decide(decision, probabilities, mask)
    return Predictions(
        target.to(torch.int8).cpu().numpy(),
        probabilities.float().cpu().numpy(),
        verdict.cpu().numpy(),
        active.cpu().numpy(),
        mask.cpu().numpy(),
        unit.cpu().numpy(),
        fell.cpu().numpy(),
    )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the episodes of all parts, padded to the longest."""
    longest = max(part.mask.shape[1] for part in parts)
    fields = {name: [getattr(part, name) for part in parts] for name in Predictions.__dataclass_fields__}
    return Predictions(
        **{name: np.concatenate([_padded(v, longest) for v in values]) for name, values in fields.items()}
    )


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    if values.ndim == 1:
        return values
    return np.pad(values, [(0, 0), (0, length - values.shape[1])] + [(0, 0)] * (values.ndim - 2))
