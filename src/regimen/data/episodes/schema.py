"""Columns and chunks of a file of episodes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

FORMAT = 1
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Column:
    """One dataset of the file, (T, N, *tail).

    Attributes:
        dtype: numpy name of the type.
        tail: shape of one env's value.
    """

    dtype: str
    tail: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of one env's value."""
        return np.dtype(self.dtype).itemsize * math.prod(self.tail)


def columns_for(groups: dict[str, int], actions: int, labels: dict[str, np.dtype[Any]]) -> dict[str, Column]:
    """Return name -> column of the layout.

    Args:
        groups: observation group -> width.
        actions: width of the action.
        labels: name -> type.
    """
    table = {f"obs/{group}": Column("float32", (width,)) for group, width in groups.items()}
    table |= {"action": Column("float32", (actions,)), "reward": Column("float32")}
    table |= {"terminated": Column("bool"), "truncated": Column("bool"), "episode": Column("int32")}
    return table | {f"labels/{name}": Column(str(dtype)) for name, dtype in labels.items()}


def chunk_steps(num_envs: int) -> int:
    """Return the rows of a chunk, which a crash may lose: 64, and more for few envs, whose rows are small."""
    return min(max(4096 // num_envs, 64), 512)


def chunk_envs(column: Column, steps: int, num_envs: int) -> int:
    """Return the number of envs in a chunk of about 1 MB, the unit in which envs are read."""
    return min(max(CHUNK_BYTES // (steps * column.bytes), 1), num_envs)
