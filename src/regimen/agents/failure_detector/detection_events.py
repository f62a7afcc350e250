"""Detection events: hits, delays, wrong joints, misses and false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regimen.agents.failure_detector.predictions import Predictions


@dataclass
class Events:
    """Detection events of E episodes.

    Attributes:
        joint: (E,) class of the fault, 0 where none began.
        delay: (E,) steps from the fault's first step to the verdict that names its joint; -1 without one.
        at_risk: (E,) steps after the onset that were recorded; infinite where the robot fell: it will not come back.
        wrong: (E,) bool, the first verdict after the onset named another joint.
        fell: (E,) bool, the robot fell after the onset before the joint was named.
        alarms: (E,) verdicts raised while healthy.
        healthy: (E,) healthy frames.
        unit: (E,) see `Predictions`.
    """

    joint: np.ndarray
    delay: np.ndarray
    at_risk: np.ndarray
    wrong: np.ndarray
    fell: np.ndarray
    alarms: np.ndarray
    healthy: np.ndarray
    unit: np.ndarray


def events(predictions: Predictions) -> Events:
    """Return the events of predictions.

    The fault's first step is the one before the first faulty observation, so the least delay possible is 1.
    """
    rows, onset, length = np.arange(len(predictions.target)), predictions.onset, predictions.length
    faulty = onset >= 0
    joint = np.where(faulty, predictions.target[rows, onset.clip(0)], 0)
    after = predictions.mask & faulty[:, None] & (np.arange(predictions.mask.shape[1]) >= onset[:, None])
    named = after & (predictions.verdict == joint[:, None])
    detected = named.any(1)
    delay = np.where(detected, named.argmax(1) - onset + 1, -1)
    before = np.concatenate((np.full_like(predictions.verdict[:, :1], -1), predictions.verdict[:, :-1]), axis=1)
    raised = predictions.mask & (predictions.verdict > 0) & (predictions.verdict != before)
    first = raised & after
    wrong = first.any(1) & (predictions.verdict[rows, first.argmax(1)] != joint)
    healthy = predictions.mask & (predictions.target == 0)
    lost = faulty & predictions.fell
    return Events(
        joint=joint,
        delay=delay,
        at_risk=np.where(lost, np.inf, length - onset.clip(0)),
        wrong=wrong,
        fell=lost & ~detected,
        alarms=(raised & healthy).sum(1),
        healthy=healthy.sum(1),
        unit=predictions.unit,
    )


def delay_quantile(detections: Events, share: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the delay in steps within which `share` of the faults are named; infinite if fewer ever are.

    The estimate of Kaplan and Meier (1958): a fault that the recording left before it was named is censored there; one
    that felled the robot before it was named is never named.

    Args:
        detections: the events.
        share: such as 0.5.
        weights: (R, E) weight of each episode in each of R resamples; by default 1.

    Returns:
        (R,) or, without weights, a scalar.
    """
    chosen = detections.joint > 0
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
