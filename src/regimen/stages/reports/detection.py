"""How well the failure detectors do, over their seeds, beside what they have to beat."""

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
"""Figure -> head of its column."""

PLACES = {"distill": "episodes of held-out envs", "evaluate": "fresh episodes"}
"""Stage -> on what it judges a detector."""


@dataclass
class DetectorRow:
    """One detector or baseline on one set of episodes.

    Attributes:
        stage: that judged it.
        name: `detector`, or of a baseline.
        view: which faulty frames count: `all`, or those since the joint first reached its limit.
        seeds: how many runs.
        figures: name -> figure; of several runs the interquartile mean over them.
    """

    stage: str
    name: str
    view: str
    seeds: int
    figures: dict[str, Figure]


def detector_rows(sources: Sequence[Source]) -> Iterator[DetectorRow]:
    """Yield what the runs say of detectors and baselines: those on recorded episodes first, the detector first."""
    for stage in PLACES:
        mine = [s.result for s in sources if s.stage == stage]
        told: dict[str, list[dict[str, Any]]] = {}
        for result in mine:
            for name, views in {DETECTOR: result[DETECTOR], **(result.get("baselines") or {})}.items():
                told.setdefault(name, []).append(views)
        for name, runs in told.items():
            for view in dict.fromkeys(view for run in runs for view in run):
                found = [run[view]["figures"] for run in runs if view in run]
                yield DetectorRow(stage, name, view, len(found), _together(found))


def _together(runs: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """Return the figures of several runs; a figure that one of them does not have is left out."""
    names = [n for n in COLUMNS if all((run.get(n) or {}).get("value") is not None for run in runs)]
    if len(runs) == 1:
        return {n: _one(runs[0][n]) for n in names}
    return {n: over_seeds([run[n]["value"] for run in runs]) for n in names}


def _one(told: dict[str, Any]) -> Figure:
    """Return a figure; an end of its interval that is not known is the figure itself."""
    low, high = (told["value"] if told[end] is None else told[end] for end in ("low", "high"))
    return Figure(told["value"], low, high)
