"""Metrics of a failure detector: by frame (confusion, F1, calibration) and by event (delay, misses, false alarms).

A joint that never failed in the data has no recall and no F1, and is left out of averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from regimen.agents.failure_detector.detection_events import Events, events, rates
from regimen.agents.failure_detector.predictions import Predictions
from regimen.display.intervals import Figure

BINS = 15
"""Of the confidence, for the calibration error."""


def confusion(target: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    """Return the confusion matrix (C, C), rows the truth, columns the prediction, of classes (F,) by frame."""
    flat = np.bincount(target.astype(np.int64) * classes + guess, minlength=classes * classes)
    return flat.reshape(classes, classes)


def by_class(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 of each class, (…, C), from counts (…, C, C).

    An absent class has NaN for all three; one that is present and never predicted has precision NaN and F1 0.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    true, guessed = counts.sum(-1).astype(float), counts.sum(-2).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(true > 0, hits / true, np.nan)
        precision = np.where((true > 0) & (guessed > 0), hits / guessed, np.nan)
        f1 = np.where(true > 0, 2 * hits / (true + guessed), np.nan)
    return {"precision": precision, "recall": recall, "f1": f1}


def macro_f1(counts: np.ndarray) -> float:
    """Return the mean F1 of the classes that are present, from counts (C, C)."""
    return float(_mean(by_class(counts)["f1"]))


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis without NaN; NaN where all are NaN."""
    finite = np.isfinite(values)
    count = finite.sum(-1)
    return np.where(count > 0, np.where(finite, values, 0.0).sum(-1) / np.maximum(count, 1), np.nan)


def shares(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics by frame, (…), from counts (…, C, C)."""
    total = np.maximum(counts.sum((-2, -1)), 1)
    scores = by_class(counts)
    hits = np.trace(counts, axis1=-2, axis2=-1)
    return {
        "accuracy": hits / total,
        "majority_accuracy": counts.sum(-1).max(-1) / total,
        "balanced_accuracy": _mean(scores["recall"]),
        "macro_f1": _mean(scores["f1"]),
    }


@dataclass
class Calibration:
    """Calibration: accuracy of the most likely class by its probability.

    Attributes:
        confidence: (BINS,) mean probability in the bin, NaN where it is empty.
        accuracy: (BINS,) share of hits.
        frames: (BINS,).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    frames: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): the mean difference between both, weighted by frames."""
        gap = np.abs(np.nan_to_num(self.confidence) - np.nan_to_num(self.accuracy))
        return float((gap * self.frames).sum() / max(self.frames.sum(), 1))


def calibration(probabilities: np.ndarray, target: np.ndarray) -> Calibration:
    """Return the calibration of probabilities (F, C) for classes (F,)."""
    top = probabilities.max(1)
    hit = probabilities.argmax(1) == target
    place = np.minimum((top * BINS).astype(int), BINS - 1)
    frames = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, weights, BINS) / frames for weights in (top, hit)]
    return Calibration(means[0], means[1], frames)


@dataclass
class Verdicts:
    """The metrics of one detector on one view of the data.

    Attributes:
        classes: names of the classes.
        counts: (C, C) frames, rows the truth, columns the prediction.
        figures: name -> value with its 95 % interval.
        joints: joint -> precision, recall, F1, frames, faults, detected, delay_steps; of those that failed.
        calibration: of the probabilities.
        delays: (D,) steps of the detected faults.
    """

    classes: Sequence[str]
    counts: np.ndarray
    figures: dict[str, Figure]
    joints: dict[str, dict[str, float | None]]
    calibration: Calibration
    delays: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for result.json; infinite and unknown values are null."""
        figures = {name: {k: _known(v) for k, v in asdict(f).items()} for name, f in self.figures.items()}
        return {
            "figures": figures,
            "joints": self.joints,
            "confusion": {"classes": list(self.classes), "counts": self.counts.tolist()},
            "calibration": {k: [_known(x) for x in v] for k, v in vars(self.calibration).items()},
            "delays": sorted(int(d) for d in self.delays),
        }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def judge(
    predictions: Predictions, classes: Sequence[str], step_dt: float, resamples: int, seed: int
) -> dict[str, Verdicts]:
    """Return the metrics of a detector by view of the faulty frames: `all` of them, and `active` ones only.

    Args:
        predictions: of the detector.
        classes: names, `healthy` first.
        step_dt: seconds of a frame.
        resamples: bootstrap samples of envs behind each interval.
        seed: of the bootstrap.
    """
    views = {"all": predictions.mask, "active": predictions.mask & ((predictions.target == 0) | predictions.active)}
    return {name: _judge(predictions, mask, classes, step_dt, resamples, seed) for name, mask in views.items()}


def _judge(
    predictions: Predictions, mask: np.ndarray, classes: Sequence[str], step_dt: float, resamples: int, seed: int
) -> Verdicts:
    size, guess = len(classes), predictions.probabilities.argmax(2)
    units, place = np.unique(predictions.unit, return_inverse=True)
    cell = (place[:, None] * size + predictions.target) * size + guess
    each = np.bincount(cell[mask], minlength=len(units) * size * size).reshape(len(units), size, size)
    counts, detections = each.sum(0), events(predictions)
    drawn = np.random.default_rng(seed).multinomial(len(units), np.full(len(units), 1 / len(units)), resamples)
    spread = shares(np.tensordot(drawn, each, 1)) | rates(detections, step_dt, drawn[:, place])
    values = shares(counts) | rates(detections, step_dt)
    calibrated = calibration(predictions.probabilities[mask], predictions.target[mask])
    figures = {name: _interval(float(value), spread[name]) for name, value in values.items()}
    figures["calibration_error"] = Figure(calibrated.error, np.nan, np.nan)
    joints = _joints(classes, counts, detections, step_dt)
    return Verdicts(classes, counts, figures, joints, calibrated, detections.delay[detections.delay >= 0])


def _interval(value: float, draws: np.ndarray) -> Figure:
    """Return a value with the 95 % percentiles of its resamples, some of which may be infinite."""
    values = np.sort(draws[~np.isnan(draws)])
    if not len(values):
        return Figure(value, np.nan, np.nan)
    low, high = (values[round(q * (len(values) - 1))] for q in (0.025, 0.975))
    return Figure(value, float(low), float(high))


def _joints(
    classes: Sequence[str], counts: np.ndarray, detections: Events, step_dt: float
) -> dict[str, dict[str, float | None]]:
    """Return the metrics of each joint that failed."""
    scores, table = by_class(counts), {}
    for number, name in enumerate(classes):
        faults = int((detections.joint == number).sum())
        if number == 0 or not (faults or counts[number].sum()):
            continue
        own = rates(Events(**{k: v[detections.joint == number] for k, v in vars(detections).items()}), step_dt)
        shares_ = {k: _known(float(v[number])) for k, v in scores.items()}
        events_ = {k: _known(float(own[k])) for k in ("detected", "wrong_joint", "fell_first", "delay_steps")}
        table[name] = {"frames": float(counts[number].sum()), "faults": float(faults), **shares_, **events_}
    return table
