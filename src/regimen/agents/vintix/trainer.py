"""Training of the transformer on windows of histories, by one process or several, with a resume that is exact.

The loss is the mean over the tokens of all windows of an optimiser step: batch size, accumulation, number of processes
and an incomplete last step do not change it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from regimen.agents.training_session import require_finite
from regimen.agents.vintix.config import TrainingCfg
from regimen.agents.vintix.loss import LossSums, optimizer_of, window_loss
from regimen.agents.vintix.windows import Batch, Task, Windows
from regimen.system import distributed
from regimen.system.errors import ConfigError, DivergedError

if TYPE_CHECKING:
    from regimen.agents.training_session import CheckpointStore
    from regimen.agents.vintix.model import VintixNet
    from regimen.runs.checkpoint_header import StateDict
    from regimen.runs.run import Run


class Schedule:
    """The optimiser steps of a training.

    Attributes:
        per_epoch: optimiser steps of an epoch; the last may see fewer windows than the others.
        total: of all epochs.
    """

    def __init__(self, cfg: TrainingCfg, windows: int, processes: int, seed: int) -> None:
        """Compute the number of steps.

        Args:
            cfg: see `TrainingCfg`.
            windows: W, of an epoch.
            processes: that share a step.
            seed: of the order of windows, which is another one in each epoch.
        """
        self._cfg, self._windows, self._seed = cfg, windows, seed
        self._group = cfg.batch_size * cfg.accumulation * processes
        self.per_epoch = math.ceil(windows / self._group)
        self.total = self.per_epoch * cfg.epochs

    def epoch(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield the windows of each optimiser step, of all processes together."""
        order = np.random.default_rng((self._seed, epoch)).permutation(self._windows)
        for low in range(0, self._windows, self._group):
            yield order[low : low + self._group]

    def share(self, windows: np.ndarray, process: int, processes: int) -> list[np.ndarray]:
        """Return the batches of a step's windows for one process; there may be none."""
        mine, size = windows[process::processes], self._cfg.batch_size
        return [mine[low : low + size] for low in range(0, len(mine), size)]

    def learning_rate(self, step: int) -> float:
        """Return the rate of optimiser step `step`: up a line, then down half a cosine (Loshchilov and Hutter 2017)."""
        cfg, warm = self._cfg, round(self._cfg.warmup_ratio * self.total)
        if step < warm:
            return cfg.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.total - 1 - warm)
        height = 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
        return cfg.min_learning_rate + (cfg.learning_rate - cfg.min_learning_rate) * height


