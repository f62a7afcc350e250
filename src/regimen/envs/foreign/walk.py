"""Walk the objects of an environment: every tensor, array and number that they hold, read and written in place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict

Found = tuple[str, Any, Any, Any]
"""Path, owner, key and value of a tensor, a number, or a tuple of numbers."""

FOREIGN = ("torch", "numpy", "gymnasium", "pxr", "logging", "threading", "weakref", "asyncio", "warp", "mujoco")
"""Packages whose objects are not walked; their tensors and arrays are values."""

OWN = "env"
"""Path of the attributes of the environment itself; a step replaces some of its tensors by others."""

DEPTH = 10


class Walk:
    """Paths and owners of the values below some objects, each memory once, in an order that is always the same."""

    def __init__(self, skipped: frozenset[str], foreign: tuple[str, ...] = FOREIGN) -> None:
        """Start.

        Args:
            skipped: attributes that lead away from the state.
            foreign: packages and modules whose objects are not walked.
        """
        self.skipped, self.foreign = skipped, foreign
        self.seen: set[int] = set()
        self.memory: set[tuple[int, ...]] = set()

    def values(self, value: Any, path: str, owner: Any, key: Any, depth: int = 0) -> Iterator[Found]:
        """Yield what is found below `value`."""
        tensor = as_tensor(value)
        if tensor is not None:
            place = (tensor.data_ptr(), tensor.numel(), *tensor.stride())
            if tensor.numel() and place not in self.memory:
                self.memory.add(place)
                yield path, owner, key, tensor
        elif _is_number(value) or (type(value) is tuple and value and all(map(_is_number, value))):
            yield path, owner, key, value
        elif depth < DEPTH and id(value) not in self.seen:
            self.seen.add(id(value))
            for name, child in self._children(value):
                yield from self.values(child, f"{path}.{name}", value, name, depth + 1)

    def _children(self, value: Any) -> Iterator[tuple[Any, Any]]:
        if isinstance(value, Mapping):
            yield from ((k, v) for k, v in value.items() if isinstance(k, str | int))
        elif isinstance(value, list | tuple | deque):
            yield from enumerate(value)
        elif not isinstance(value, type | str | bytes) and not callable(getattr(value, "__wrapped__", None)):
            module = f"{type(value).__module__}."
            if module == "builtins." or any(module.startswith(f"{name}.") for name in self.foreign):
                return
            yield from ((k, v) for k, v in getattr(value, "__dict__", {}).items() if k not in self.skipped)


def _is_number(value: Any) -> bool:
    return type(value) in (bool, int, float)  # not an enumeration


def as_tensor(value: Any) -> torch.Tensor | None:
    """Return a view of a tensor or of an array of Warp or NumPy; None for anything else."""
    if isinstance(value, torch.Tensor):
        return _without_repetition(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(value) if value.flags.writeable and value.dtype != np.uint32 else None
    if type(value).__module__.startswith("warp") and hasattr(value, "ptr") and hasattr(value, "dtype"):
        import warp

        try:
            return _without_repetition(warp.to_torch(value)) if value.size and value.ptr else None
        except (RuntimeError, TypeError, KeyError):  # an array of structures, or one that is not contiguous
            return None
    return None


def _without_repetition(value: torch.Tensor) -> torch.Tensor:
    """Return a view of a tensor without the axes along which it repeats one memory, such as after `expand`."""
    for axis, (size, stride) in enumerate(zip(value.shape, value.stride(), strict=True)):
        if stride == 0 and size > 1:
            value = value.narrow(axis, 0, 1)
    return value


def read(found: Iterable[Found]) -> StateDict:
    """Return path -> copy of every tensor, and every number."""
    return {path: v.clone() if isinstance(v, torch.Tensor) else v for path, _, _, v in found}


@torch.inference_mode()  # an agent that steps without gradients leaves tensors that only this mode may write
def write(found: Iterable[Found], state: StateDict) -> None:
    """Restore what `read` returned.

    Raises:
        CheckpointError: the environment holds other values than the one whose state it is.
    """
    unused = dict(state)
    for path, owner, key, now in list(found):
        if path not in unused:
            continue
        kept = unused.pop(path)
        if isinstance(now, torch.Tensor):
            if not isinstance(kept, torch.Tensor) or kept.shape != now.shape:
                raise CheckpointError(f"the state of this task does not fit: {path} has another shape.")
            now.copy_(kept)
        elif kept != now:  # a time stamp is -1 before the first reading, and a float later
            _put(owner, key, kept)
    missing = [p for p, kept in unused.items() if isinstance(kept, torch.Tensor) and not p.startswith(f"{OWN}.")]
    if missing:
        raise CheckpointError(f"the state of this task does not fit: it has no {', '.join(missing[:3])}.")


def _put(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, MutableMapping | list | deque):
        owner[key] = value
    elif not isinstance(owner, tuple):
        setattr(owner, key, value)
