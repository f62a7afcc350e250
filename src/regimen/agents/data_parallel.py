"""Data-parallel helpers: broadcast weights, average gradients, sum statistics, seed each rank.

With one process they change nothing.
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
"""Distance between the seeds of two processes; larger than the number of envs of one."""


def seed_all(seed: int) -> None:
    """Seed the generators of torch, numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def own_seed(seed: int) -> int:
    """Return the seed of this process."""
    return seed + RANK_SEED * rank()


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


def share_curriculum(env: VecEnv) -> None:
    """Set the curriculum levels of the task, where it has any, to their mean over all processes."""
    curriculum = getattr(env, "curriculum", None)
    if world_size() > 1 and curriculum is not None and len(curriculum.levels):
        curriculum.set_levels(total(curriculum.levels) / world_size())
