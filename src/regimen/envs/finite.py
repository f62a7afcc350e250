"""Values that are not finite: found by one sum over a tensor, and named by env and step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from regimen.system.errors import DivergedError

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 5
"""Env ids in a message at most."""


def all_finite(values: torch.Tensor) -> bool:
    """Return whether all values are finite; values are examined one by one only where their sum is not finite."""
    if not values.is_floating_point() or math.isfinite(values.sum().item()):
        return True
    return bool(torch.isfinite(values).all())


def bad_rows(values: torch.Tensor) -> list[int]:
    """Return the indices of the rows of `values` (N, ...) with a value that is not finite."""
    rows: list[int] = (~torch.isfinite(values)).reshape(len(values), -1).any(1).nonzero().squeeze(1).tolist()
    return rows


def bad_column(values: torch.Tensor) -> int:
    """Return the first column of `values` (N, d) with a value that is not finite."""
    return int((~torch.isfinite(values)).any(0).nonzero()[0])


def diverged(what: str, env_ids: Sequence[int], num_envs: int, step: int) -> DivergedError:
    """Return the error about `what` that is not finite.

    Args:
        what: subject of the sentence.
        env_ids: envs concerned, at least one.
        num_envs: N.
        step: control step, counted from 0 at the seeded reset.
    """
    ids = ", ".join(map(str, env_ids[:SHOWN])) + (", …" if len(env_ids) > SHOWN else "")
    envs = f"env {ids}" if len(env_ids) == 1 else f"envs {ids}"
    return DivergedError(f"{what} is not finite in {envs} ({len(env_ids)} of {num_envs}) at step {step}.", env_ids)
