"""Baselines of a detector: the majority class, and a threshold on the torques."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.agents.failure_detector.metrics import confusion, macro_f1

if TYPE_CHECKING:
    from regimen.agents.failure_detector.frames import FrameSet, Layout


def majority(counts: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the probabilities (B, L, C) of the class that is most frequent in the training split, for every frame.

    Args:
        counts: (C,) training frames of each class.
        inputs: (B, L, d).
    """
    answer = torch.zeros(*inputs.shape[:2], len(counts))
    answer[..., int(counts.argmax())] = 1.0
    return answer


@dataclass
class TorqueThreshold:
    """A joint has failed if its torque has stayed below a threshold for a while.

    A broken joint cannot reach the peaks of a stride. Thresholds and window are tuned on the training split.

    Attributes:
        layout: where the torques are.
        window: steps over which the largest torque is taken.
        thresholds: (J,) N·m; of several joints below theirs, the one the furthest below, in relation, is named.
    """

    layout: Layout
    window: int = 25
    thresholds: torch.Tensor = field(default_factory=lambda: torch.zeros(0))

    WINDOWS = (10, 25, 50)
    CANDIDATES = 64

    @classmethod
    def tuned(cls, frames: FrameSet, batch_size: int, every: int = 5) -> TorqueThreshold:
        """Return the rule with the highest macro-F1 on a split, of which each `every`-th frame is used.

        Thresholds are chosen joint by joint, by the F1 of that joint alone.
        """
        layout = frames.layout
        peaks: dict[int, list[torch.Tensor]] = {window: [] for window in cls.WINDOWS}
        targets = []
        for batch in frames.epoch(batch_size):
            chosen = batch.mask[:, ::every]
            targets.append(batch.target[:, ::every][chosen])
            for window, parts in peaks.items():
                parts.append(peak(layout, batch.inputs, window)[:, ::every][chosen])
        target = torch.cat(targets)
        best, score = cls(layout), -1.0
        for window, parts in peaks.items():
            levels = torch.cat(parts)
            rule = cls(layout, window, _thresholds(levels, target, cls.CANDIDATES))
            guess = rule.classes(levels)
            reached = macro_f1(confusion(target.numpy(), guess.numpy(), len(layout.classes)))
            best, score = (rule, reached) if reached > score else (best, score)
        return best

    def classes(self, peaks: torch.Tensor) -> torch.Tensor:
        """Return the class (…) for peaks (…, J)."""
        relation, joint = (peaks / self.thresholds.clamp_min(1e-9)).min(-1)
        return torch.where(relation < 1.0, joint + 1, 0)

    def probabilities(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the verdict of every frame as probabilities (B, L, C) of 0 and 1."""
        classes = self.classes(peak(self.layout, inputs, self.window))
        return torch.nn.functional.one_hot(classes, len(self.layout.classes)).float()


def peak(layout: Layout, inputs: torch.Tensor, window: int) -> torch.Tensor:
    """Return the largest absolute torque (B, L, J) of the last `window` frames; infinite until there are as many."""
    torque = layout.candidate_torques(inputs).abs().transpose(1, 2)
    padded = torch.nn.functional.pad(torque, (window - 1, 0), value=torch.inf)
    return torch.nn.functional.max_pool1d(padded, window, stride=1).transpose(1, 2)


def _thresholds(peaks: torch.Tensor, target: torch.Tensor, candidates: int) -> torch.Tensor:
    """Return for each joint the threshold (J,) with the highest F1 of `peak below it` for `that joint is faulty`."""
    chosen = []
    for joint in range(peaks.shape[1]):
        level, faulty = peaks[:, joint], target == joint + 1
        if not faulty.any():
            chosen.append(0.0)
            continue
        own = level[faulty & level.isfinite()]
        if not len(own):
            chosen.append(0.0)
            continue
        # Just above the levels of faulty frames: a clamped torque equals its limit exactly.
        values = np.unique(np.quantile(own.numpy(), np.linspace(0.02, 1.0, candidates))) * (1 + 1e-4)
        order = torch.from_numpy(values).to(level.dtype)
        below = torch.searchsorted(level.sort().values, order)
        hits = torch.searchsorted(own.sort().values, order)
        f1 = 2 * hits / (below + faulty.sum())
        chosen.append(float(order[int(f1.argmax())]))
    return torch.tensor(chosen)
