"""Metrics of evaluated episodes with faults, by case, by joint and over all faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from regimen.stages.evaluation.metrics import EpisodeResults, FaultMetrics, compute_metrics

if TYPE_CHECKING:
    from regimen.config.task_schema import FaultGridCfg
    from regimen.stages.evaluation.fault_grid import FaultCase


def compute_fault_metrics(
    episodes: EpisodeResults, cases: Sequence[FaultCase], grid: FaultGridCfg, resamples: int, seed: int
) -> tuple[list[FaultMetrics], dict[str, FaultMetrics], FaultMetrics]:
    """Return the metrics of each case, of each joint over its severities, and of all faults together.

    Args:
        episodes: all episodes, with the index of the case as their command.
        cases: the first is the healthy one.
        grid: has the onset of the faults.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    index = episodes.command_of_env

    def metrics(rows: np.ndarray, case: FaultCase | None = None) -> FaultMetrics:
        return fault_metrics(episodes, rows, case, grid, resamples, seed)

    by_case = [metrics(index == k, case) for k, case in enumerate(cases)]
    joints = {
        name: metrics(np.isin(index, [k for k, c in enumerate(cases) if c.joint == name]))
        for name in dict.fromkeys(case.joint for case in cases if case.joint)
    }
    return by_case, joints, metrics(index > 0)


def fault_metrics(
    episodes: EpisodeResults, rows: np.ndarray, case: FaultCase | None, grid: FaultGridCfg, resamples: int, seed: int
) -> FaultMetrics:
    """Return the metrics of the selected episodes.

    Args:
        episodes: all episodes.
        rows: (N,) bool, the selected ones.
        case: their common fault; None for several.
        grid: has the onset of the faults.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    metrics = compute_metrics(episodes, rows, None, resamples, seed)
    fell = episodes.columns["episode_length_s"][rows & episodes.fell] - grid.onset_s
    from_onset = fell[fell >= 0.0]
    return FaultMetrics(case, metrics, float(np.median(from_onset)) if len(from_onset) else None)
