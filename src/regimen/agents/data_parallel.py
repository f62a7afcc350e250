"""What keeps several workers of a training in step: the same weights, the mean of their gradients, one set of sums.

With a single worker all of it leaves things as they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import distributed

from regimen.system.distributed import rank, world_size

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv

RANK_SEED = 7_368_787
"""What lies between the seeds of two workers: more than any of them has envs."""


def seed_all(seed: int) -> None:
    """Seed the generators of torch, numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def own_seed(seed: int) -> int:
    """Return the seed of what this worker draws for itself."""
    return seed + RANK_SEED * rank()


def share(tensors: Iterable[torch.Tensor]) -> None:
    """Give all workers the first one's values."""
    if world_size() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor.detach(), src=0)


def total(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum over all workers; `tensor` is overwritten."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def average(gradients: list[torch.Tensor]) -> None:
    """Replace gradients by their mean over all workers, in one message."""
    if world_size() > 1:
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        parts = flat.div_(world_size()).split([g.numel() for g in gradients])
        torch._foreach_copy_(gradients, [p.view_as(g) for p, g in zip(parts, gradients, strict=True)])


def share_curriculum(env: VecEnv) -> None:
    """Take the mean of all workers' levels in the task's curriculum, where it has one."""
    curriculum = getattr(env, "curriculum", None)
    if world_size() > 1 and curriculum is not None and len(curriculum.levels):
        curriculum.set_levels(total(curriculum.levels) / world_size())
