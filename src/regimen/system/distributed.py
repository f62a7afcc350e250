"""Several processes that work on one run: rank, world size, process group, agreement on a stop.

Every worker finds its number in the environment, as torch.distributed.run gives it: RANK, LOCAL_RANK, WORLD_SIZE.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from regimen.system.errors import ConfigError, PreflightError


def rank() -> int:
    """Return the number of this worker among all of the run; the first, 0, keeps the record."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Return how many workers the run has."""
    return int(os.environ.get("WORLD_SIZE", 1))


def join(device: str) -> None:
    """Meet the other workers of this run, if there are any: gloo between CPUs, NCCL between GPUs.

    On GPUs each worker takes its own, which `cuda` means from then on: NCCL refuses two workers on one.

    Args:
        device: of the agent, such as `cpu` or `cuda:0`.

    Raises:
        PreflightError: this machine has fewer GPUs than workers.
    """
    if world_size() > 1:
        from torch import cuda, distributed

        if device.startswith("cuda"):
            number, count = int(os.environ["LOCAL_RANK"]), cuda.device_count()
            if number >= count:
                instead = f"hardware.processes={count}" if count else "hardware.device=cpu"
                raise PreflightError(f"Each process takes a GPU of its own: {count} here. Type {instead}.")
            cuda.set_device(number)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")


def share_of(num_envs: int) -> int:
    """Return how many of a run's environments this worker steps.

    Raises:
        ConfigError: they cannot be divided equally.
    """
    share, rest = divmod(num_envs, world_size())
    if rest:
        raise ConfigError(
            f"env.num_envs={num_envs} is the number in all {world_size()} processes together: expected a multiple."
        )
    return share


def gather_to_first(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Return, to the first worker, what each of the others gave, in their order; to them nothing."""
    if world_size() == 1:
        return []
    from torch import distributed

    parts: list[Any] | None = [None] * world_size() if rank() == 0 else None
    distributed.gather_object(part if rank() else None, parts)
    return parts[1:] if parts else []


def leave() -> None:
    """Part from the other workers; without this the last one out complains of a lost connection."""
    if world_size() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def end(code: int) -> NoReturn:
    """End this process; one of several workers at once, without taking the interpreter down.

    A thread of gloo may still hold the tensors of the last message, and gives them back under the interpreter's lock.
    If the interpreter is going down by then, the process aborts although all went well (seen with PyTorch 2.13 on busy
    cores; PyTorch's pull request 179291 tells why).
    """
    if world_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def agreed_stop(signal: int | None) -> int | None:
    """Return the signal that any of the workers received, so that all stop at the same step.

    Args:
        signal: what this one received; None for none.
    """
    if world_size() == 1:
        return signal
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        return signal
    number = torch.tensor(signal or 0)
    distributed.all_reduce(number, op=distributed.ReduceOp.MAX)
    return int(number) or None
