"""Truncated backpropagation through time over whole episodes, with a resume that is exact.

An episode is cut into chunks; the hidden state goes from one chunk to the next without its gradient (Williams and Peng
1990). It begins at zero with each episode, and padding counts for nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import nn

from regimen.agents.failure_detector.frames import statistics
from regimen.agents.failure_detector.metrics import confusion, macro_f1
from regimen.agents.failure_detector.model import unroll
from regimen.agents.training_session import CheckpointStore, require_finite
from regimen.runs import checkpoint
from regimen.system.errors import DivergedError

if TYPE_CHECKING:
    from regimen.agents.failure_detector.frames import Frames, FrameSets
    from regimen.agents.failure_detector.model import DetectorNet
    from regimen.runs.checkpoint_header import StateDict
    from regimen.runs.run import Run


@dataclass
class TrainingCfg:
    """Hyperparameters of the training.

    Attributes:
        epochs: at most; each epoch reads every training episode once.
        patience: epochs without a better macro-F1 on validation after which it stops.
        batch_size: episodes side by side.
        chunk: steps through which gradients go back.
        learning_rate: of Adam at the begin; it falls to zero over `epochs` along half a cosine (Loshchilov and Hutter
            2017).
        class_weighting: 0 weighs all frames equally, 1 all classes equally; values between interpolate.
        grad_norm_clip: bound on the norm of the gradient.
    """

    epochs: int = 30
    patience: int = 6
    batch_size: int = 64
    chunk: int = 100
    learning_rate: float = 2e-3
    class_weighting: float = 0.5
    grad_norm_clip: float = 1.0

    def problems(self) -> list[str]:
        """Return what is wrong with the figures, one line each."""
        counts = {name: getattr(self, name) for name in ("epochs", "patience", "batch_size", "chunk")}
        lines = [f"training.{name}={value}: expected 1 or more." for name, value in counts.items() if value < 1]
        if self.learning_rate <= 0 or self.grad_norm_clip <= 0:
            lines.append("training.learning_rate and training.grad_norm_clip: expected more than 0.")
        if not 0.0 <= self.class_weighting <= 1.0:
            lines.append(f"training.class_weighting={self.class_weighting}: expected 0 to 1.")
        return lines


class BestCheckpointStore(CheckpointStore, Protocol):
    """A `CheckpointStore` that also reads the best checkpoint."""

    def best(self) -> StateDict:
        """Return the `network` part of the checkpoint with the highest metric."""
        ...


class Training:
    """Trains one network.

    Attributes:
        history: one row per epoch: `epoch`, `loss`, `val_loss`, `val_macro_f1`.
        data_share: share of the last epoch that was spent waiting for data.
        done: whether it has ended.
    """

    def __init__(
        self,
        net: DetectorNet,
        sets: FrameSets,
        cfg: TrainingCfg,
        run: Run,
        checkpoints: BestCheckpointStore,
        seed: int,
        log: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        """Prepare; the scaler is fit on the training split.

        Args:
            net: on the device to train on.
            sets: the data.
            cfg: see `TrainingCfg`.
            run: receives progress; its `check_stop` may stop the training.
            checkpoints: of this training.
            seed: of order and dropout.
            log: called after every epoch with the batches so far and figures by name.
        """
        self.net, self.sets, self.cfg, self.run, self.checkpoints, self.seed, self.log = (
            net, sets, cfg, run, checkpoints, seed, log,
        )  # fmt: skip
        self.device = net.scaler.mean.device
        self.optimizer = torch.optim.Adam(net.parameters(), lr=cfg.learning_rate)
        self.history: list[dict[str, float]] = []
        self.done, self.data_share = False, 0.0
        self._epoch = self._batch = self._step = self._stale = 0
        self._sums = [0.0, 0.0]  # loss and frames of this epoch
        self._seconds = [0.0, 0.0]  # waiting for data, and in all
        self._best = -1.0
        self._clock: tuple[int, float] | None = None  # batches done and time when this process began
        self._weights = torch.ones(len(sets.layout.classes), device=self.device)

    def fit(self) -> None:
        """Train to the end, from the last checkpoint if there is one, and load the best weights.

        Raises:
            StopRequested: a signal had come; a checkpoint is written.
            DivergedError: loss or weights became non-finite.
        """
        saved = self.checkpoints.load()
        if saved is None:
            torch.manual_seed(self.seed)
            self._prepare()
        else:
            self._restore(saved)
        while not self.done:
            self._run_epoch()
        self.net.load_state_dict(self.checkpoints.best())
        self.net.eval()

    def _prepare(self) -> None:
        """Fit the scaler and the class weights, on training frames alone."""
        mean, std, counts = statistics(self.sets.train, self.cfg.batch_size)
        self.net.scaler.fit(mean.to(self.device), std.to(self.device))
        share = counts / counts.sum()
        weights = torch.where(counts > 0, (1.0 / (len(counts) * share)) ** self.cfg.class_weighting, 0.0)
        self._weights = (weights / (weights * share).nansum()).float().to(self.device)

    def _run_epoch(self) -> None:
        rng = np.random.default_rng((self.seed, self._epoch))
        for group in self.optimizer.param_groups:
            group["lr"] = self.cfg.learning_rate * 0.5 * (1.0 + math.cos(math.pi * self._epoch / self.cfg.epochs))
        clock = time.perf_counter()
        begun, waited = clock, 0.0
        for number, frames in enumerate(self.sets.train.epoch(self.cfg.batch_size, rng)):
            if number < self._batch:
                continue  # done before the run was stopped
            waited += time.perf_counter() - clock
            self._learn(frames)
            self._batch, self._step = number + 1, self._step + 1
            self._seconds[0] += waited
            self._show_progress()
            self.run.check_stop(self._step, lambda: self._save(None))
            clock, waited = time.perf_counter(), 0.0
        self._seconds[1] += time.perf_counter() - begun
        self._end_epoch()

    def _learn(self, frames: Frames) -> None:
        """Go through a batch of episodes chunk by chunk, with one update for each."""
        self.net.train()
        inputs, target, mask = (getattr(frames, n).to(self.device) for n in ("inputs", "target", "mask"))
        state = self.net.initial(len(inputs))
        for low in range(0, inputs.shape[1], self.cfg.chunk):
            part = slice(low, low + self.cfg.chunk)
            logits, state = self.net(inputs[:, part], state.detach())
            frames_here = int(mask[:, part].sum())
            loss = self._loss(logits, target[:, part], mask[:, part])
            value = float(loss.detach())
            if not np.isfinite(value):
                raise DivergedError(f"The loss became {value} in epoch {self._epoch + 1}, batch {self._batch + 1}.")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.net.parameters(), self.cfg.grad_norm_clip)
            self.optimizer.step()
            self._sums[0] += value * frames_here
            self._sums[1] += frames_here

    def _loss(self, logits: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the mean weighted cross-entropy of logits (B, l, O) over frames that are no padding."""
        logits, target = logits[mask], target[mask]
        if self.net.head_kind == "softmax":
            each = nn.functional.cross_entropy(logits, target, self._weights, reduction="none")
            return each.mean()
        wanted = nn.functional.one_hot(target, logits.shape[1] + 1)[:, 1:].to(logits.dtype)
        each = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(1)
        return (each * self._weights[target]).mean()

    def _end_epoch(self) -> None:
        require_finite(self.net.state_dict(), "detector")
        figures = self._validate()
        row = {"epoch": self._epoch + 1, "loss": self._sums[0] / max(self._sums[1], 1.0), **figures}
        self.history.append(row)
        self.data_share = self._seconds[0] / max(self._seconds[1], 1e-9)
        score = figures["val_macro_f1"]
        self._stale = 0 if score > self._best else self._stale + 1
        self._best = max(self._best, score)
        self._epoch, self._batch, self._sums, self._seconds = self._epoch + 1, 0, [0.0, 0.0], [0.0, 0.0]
        self.done = self._epoch >= self.cfg.epochs or self._stale >= self.cfg.patience
        if self.log is not None:
            logged = {f"Train/{name}": value for name, value in row.items() if name != "epoch"}
            self.log(self._step, logged | {"Perf/data_share": self.data_share})
        self._save(score)
        if not self.done:
            self.run.check_stop(self._step, lambda: None)

    def _validate(self) -> dict[str, float]:
        """Return loss and macro-F1 on the validation split."""
        counts = np.zeros((len(self.sets.layout.classes),) * 2, dtype=np.int64)
        total = frames_seen = 0.0
        for frames in self.sets.val.epoch(self.cfg.batch_size):
            logits = unroll(self.net, frames.inputs.to(self.device), self.cfg.chunk)
            mask, target = frames.mask.to(self.device), frames.target.to(self.device)
            here = float(mask.sum())
            total, frames_seen = total + float(self._loss(logits, target, mask)) * here, frames_seen + here
            guess = self.net.probabilities(logits).argmax(-1)
            counts += confusion(target[mask].cpu().numpy(), guess[mask].cpu().numpy(), len(counts))
        return {"val_loss": total / max(frames_seen, 1.0), "val_macro_f1": macro_f1(counts)}

    def _show_progress(self) -> None:
        per_epoch = self.sets.train.batches(self.cfg.batch_size)
        done, total = self._epoch * per_epoch + self._batch, self.cfg.epochs * per_epoch
        self._clock = self._clock or (done, time.perf_counter())
        rate = (done - self._clock[0]) / max(time.perf_counter() - self._clock[1], 1e-9)
        note = f"epoch {self._epoch + 1} of at most {self.cfg.epochs}, macro-F1 {max(self._best, 0.0):.3f}"
        eta = (total - done) / rate if rate > 0 else None
        self.run.progress(iteration=done, iterations=total, eta_s=eta, note=note)

    def _save(self, metric: float | None) -> None:
        training = {
            "optimizer": self.optimizer.state_dict(),
            "network": self.net.state_dict(),
            "rng": checkpoint.rng_state(),
            "weights": self._weights,
            "place": [self._epoch, self._batch, self._step, self._stale],
            "sums": list(self._sums),
            "best": self._best,
            "history": [dict(row) for row in self.history],
            "done": self.done,
        }
        self.checkpoints.save(self._step, dict(self.net.state_dict()), training, metric)

    def _restore(self, state: StateDict) -> None:
        self.net.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._weights = state["weights"].to(self.device)
        self._epoch, self._batch, self._step, self._stale = state["place"]
        self._sums, self._best = list(state["sums"]), state["best"]
        self.history, self.done = [dict(row) for row in state["history"]], state["done"]
        checkpoint.set_rng_state(state["rng"])
