"""Metrics of failure detectors over seeds, beside their baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from regimen.display.intervals import Figure
from regimen.stages.reports.sources import DETECTOR, Source
from regimen.stages.reports.survival import over_seeds

COLUMNS = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "delay_steps": "median delay (steps)",
    "detected": "detected",
    "wrong_joint": "wrong joint",
    "fell_first": "fell first",
    "false_alarms_per_hour": "false alarms per hour",
    "calibration_error": "calibration error",
}
"""Metric -> column heading."""

PLACES = {"distill": "episodes of held-out envs", "evaluate": "fresh episodes"}
"""Stage -> data of its evaluation."""


@dataclass
class DetectorRow:
    """One detector or baseline on one set of episodes.

    Attributes:
        stage: stage of the evaluation.
        name: `detector`, or the name of a baseline.
        view: counted faulty frames: `all`, or `active`, those since the joint first reached its limit.
        seeds: number of runs.
        figures: name -> value with interval; the interquartile mean over several runs.
    """

    stage: str
    name: str
    view: str
    seeds: int
    figures: dict[str, Figure]


def detector_rows(sources: Sequence[Source]) -> Iterator[DetectorRow]:
    """Yield the rows of detectors and baselines: recorded episodes first, and the detector first."""
    for stage in PLACES:
        results = [s.result for s in sources if s.stage == stage]
        by_name: dict[str, list[dict[str, Any]]] = {}
        for result in results:
            for name, views in {DETECTOR: result[DETECTOR], **(result.get("baselines") or {})}.items():
                by_name.setdefault(name, []).append(views)
        for name, runs in by_name.items():
            for view in dict.fromkeys(view for run in runs for view in run):
                figures = [run[view]["figures"] for run in runs if view in run]
                yield DetectorRow(stage, name, view, len(figures), _over_runs(figures))


def _over_runs(runs: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """Return the metrics over several runs; a metric that is missing in one run is omitted."""
    names = [n for n in COLUMNS if all((run.get(n) or {}).get("value") is not None for run in runs)]
    if len(runs) == 1:
        return {n: _one(runs[0][n]) for n in names}
    return {n: over_seeds([run[n]["value"] for run in runs]) for n in names}


def _one(metric: dict[str, Any]) -> Figure:
    """Return value and interval; an unknown bound of the interval is the value itself."""
    low, high = (metric["value"] if metric[end] is None else metric[end] for end in ("low", "high"))
    return Figure(metric["value"], low, high)
