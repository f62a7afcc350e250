"""Memory of the networks of an agent and of one update, estimated before the start from the widths of their layers."""

from __future__ import annotations

from collections.abc import Sequence

HEAP_SHARE = 1.6
"""Memory of blocks over their content. glibc maps only blocks above 32 MiB one by one; those below stay in its heap
once they are free, where blocks of other sizes fill the gaps in part. An update of PPO with 6144 rows takes 56 MiB with
all blocks mapped (`MALLOC_MMAP_THRESHOLD_=65536`), and 64 to 91 MiB without; one with 24576 rows 305 to 355 MiB."""

WEIGHT_COPIES = 5
"""Weights, gradients, two moments, and the copy of a checkpoint that is being saved."""


def update_bytes(rows: int, inputs: int, networks: Sequence[Sequence[int]], per_layer: int = 2) -> int:
    """Return the approximate bytes of perceptrons, their optimiser, and what one step of it keeps of a minibatch.

    Args:
        rows: rows of the minibatch, all networks in one backward pass.
        inputs: values of a row that are read: observation, actions and targets.
        networks: widths of the layers of each network, without its inputs.
        per_layer: tensors of a layer that the backward pass needs: linear output and activation, and a norm if any.
    """
    weights = sum(a * b for widths in networks for a, b in zip([inputs, *widths], widths, strict=False))
    widest = max((width for widths in networks for width in widths), default=0)
    gradients = 2 * widest  # of a layer's output and of its input, while the pass goes through it
    kept = per_layer * sum(width for widths in networks for width in widths) + gradients + 2 * inputs
    return int(4 * (WEIGHT_COPIES * weights + HEAP_SHARE * rows * kept))
