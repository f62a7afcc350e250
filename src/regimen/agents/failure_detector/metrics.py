"""Metrics of a failure detector: by frame (confusion, F1, calibration) and by event (delay, misses, false alarms).

A joint that never failed in the data has no recall and no F1, and is left out of averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from regimen.agents.failure_detector.decision_rule import DecisionCfg, decide
from regimen.display.intervals import Figure


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


@dataclass
class Events:
    """Detection events of E episodes.

    Attributes:
        joint: (E,) class of the fault, 0 where none began.
        alarmed_before: (E,) bool, a verdict that named the joint stood before the fault began: no detection.
        delay: (E,) steps from the fault's first step to the verdict that names its joint; -1 without one, and where
            `alarmed_before`.
        at_risk: (E,) steps after the onset that were recorded; infinite where the robot fell: it will not come back.
        wrong: (E,) bool, the verdict that stood before the fault, or the first one after it, named another joint.
        fell: (E,) bool, the robot fell after the onset before the joint was named.
        alarms: (E,) verdicts raised while healthy.
        healthy: (E,) healthy frames.
        unit: (E,) see `Predictions`.
    """

    joint: np.ndarray
    alarmed_before: np.ndarray
    delay: np.ndarray
    at_risk: np.ndarray
    wrong: np.ndarray
    fell: np.ndarray
    alarms: np.ndarray
    healthy: np.ndarray
    unit: np.ndarray


def events(predictions: Predictions) -> Events:
    """Return the events of predictions.

    The fault's first step is the one before the first faulty observation, so the least delay possible is 1. A verdict
    that stands before is a false alarm. If it names the joint by chance, the fault is neither detected nor missed.
    """
    rows, onset, length = np.arange(len(predictions.target)), predictions.onset, predictions.length
    faulty = onset >= 0
    joint = np.where(faulty, predictions.target[rows, onset.clip(0)], 0)
    after = predictions.mask & faulty[:, None] & (np.arange(predictions.mask.shape[1]) >= onset[:, None])
    stood = np.where(onset > 0, predictions.verdict[rows, (onset - 1).clip(0)], -1)
    alarmed_before = faulty & (stood == joint)
    named = after & (predictions.verdict == joint[:, None])
    detected = named.any(1) & ~alarmed_before
    delay = np.where(detected, named.argmax(1) - onset + 1, -1)
    before = np.concatenate((np.full_like(predictions.verdict[:, :1], -1), predictions.verdict[:, :-1]), axis=1)
    raised = predictions.mask & (predictions.verdict > 0) & (predictions.verdict != before)
    first = raised & after
    heard = np.where(stood > 0, stood, np.where(first.any(1), predictions.verdict[rows, first.argmax(1)], joint))
    healthy = predictions.mask & (predictions.target == 0)
    lost = faulty & predictions.fell
    return Events(
        joint=joint,
        alarmed_before=alarmed_before,
        delay=delay,
        at_risk=np.where(lost, np.inf, length - onset.clip(0)),
        wrong=faulty & (heard != joint),
        fell=lost & ~detected & ~alarmed_before,
        alarms=(raised & healthy).sum(1),
        healthy=healthy.sum(1),
        unit=predictions.unit,
    )


def delay_quantile(detections: Events, share: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the delay in steps within which `share` of the faults are named; infinite if fewer ever are.

    The estimate of Kaplan and Meier (1958): a fault that the recording left before it was named is censored there; one
    that felled the robot before it was named is never named. One whose joint was named before it began is left out.

    Args:
        detections: the events.
        share: such as 0.5.
        weights: (R, E) weight of each episode in each of R resamples; by default 1.

    Returns:
        (R,) or, without weights, a scalar.
    """
    chosen = (detections.joint > 0) & ~detections.alarmed_before
    times = np.where(detections.delay >= 0, detections.delay, detections.at_risk)[chosen]
    # Where times are equal, those named come before those censored.
    order = np.lexsort((detections.delay[chosen] < 0, times))
    times, named = times[order], (detections.delay[chosen] >= 0)[order]
    counted = (np.ones(len(detections.joint)) if weights is None else weights)[..., chosen][..., order]
    left = np.cumsum(counted[..., ::-1], axis=-1)[..., ::-1]
    unnamed = np.cumprod(1.0 - counted * named / np.maximum(left, 1e-12), axis=-1)
    reached = unnamed <= 1.0 - share + 1e-12
    if not len(times):
        return np.full(counted.shape[:-1], np.inf)
    return np.where(reached.any(-1), times[reached.argmax(-1)], np.inf)


def rates(detections: Events, step_dt: float, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return the figures by event, (R,) with weights as in `delay_quantile`, else scalars.

    Args:
        detections: the events.
        step_dt: seconds of a frame, for alarms per hour of healthy walking.
        weights: see `delay_quantile`.
    """
    counted = np.ones(len(detections.joint)) if weights is None else weights
    faulty = detections.joint > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        faults = (counted * faulty).sum(-1)
        of_faults = {
            "detected": (counted * (detections.delay >= 0)).sum(-1) / faults,
            "alarmed_before": (counted * detections.alarmed_before).sum(-1) / faults,
            "wrong_joint": (counted * detections.wrong).sum(-1) / faults,
            "fell_first": (counted * detections.fell).sum(-1) / faults,
        }
        hours = (counted * detections.healthy).sum(-1) * step_dt / 3600.0
        alarms = (counted * detections.alarms).sum(-1) / hours
    delays = {
        "delay_steps": delay_quantile(detections, 0.5, weights),
        "delay_steps_p90": delay_quantile(detections, 0.9, weights),
    }
    return of_faults | {"false_alarms_per_hour": alarms} | delays


EVENTS_BY_JOINT = ("detected", "alarmed_before", "wrong_joint", "fell_first", "delay_steps")
"""Figures by event that each joint has of its own."""

BINS = 15
"""Of the confidence, for the calibration error."""


def confusion(target: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    """Return the confusion matrix (C, C), rows the label, columns the prediction, of classes (F,) by frame."""
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
        counts: (C, C) frames, rows the label, columns the prediction.
        figures: name -> value with its 95 % interval.
        joints: joint -> precision, recall, F1, frames, faults, and `EVENTS_BY_JOINT`; of those that failed.
        calibration: of the probabilities.
        delays: (D,) steps of the detected faults.
    """

    classes: Sequence[str]
    counts: np.ndarray
    figures: dict[str, Figure]
    joints: dict[str, dict[str, float | None]]
    calibration: Calibration
    delays: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def to_dict(self) -> dict[str, object]:
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
        events_ = {k: _known(float(own[k])) for k in EVENTS_BY_JOINT}
        table[name] = {"frames": float(counts[number].sum()), "faults": float(faults), **shares_, **events_}
    return table
