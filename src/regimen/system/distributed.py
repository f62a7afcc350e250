"""Process group of a run with several workers: rank, world size, synchronized stop.

The environment of each worker holds RANK, LOCAL_RANK and WORLD_SIZE, set by torch.distributed.run.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from regimen.system.errors import ConfigError, PreflightError

MEETING_PLACE = "REGIMEN_MEETING_PLACE"
"""Environment variable: folder in which the workers of one machine exchange their addresses."""


def rank() -> int:
    """Return the rank of this worker in the run; rank 0 writes the record."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """Return the number of this worker among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def world_size() -> int:
    """Return the number of workers of the run."""
    return int(os.environ.get("WORLD_SIZE", 1))


def init_process_group(device: str) -> None:
    """Initialize the process group of several workers: gloo between CPUs, NCCL between GPUs.

    On GPUs each worker selects its own as the current `cuda` device: NCCL does not support two workers on one.

    Args:
        device: of the agent, such as `cpu` or `cuda:0`.

    Raises:
        PreflightError: this machine has fewer GPUs than workers.
    """
    if world_size() > 1:
        from torch import cuda, distributed

        if device.startswith("cuda"):
            number, count = local_rank(), cuda.device_count()
            if number >= count:
                instead = f"hardware.processes={count}" if count else "hardware.device=cpu"
                raise PreflightError(f"Each process takes a GPU of its own: {count} here. Type {instead}.")
            cuda.set_device(number)
        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        if folder := os.environ.get(MEETING_PLACE):
            file = Path(folder, "workers").as_uri()
            distributed.init_process_group(backend, init_method=file, rank=rank(), world_size=world_size())
        else:
            distributed.init_process_group(backend)


def share_of(num_envs: int) -> int:
    """Return the number of environments of the run that this worker steps.

    Raises:
        ConfigError: the number of environments is not divisible by the number of workers.
    """
    share, rest = divmod(num_envs, world_size())
    if rest:
        raise ConfigError(
            f"env.num_envs={num_envs} is the number in all {world_size()} processes together: expected a multiple."
        )
    return share


def gather_to_first(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Return on rank 0 the values that ranks 1, 2, … pass, in this order; an empty list on the others."""
    if world_size() == 1:
        return []
    from torch import distributed

    parts: list[Any] | None = [None] * world_size() if rank() == 0 else None
    distributed.gather_object(part if rank() else None, parts)
    return parts[1:] if parts else []


def destroy_process_group() -> None:
    """Destroy the process group; otherwise the last worker logs a lost connection."""
    if world_size() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def exit_process(code: int) -> NoReturn:
    """Exit from the main thread without finalizing the interpreter, which takes most of a second after torch.

    Threads that are no daemons are waited for and `atexit` functions are called, as by `sys.exit`; only what is still
    referenced is left to the kernel. One of several workers does not even wait: a thread of gloo may still hold the
    tensors of the last message, and releases them under the interpreter's lock. If the interpreter is being finalized
    by then, the process aborts although nothing failed (seen with PyTorch 2.13 on busy cores; PyTorch's pull request
    179291 has the reason).
    """
    if world_size() == 1:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or its reader has gone
            stream.flush()
    os._exit(code)


def sync_stop_signal(signal: int | None) -> int | None:
    """Return the signal that any of the workers received, or None, so that all stop at the same step.

    Args:
        signal: signal that this worker received, or None.
    """
    return _largest(signal or 0) or None


def any_worker(flag: bool) -> bool:
    """Return whether any of the workers passes true; all of them have to call it."""
    return bool(_largest(int(flag)))


def _largest(number: int) -> int:
    """Return the largest of the numbers that the workers pass."""
    if world_size() == 1:
        return number
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        return number
    value = torch.tensor(number)
    distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
    return int(value)
