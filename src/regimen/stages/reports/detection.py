"""Metrics of failure detectors over seeds, beside their baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from regimen.display.intervals import Figure
from regimen.stages.reports.sources import DETECTOR, Source
from regimen.stages.reports.survival import over_seeds
from regimen.system.json_data import Json, JsonData

COLUMNS = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "delay_steps": "median delay (steps)",
    "detected": "detected",
    "alarmed_before": "named before the fault",
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


@dataclass
class DetectorView(JsonData):
    """Known figures of one detector over one view of the faulty frames."""

    figures: dict[str, Figure]

    @classmethod
    def from_dict(cls, data: Json) -> DetectorView:
        """Return the figures of plain data; an unknown end of an interval is the value itself."""
        rows = {name: row for name, row in data["figures"].items() if row["value"] is not None}
        ends = ("value", "low", "high")
        return cls({n: Figure(*(row["value"] if row[e] is None else row[e] for e in ends)) for n, row in rows.items()})


@dataclass
class DetectorResult(JsonData):
    """Result of a detector.

    Attributes:
        detector: view of the faulty frames -> figures.
        baselines: the same for each baseline.
        views: view -> its meaning.
    """

    detector: dict[str, DetectorView]
    baselines: dict[str, dict[str, DetectorView]] | None = None
    views: dict[str, str] | None = None


def detector_rows(sources: Sequence[Source]) -> Iterator[DetectorRow]:
    """Yield the rows of detectors and baselines: recorded episodes first, and the detector first."""
    for stage in PLACES:
        by_name: dict[str, list[dict[str, DetectorView]]] = {}
        for result in (DetectorResult.from_dict(s.result) for s in sources if s.stage == stage):
            for name, views in {DETECTOR: result.detector, **(result.baselines or {})}.items():
                by_name.setdefault(name, []).append(views)
        for name, runs in by_name.items():
            for view in dict.fromkeys(view for run in runs for view in run):
                figures = [run[view].figures for run in runs if view in run]
                yield DetectorRow(stage, name, view, len(figures), _over_runs(figures))


def _over_runs(runs: Sequence[dict[str, Figure]]) -> dict[str, Figure]:
    """Return the metrics over several runs; a metric that is missing in one run is omitted."""
    names = [name for name in COLUMNS if all(name in run for run in runs)]
    return {n: runs[0][n] if len(runs) == 1 else over_seeds([run[n].value for run in runs]) for n in names}
