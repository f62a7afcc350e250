"""Transitions as the rows of a channel between actors and a learner, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.data.transition_buffer import Transitions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regimen.agents.actor_learner.channel import Rows, RowSpec

BEFORE, AFTER = "obs/", "next/"


def row_spec(sizes: Mapping[str, int], num_actions: int, images: Mapping[str, list[int]] | None = None) -> RowSpec:
    """Return the columns of a row.

    Args:
        sizes: width of each observation group.
        num_actions: A.
        images: camera -> [H, W, C].
    """
    spec: dict[str, tuple[str, tuple[int, ...]]] = {
        side + group: ("float32", (size,)) for side in (BEFORE, AFTER) for group, size in sizes.items()
    }
    spec |= {side + name: ("uint8", tuple(size)) for side in (BEFORE, AFTER) for name, size in (images or {}).items()}
    spec |= {"action": ("float32", (num_actions,)), "intervened": ("bool", ())}
    return spec | {name: ("float32", ()) for name in ("reward", "mask")}


def rows_of(steps: Transitions) -> Rows:
    """Return transitions as rows, copied: images uint8, everything else float32 or bool."""
    columns = {BEFORE + group: x for group, x in steps.obs.items()}
    columns |= {AFTER + group: x for group, x in steps.next_obs.items()}
    columns |= {"action": steps.action, "reward": steps.reward, "mask": steps.mask}
    rows = {name: column.detach().to("cpu", _type_of(column), copy=True).numpy() for name, column in columns.items()}
    return rows | {"intervened": steps.intervened.cpu().numpy().copy()}


def _type_of(column: torch.Tensor) -> torch.dtype:
    return torch.uint8 if column.dtype == torch.uint8 else torch.float32


def transitions_of(rows: Rows) -> Transitions:
    """Return rows as transitions, which share their memory where it can be written to."""
    tensors = {name: torch.from_numpy(np.require(column, requirements="W")) for name, column in rows.items()}
    obs, following = (
        {name.removeprefix(side): x for name, x in tensors.items() if name.startswith(side)} for side in (BEFORE, AFTER)
    )
    rest = (tensors["reward"], tensors["mask"], following, tensors["intervened"])
    return Transitions(obs, tensors["action"], *rest)
