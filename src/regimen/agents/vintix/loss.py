"""Loss, optimizer and loss accumulation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from regimen.agents.vintix.config import TrainingCfg
from regimen.system import distributed

LEAST_SPREAD = 0.05
"""Standard deviation of an action, in units of the action, below which a learned spread does not fall."""


def optimizer_of(net: nn.Module, cfg: TrainingCfg) -> torch.optim.AdamW:
    """Return AdamW with decay on the weights of linear layers alone: not on biases, norms and learned vectors."""
    linear = {id(m.weight) for m in net.modules() if isinstance(m, nn.Linear)}
    decayed = [p for p in net.parameters() if id(p) in linear]
    others = [p for p in net.parameters() if id(p) not in linear]
    groups = [{"params": decayed, "weight_decay": cfg.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (cfg.betas[0], cfg.betas[1])
    return torch.optim.AdamW(groups, lr=cfg.learning_rate, betas=betas, fused=True)


def window_loss(out: torch.Tensor, target: torch.Tensor, discrete: bool) -> torch.Tensor:
    """Return the mean loss of the tokens of each window, (B,).

    Args:
        out: (B, T, A) actions, or logits of discrete ones; (B, T, 2 A) actions with their spread, see `spread`.
        target: (B, T, A) actions that were taken, or their one-hot codes.
        discrete: cross-entropy, else the squared error, or the likelihood where there is a spread.
    """
    if discrete:
        return -(target * functional.log_softmax(out, dim=-1)).sum(-1).mean(1)
    if out.shape[-1] > target.shape[-1]:
        mean, deviation = spread(out)
        return ((target - mean).square() / (2 * deviation.square()) + deviation.log()).mean((1, 2))
    return (out - target).square().mean((1, 2))


def spread(out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation (…, A) of the normal distribution that a head outputs, (…, 2 A).

    The deviation is at least `LEAST_SPREAD`: for equal actions the likelihood would be unbounded.
    """
    mean, log_deviation = out.chunk(2, dim=-1)
    return mean, LEAST_SPREAD + functional.softplus(log_deviation)


class LossSums:
    """Sums of window losses by task, on their device."""

    def __init__(self, tasks: int) -> None:
        """Set the sums of `tasks` tasks to 0."""
        self._loss = [torch.zeros((), dtype=torch.float64)] * tasks
        self._count = [0] * tasks

    @classmethod
    def of(cls, state: list[list[float]]) -> LossSums:
        """Rebuild from `state`."""
        sums = cls(len(state))
        sums._loss = [torch.tensor(loss, dtype=torch.float64) for loss, _ in state]
        sums._count = [int(count) for _, count in state]
        return sums

    def add(self, task: int, losses: torch.Tensor) -> None:
        """Count windows of a task with these losses, (B,)."""
        self._loss[task] = self._loss[task].to(losses.device) + losses.sum(dtype=torch.float64)
        self._count[task] += len(losses)

    def shared(self, device: torch.device) -> LossSums:
        """Return the sums over all processes."""
        if distributed.world_size() == 1:
            return self
        table = torch.tensor(self.state(), dtype=torch.float64, device=device)
        torch.distributed.all_reduce(table)
        return LossSums.of(table.tolist())

    def state(self) -> list[list[float]]:
        """Return sum and number for each task."""
        return [[float(loss), float(count)] for loss, count in zip(self._loss, self._count, strict=True)]

    def windows(self) -> int:
        """Return the number of windows."""
        return sum(self._count)

    def mean(self) -> float:
        """Return the mean over all windows, 0 if there are none."""
        return float(sum(float(loss) for loss in self._loss) / max(1, self.windows()))

    def means(self) -> dict[int, float]:
        """Return the mean of each task that has windows."""
        return {i: float(self._loss[i]) / n for i, n in enumerate(self._count) if n}
