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


def share_curriculum(env: VecEnv) -> None:
    """Set the curriculum levels of the task, where it has any, to their mean over all processes."""
    curriculum = getattr(env, "curriculum", None)
    if world_size() > 1 and curriculum is not None and len(curriculum.levels):
        curriculum.set_levels(total(curriculum.levels) / world_size())
