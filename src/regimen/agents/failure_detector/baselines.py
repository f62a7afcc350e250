"""The baselines of a detector, and their evaluation beside it by the same metrics on the same episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regimen.agents.failure_detector.frames import statistics
from regimen.agents.failure_detector.metrics import Verdicts, confusion, joined, judge, macro_f1, make_predictions
from regimen.agents.failure_detector.model import FrameNet, unroll
from regimen.agents.failure_detector.trainer import Training, TrainingCfg
from regimen.runs import checkpoint

if TYPE_CHECKING:
    from regimen.agents.failure_detector.decision_rule import DecisionCfg
    from regimen.agents.failure_detector.frames import Frames, FrameSet, FrameSets, Layout
    from regimen.agents.failure_detector.model import DetectorNet
    from regimen.runs.checkpoint_header import StateDict
    from regimen.runs.run import Run


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
        thresholds: (J,) N·m; of several joints below theirs, the one the furthest below, in relation, is named; 0 for a
            joint that is never named.
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
        relation, joint = (peaks / self.thresholds).masked_fill(self.thresholds <= 0, torch.inf).min(-1)
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
    """Return for each joint the threshold (J,) with the highest F1 of `peak below it` for `that joint is faulty`.

    It is 0 for a joint without faulty frames.
    """
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
        state = checkpoint.load(path)["baselines"]
        frame = FrameNet(layout.size, len(layout.classes), FRAME_HIDDEN)
        frame.load_state_dict(state["network"])
        tuned = state["rule"]
        rule = None if tuned is None else TorqueThreshold(layout, tuned["window"], tuned["thresholds"])
        return cls(state["counts"], frame.eval(), rule)

    def guesses(self) -> dict[str, Baseline]:
        """Return name -> baseline."""
        baselines: dict[str, Baseline] = {
            "majority": lambda inputs: majority(self.counts, inputs),
            "one_frame": lambda inputs: guess_of(self.frame)(inputs),
        }
        if self.rule is not None:
            baselines["torque_threshold"] = self.rule.probabilities
        return baselines


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
        state = checkpoint.load(self.path)
        self._best, self._metric = state["best"], state["metric"]
        training: StateDict = state["training"]
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

    def close(self, baselines: StateDict) -> None:
        """Add the fitted baselines to the file."""
        training = self.load()
        assert training is not None  # `save` was called for every epoch
        self._training = training
        self._write({"baselines": baselines})

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
