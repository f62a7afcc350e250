"""Windows and learning rate of each optimiser step; accumulated batches are one step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from regimen.agents.vintix.config import TrainingCfg


class Schedule:
    """The optimiser steps of a training.

    Attributes:
        per_epoch: optimiser steps of an epoch; the last may see fewer windows than the others.
        total: of all epochs.
    """

    def __init__(self, cfg: TrainingCfg, windows: int, processes: int, seed: int) -> None:
        """Compute the number of steps.

        Args:
            cfg: see `TrainingCfg`.
            windows: W, of an epoch.
            processes: that share a step.
            seed: of the order of windows, which is another one in each epoch.
        """
        self._cfg, self._windows, self._seed = cfg, windows, seed
        self._group = cfg.batch_size * cfg.accumulation * processes
        self.per_epoch = math.ceil(windows / self._group)
        self.total = self.per_epoch * cfg.epochs

    def epoch(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield the windows of each optimiser step, of all processes together."""
        order = np.random.default_rng((self._seed, epoch)).permutation(self._windows)
        for low in range(0, self._windows, self._group):
            yield order[low : low + self._group]

    def share(self, windows: np.ndarray, process: int, processes: int) -> list[np.ndarray]:
        """Return the batches of a step's windows for one process; there may be none."""
        mine, size = windows[process::processes], self._cfg.batch_size
        return [mine[low : low + size] for low in range(0, len(mine), size)]

    def learning_rate(self, step: int) -> float:
        """Return the rate of optimiser step `step`: up a line, then down half a cosine (Loshchilov and Hutter 2017)."""
        cfg, warm = self._cfg, round(self._cfg.warmup_ratio * self.total)
        if step < warm:
            return cfg.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.total - 1 - warm)
        height = 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
        return cfg.min_learning_rate + (cfg.learning_rate - cfg.min_learning_rate) * height
