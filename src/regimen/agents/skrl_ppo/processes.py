"""skrl in one of several processes of a run: its import, and statistics over all processes.

skrl's distributed mode averages gradients and the KL divergence of its learning rate. It leaves the statistics of
normalisers and advantages to each process, and fails where a model has no gradients, as during a value warm-up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from regimen.agents import data_parallel
from regimen.system.distributed import rank, world_size


@contextmanager
def importable() -> Iterator[None]:
    """Let skrl be imported in one of several processes: its import would start a second process group, of NCCL."""
    size = os.environ.pop("WORLD_SIZE", None)
    try:
        yield
    finally:
        if size is not None:
            os.environ["WORLD_SIZE"] = size


def join(ppo: Any) -> None:
    """Let a skrl agent learn together with those of the other processes; change nothing with one process.

    Gradients, learning rate, normalisers and advantages then are those of one process with the rows of all.

    Args:
        ppo: skrl's PPO.
    """
    if world_size() == 1:
        return
    import skrl.agents.torch.ppo.ppo as library
    from skrl import config

    shared = config.torch
    shared._is_distributed, shared._rank, shared._world_size = True, rank(), world_size()
    models = {id(model): model for model in (ppo.policy, ppo.value)}.values()
    parameters = [parameter for model in models for parameter in model.parameters()]
    data_parallel.share(parameters)
    # The update calls the method of the policy, then of the value network: one message with the gradients of both.
    ppo.value.reduce_parameters = _nothing
    ppo.policy.reduce_parameters = partial(_average, parameters)
    for name, module in ppo.checkpoint_modules.items():
        if name.endswith("_preprocessor"):
            module._parallel_variance = partial(_add_rows, module._parallel_variance)
    if not isinstance(library.compute_gae, partial):
        library.compute_gae = partial(_estimated, library.compute_gae)


def _nothing() -> None:
    """Do nothing: the gradients of the value network are averaged with those of the policy."""


def _average(parameters: list[torch.nn.Parameter]) -> None:
    data_parallel.average([parameter.grad for parameter in parameters if parameter.grad is not None])


def _add_rows(update: Callable[..., None], mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
    """Update a normaliser by mean, variance (d,) and number of the rows of all processes."""
    update(*data_parallel.merged_moments(mean, variance, count))


def _estimated(estimate: Callable[..., tuple[torch.Tensor, torch.Tensor]], **rollout: Any) -> tuple[torch.Tensor, ...]:
    """Return the returns, and the advantages standardised over all processes, of skrl's `compute_gae`."""
    returns, _ = estimate(**rollout)
    return returns, data_parallel.standardised(returns - rollout["values"])
