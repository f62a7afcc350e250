"""Detector and baselines, evaluated by the same metrics on the same episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.failure_detector.baselines import TorqueThreshold, majority
from regimen.agents.failure_detector.frames import statistics
from regimen.agents.failure_detector.metrics import Verdicts, judge
from regimen.agents.failure_detector.model import FrameNet, unroll
from regimen.agents.failure_detector.predictions import joined, make_predictions
from regimen.agents.failure_detector.trainer import Training, TrainingCfg
from regimen.runs import checkpoint

if TYPE_CHECKING:
    from regimen.agents.failure_detector.decision_rule import DecisionCfg
    from regimen.agents.failure_detector.frames import Frames, FrameSets, Layout
    from regimen.agents.failure_detector.model import DetectorNet
    from regimen.runs.checkpoint_header import StateDict
    from regimen.runs.run import Run

Baseline = Callable[[torch.Tensor], torch.Tensor]
"""From inputs (B, L, d) of whole episodes to probabilities (B, L, C)."""

FRAME_HIDDEN = 128
"""Units of the one-frame network's layers; it has about as many weights as the default GRU."""


@dataclass
class Baselines:
    """The baselines of a detector, trained and tuned on the same training split.

    Attributes:
        counts: (C,) training frames of each class.
        frame: the network that reads one frame.
        rule: the rule on the torques; None where the observations have none.
    """

    counts: torch.Tensor
    frame: FrameNet
    rule: TorqueThreshold | None

    @classmethod
    def fit(cls, sets: FrameSets, cfg: TrainingCfg, run: Run, path: Path, seed: int) -> Baselines:
        """Train and tune the baselines, from their checkpoint if there is one.

        Args:
            sets: the data.
            cfg: as for the detector itself.
            run: receives progress; its `check_stop` may stop the training.
            path: their checkpoint.
            seed: of order and initial weights.
        """
        checkpoints = _BaselineCheckpoints(path)
        torch.manual_seed(seed)
        frame = FrameNet(sets.layout.size, len(sets.layout.classes), FRAME_HIDDEN)
        Training(frame, sets, cfg, run, checkpoints, seed).fit()
        counts = statistics(sets.train, cfg.batch_size)[2]
        rule = None if sets.layout.torques is None else TorqueThreshold.tuned(sets.train, cfg.batch_size)
        tuned = None if rule is None else {"window": rule.window, "thresholds": rule.thresholds}
        checkpoints.close({"network": frame.state_dict(), "counts": counts, "rule": tuned})
        return cls(counts, frame, rule)

    @classmethod
    def load(cls, path: Path, layout: Layout) -> Baselines:
        """Load the baselines that `fit` saved at `path`."""
        known = checkpoint.load(path)["baselines"]
        frame = FrameNet(layout.size, len(layout.classes), FRAME_HIDDEN)
        frame.load_state_dict(known["network"])
        tuned = known["rule"]
        rule = None if tuned is None else TorqueThreshold(layout, tuned["window"], tuned["thresholds"])
        return cls(known["counts"], frame.eval(), rule)

    def guesses(self) -> dict[str, Baseline]:
        """Return name -> baseline."""
        found: dict[str, Baseline] = {
            "majority": lambda inputs: majority(self.counts, inputs),
            "one_frame": lambda inputs: guess_of(self.frame)(inputs),
        }
        if self.rule is not None:
            found["torque_threshold"] = self.rule.probabilities
        return found


class _BaselineCheckpoints:
    """A `BestCheckpointStore` of one file: best weights, newest training state and, at the end, the baselines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._best: StateDict = {}
        self._training: StateDict = {}
        self._metric: float | None = None

    def load(self) -> StateDict | None:
        if not self.path.exists():
            return None
        known = checkpoint.load(self.path)
        self._best, self._metric = known["best"], known["metric"]
        training: StateDict = known["training"]
        return training

    def save(
        self,
        step: int,
        network: StateDict,
        training: StateDict,
        metric: float | None,
        epoch: int | None = None,
    ) -> None:
        if metric is not None and (self._metric is None or metric > self._metric):
            self._best, self._metric = {name: value.clone() for name, value in network.items()}, metric
        self._training = training
        self._write({})

    def best(self) -> StateDict:
        return self._best

    def close(self, known: StateDict) -> None:
        """Add the fitted baselines `known` to the file."""
        training = self.load()
        assert training is not None  # `save` was called for every epoch
        self._training = training
        self._write({"baselines": known})

    def _write(self, more: StateDict) -> None:
        state = {"best": self._best, "metric": self._metric, "training": self._training, **more}
        checkpoint.save(self.path, {"format": checkpoint.FORMAT, **state})


def guess_of(net: DetectorNet) -> Baseline:
    """Return a network as a `Baseline`."""
    device = net.scaler.mean.device
    return lambda inputs: net.probabilities(unroll(net, inputs.to(device))).cpu()


def judge_all(
    guesses: dict[str, Baseline],
    frames: Iterable[Frames],
    layout: Layout,
    decision: DecisionCfg,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Verdicts]]:
    """Return name -> view -> metrics, on the same episodes, with the same decision rule and resamples.

    Args:
        guesses: name -> baseline or detector.
        frames: the episodes.
        layout: meaning of the columns.
        decision: the rule.
        resamples: behind each interval.
        seed: of the resamples.
    """
    parts: dict[str, list[Any]] = {name: [] for name in guesses}
    for batch in frames:
        for name, guess in guesses.items():
            given = guess(batch.inputs)
            parts[name].append(
                make_predictions(batch.target, given, batch.active, batch.mask, batch.unit, batch.fell, decision)
            )
    return {name: judge(joined(p), layout.classes, layout.step_dt, resamples, seed) for name, p in parts.items()}
