"""Data-parallel helpers: broadcast weights, average gradients, sum statistics.

With one process they change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import distributed

from regimen.system.distributed import world_size

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv


def share(tensors: Iterable[torch.Tensor]) -> None:
    """Broadcast the tensors of rank 0 to all processes."""
    if world_size() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor.detach(), src=0)


def total(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum over all processes; `tensor` is overwritten."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def average(gradients: list[torch.Tensor]) -> None:
    """Replace gradients by their mean over all processes, in one message."""
    if world_size() > 1:
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        parts = flat.div_(world_size()).split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)])


def mean_scalars(scalars: dict[str, float]) -> dict[str, float]:
    """Return the mean of each scalar over all processes, which pass the same names in the same order."""
    if world_size() == 1 or not scalars:
        return scalars
    means = total(torch.tensor(list(scalars.values()), dtype=torch.float64)) / world_size()
    return dict(zip(scalars, means.tolist(), strict=True))


def standardised(values: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """Return values minus their mean, divided by their unbiased standard deviation, both over all processes."""
    count = values.numel() * world_size()
    centred = values - (total(values.sum(dtype=torch.float64)) / count).to(values.dtype)
    variance = total(centred.square().sum(dtype=torch.float64)) / (count - 1)
    return centred / (variance.sqrt().to(values.dtype) + eps)


def merged_moments(mean: torch.Tensor, variance: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return mean, unbiased variance and number of the rows of all processes (Chan, Golub, LeVeque 1979).

    Args:
        mean: (d,) of this process' rows.
        variance: (d,) unbiased.
        count: number of rows, the same in all processes.
    """
    if world_size() == 1:
        return mean, variance, count
    own = torch.stack((mean, variance)).to(torch.float64)
    parts = [torch.empty_like(own) for _ in range(world_size())]
    distributed.all_gather(parts, own)
    means, variances = torch.stack(parts, dim=1)
    rows, mean = count * world_size(), means.mean(0)
    squares = (count - 1) * variances + count * (means - mean).square()
    return mean, squares.sum(0) / (rows - 1), rows


def share_curriculum(env: VecEnv) -> None:
    """Set the curriculum levels of the task, where it has any, to their mean over all processes."""
    curriculum = getattr(env, "curriculum", None)
    if world_size() > 1 and curriculum is not None and len(curriculum.levels):
        curriculum.set_levels(total(curriculum.levels) / world_size())