class Training:
    """Trains one network.

    Attributes:
        schedule: its steps.
        val_loss: on histories held out, after the last epoch; None where there are none.
        loss: of the last epoch.
    """

    def __init__(
        self, net: VintixNet, tasks: list[Task], cfg: TrainingCfg, run: Run, checkpoints: CheckpointStore, seed: int
    ) -> None:
        """Prepare.

        Args:
            net: on the device to train on; the same in all processes.
            tasks: see `data.load`.
            cfg: see `TrainingCfg`.
            run: receives metrics and progress; its `check_stop` may stop the training.
            checkpoints: of this training; its `load` also restores the network.
            seed: of order and dropout.
        """
        self.net, self.cfg, self.run, self.checkpoints, self.seed = net, cfg, run, checkpoints, seed
        self.tasks = tasks
        self.windows = Windows(tasks, net.cfg.context)
        self.held_out = Windows(tasks, net.cfg.context, held_out=True)
        self.rank, self.processes = distributed.rank(), distributed.world_size()
        self.schedule = Schedule(cfg, len(self.windows), self.processes, seed)
        self.device = net.norm.weight.device
        self.optimizer = optimizer_of(net, cfg)
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.loss = float("nan")
        self.val_loss: float | None = None
        self._seconds = [0.0, 0.0]  # making batches, and in all
        self._epoch = self._in_epoch = self._step = 0
        self._sums = LossSums(len(tasks))  # since the last row of metrics
        self._epoch_sums = LossSums(len(tasks))
        self._norm, self._waited, self._clock = 0.0, 0.0, time.perf_counter()
        self._begun: tuple[int, float] | None = None

    def fit(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            StopRequested: a signal had come; a checkpoint is written.
            DivergedError: the gradient or the weights became non-finite.
            ConfigError: a resumed run would have other steps.
        """
        saved = self.checkpoints.load()
        if saved is not None:
            self._restore(saved)
        while self._epoch < self.cfg.epochs:
            self._run_epoch()

    @property
    def data_share(self) -> float:
        """Share of this process's time that was spent on making batches."""
        return self._seconds[0] / max(self._seconds[1], 1e-9)

    def _run_epoch(self) -> None:
        self._clock = time.perf_counter()
        for number, windows in enumerate(self.schedule.epoch(self._epoch)):
            if number < self._in_epoch:
                continue  # done before the run was stopped
            self._update(windows)
            self._in_epoch, self._step = number + 1, self._step + 1
            if self._step % self.cfg.log_interval == 0:
                self._log({})
            self._show_progress()
            if self._in_epoch < self.schedule.per_epoch:
                self.run.check_stop(self._step, lambda: self._save(None, None))
        self._end_epoch()

    def _update(self, windows: np.ndarray) -> None:
        """Do one step of the optimiser, on the mean loss of `windows` of all processes."""
        self.net.train()
        torch.manual_seed((self.seed * 1_000_003 + self._step) * self.processes + self.rank)  # of dropout
        self.optimizer.zero_grad(set_to_none=False)
        for numbers in self.schedule.share(windows, self.rank, self.processes):
            self._backward(numbers, len(windows))
        self._share_gradients()
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(self._step)
        self._norm = float(nn.utils.clip_grad_norm_(self.parameters, self.cfg.grad_norm_clip))
        if not np.isfinite(self._norm):
            raise DivergedError(f"The gradient became {self._norm} in epoch {self._epoch + 1}, step {self._step + 1}.")
        self.optimizer.step()

    def _backward(self, numbers: np.ndarray, total: int) -> None:
        """Add the gradient of the windows `numbers` to that of the step, which has `total` windows."""
        begun = time.perf_counter()
        batches = [batch.to(self.device) for batch in self.windows.batches(numbers)]
        self._waited += time.perf_counter() - begun
        losses = self._losses(batches)
        (torch.cat(losses).sum() / total).backward()
        for batch, each in zip(batches, losses, strict=True):
            self._sums.add(batch.task, each.detach())
            self._epoch_sums.add(batch.task, each.detach())

    def _losses(self, batches: list[Batch]) -> list[torch.Tensor]:
        """Return the mean loss of each window's tokens, (B,) for each batch; the trunk runs once for all windows."""
        names = [self.tasks[batch.task].group for batch in batches]
        # Encoders are small and keep float32: 8 bits of an angle or a speed are not enough to steer by.
        tokens = [
            self.net.encoders[name](batch.observation, batch.action, batch.reward, batch.begins)
            for name, batch in zip(names, batches, strict=True)
        ]
        with _autocast(self.cfg.precision, self.device):
            seen = self.net.trunk(torch.cat(tokens)).split([len(part) for part in tokens])
            out = [self.net.heads[name](part) for name, part in zip(names, seen, strict=True)]
        discrete = [self.net.groups[name].discrete for name in names]
        return [window_loss(o.float(), b.target, d) for o, b, d in zip(out, batches, discrete, strict=True)]

    def _share_gradients(self) -> None:
        """Add up the gradients of all processes; one that had no window of a group adds nothing to it."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.processes == 1:
            return
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _end_epoch(self) -> None:
        require_finite(self.net.state_dict(), "vintix")
        self.loss = self._epoch_sums.shared(self.device).mean()
        self.val_loss = self._validate()
        self._epoch, self._in_epoch = self._epoch + 1, 0
        self._epoch_sums = LossSums(len(self.tasks))
        losses = {"Train/epoch_loss": self.loss}
        self._log(losses if self.val_loss is None else losses | {"Train/val_loss": self.val_loss})
        last = self._epoch == self.cfg.epochs
        if last or self._epoch % self.cfg.save_every == 0:
            self._save(-(self.loss if self.val_loss is None else self.val_loss), self._epoch)
            self.run.check_stop(self._step, lambda: None)
        else:
            self.run.check_stop(self._step, lambda: self._save(None, None))

    def _validate(self) -> float | None:
        """Return the mean loss on windows of histories held out."""
        if not len(self.held_out):
            return None
        self.net.eval()
        sums, size = LossSums(len(self.tasks)), self.cfg.batch_size
        numbers = np.arange(len(self.held_out))[self.rank :: self.processes]
        with torch.no_grad():
            for low in range(0, len(numbers), size):
                batches = [batch.to(self.device) for batch in self.held_out.batches(numbers[low : low + size])]
                for batch, each in zip(batches, self._losses(batches), strict=True):
                    sums.add(batch.task, each)
        return sums.shared(self.device).mean()

    def _log(self, more: dict[str, float]) -> None:
        """Write a row of metrics on what was learned since the last one."""
        sums, seconds = self._sums.shared(self.device), max(time.perf_counter() - self._clock, 1e-9)
        self._seconds = [self._seconds[0] + self._waited, self._seconds[1] + seconds]
        row = {
            "Train/learning_rate": self.schedule.learning_rate(max(0, self._step - 1)),
            "Train/grad_norm": self._norm,
            "Perf/tokens_per_s": sums.windows() * self.net.cfg.context / seconds,
            "Perf/data_share": self._waited / seconds,
        }
        if sums.windows():
            row["Train/action_loss"] = sums.mean()
            if len(self.tasks) > 1:
                row |= {f"Train/action_loss/{self.tasks[i].name}": value for i, value in sums.means().items()}
            self.run.log(self._step, row | more)
        elif more:
            self.run.log(self._step, more)
        self._sums, self._waited, self._clock = LossSums(len(self.tasks)), 0.0, time.perf_counter()

    def _show_progress(self) -> None:
        self._begun = self._begun or (self._step, time.perf_counter())
        rate = (self._step - self._begun[0]) / max(time.perf_counter() - self._begun[1], 1e-9)
        eta = (self.schedule.total - self._step) / rate if rate > 0 else None
        loss = self.loss if self.val_loss is None else self.val_loss
        note = f"epoch {self._epoch + 1} of {self.cfg.epochs}, loss {loss:.4f}"
        self.run.progress(iteration=self._step, iterations=self.schedule.total, eta_s=eta, note=note)

    def _save(self, metric: float | None, epoch: int | None) -> None:
        sums = [part.shared(self.device).state() for part in (self._sums, self._epoch_sums)]
        state = {
            "optimizer": self.optimizer.state_dict(),
            "place": [self._epoch, self._in_epoch, self._step],
            "plan": [self.schedule.per_epoch, self.schedule.total],
            "sums": sums,
            "losses": [self.loss, self.val_loss],
            "norm": self._norm,
        }
        if self.run.leads:
            self.checkpoints.save(self._step, dict(self.net.state_dict()), state, metric, epoch)

    def _restore(self, state: StateDict) -> None:
        plan = [self.schedule.per_epoch, self.schedule.total]
        if state["plan"] != plan:
            raise ConfigError(
                f"This run was planned as {state['plan']} steps in an epoch and in all, now it would be {plan}: the "
                "data, the batch or the number of processes changed. Start a new run."
            )
        self.optimizer.load_state_dict(state["optimizer"])
        self._epoch, self._in_epoch, self._step = state["place"]
        first = self.rank == 0  # sums over all processes, restored once
        self._sums, self._epoch_sums = (LossSums.of(s) if first else LossSums(len(self.tasks)) for s in state["sums"])
        self.loss, self.val_loss = state["losses"]
        self._norm = state["norm"]


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    on = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=on)
