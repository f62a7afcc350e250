"""Operations at which the host would wait for a GPU, found on a CPU: each with the line of the source that asks for it.

A read of a value, a result whose size depends on values, and a tensor made of Python numbers wait on a GPU. What
the modules of a simulator do is not counted, because one on the CPU converts from NumPy, nor the step counters of
optimisers, which are on the CPU everywhere. A copy between devices shows on a GPU alone:
`torch.cuda.set_sync_debug_mode("error")`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from regimen.envs import device_reads

READS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2", "unique_dim", "bincount")
"""Names of operators that read, or whose result has a size that depends on values."""

FUNCTIONS = {
    torch.Tensor.tolist: "tolist",
    torch.Tensor.numpy: "numpy",
    torch.Tensor.cpu: "cpu",
    torch.Tensor.new_tensor: "tensor",
    torch.tensor: "tensor",
    torch.as_tensor: "tensor",
}
"""Functions that copy to the host or from it; on a CPU they call no operator of their own."""

EXEMPT = (str(Path("regimen", "envs", "sims")), str(Path("torch", "optim")))
"""Directories whose modules are not counted, nor what they call."""

NOT_NAMED = (str(Path(torch.__file__).parent), f"{sysconfig.get_path('stdlib')}{os.sep}", __file__, "<")
"""Beginnings of the paths of modules whose lines are not named."""


class DeviceWaits(TorchDispatchMode):
    """Counts the waits while it is active.

    Attributes:
        counts: `package/module.py:line operator` -> number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if kind := _kind(func, args):
            self.add(kind)
        return func(*args, **(kwargs or {}))

    def add(self, kind: str) -> None:
        """Count a wait at the line that is being executed."""
        line = _line(sys._getframe(2))
        if line is not None:
            self.counts[f"{line} {kind}"] += 1

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class _Functions(TorchFunctionMode):
    def __init__(self, waits: DeviceWaits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if kind := FUNCTIONS.get(func):
            self._waits.add(kind)
        return func(*args, **(kwargs or {}))


def _kind(func: Any, args: tuple[Any, ...]) -> str | None:
    """Return the name of an operator that waits; None for all others."""
    name = func.__name__.split(".")[0]
    if name in READS:
        return name
    if name in ("index", "index_put", "index_put_") and any(_is_mask(index) for index in args[1]):
        masked_fill = name != "index" and len(args[1]) == 1 and args[2].numel() == 1
        return None if masked_fill else f"{name} by a mask"
    if name == "repeat_interleave" and len(args) == 1:
        return name
    return None


def _is_mask(index: torch.Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)


def _line(frame: FrameType | None) -> str | None:
    """Return the innermost line outside of PyTorch and Python's own modules; None within those that are exempt."""
    found = None
    while frame is not None:
        path = frame.f_code.co_filename
        if any(directory in path for directory in EXEMPT):
            return None
        if found is None and not path.startswith(NOT_NAMED):
            found = f"{_short(Path(path))}:{frame.f_lineno}"
        frame = frame.f_back
    return found


def _short(path: Path) -> str:
    """Return a path from its package on; of a file outside of packages its name."""
    for root in ("site-packages", "src"):
        if root in path.parts:
            return "/".join(path.parts[path.parts.index(root) + 1 :])
    return path.name


@contextmanager
def counted_waits() -> Iterator[DeviceWaits]:
    """Count the waits within."""
    waits = DeviceWaits()
    with _Functions(waits), waits:
        yield waits


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Let environments and agents that are made within ask the device as if a read was not free."""
    free = device_reads.read_is_free
    with pytest.MonkeyPatch.context() as patch:
        for module in list(sys.modules.values()):
            if getattr(module, "read_is_free", None) is free:
                patch.setattr(module, "read_is_free", lambda device: False)
        yield
