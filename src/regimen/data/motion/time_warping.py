"""Distance of motions from a clip by dynamic time warping (DTW): which pose of the clip a pose belongs to is free.

Sakoe and Chiba 1978, their step pattern of slope 1: the clip advances between half and double as fast as the robot, so
that a robot that stands still is not matched with the one frame that is most like it.
"""

from __future__ import annotations

import torch


def warped_distance(windows: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the mean distance (B,) of each window from the part of a reference that fits best.

    Args:
        windows: (B, T, K, d): T poses in sequence of K points with d coordinates.
        reference: (R, K, d), the poses of a clip at the same rate; a window begins and ends anywhere in it.

    Returns:
        Mean over the T poses of the mean over the K points of the Euclidean distance; infinite where the reference is
        shorter than half the window.
    """
    length = windows.shape[1]
    costs = [_cost(windows[:, i], reference) for i in range(length)]
    before: list[torch.Tensor] = [costs[0]]  # cheapest way that ends at pose i of the window and each of the reference
    for i in range(1, length):
        best = torch.minimum(_shifted(before[i - 1], 1), _shifted(before[i - 1], 2))
        if i > 1:
            best = torch.minimum(best, _shifted(before[i - 2], 1) + costs[i - 1])
        elif length > 1:  # the first step may also rest, as the start in the reference is free
            best = torch.minimum(best, before[0])
        before.append(costs[i] + best)
    return before[-1].min(dim=1).values / length


def _cost(poses: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the mean distance (B, R) of poses (B, K, d) from those of the reference."""
    return torch.linalg.vector_norm(poses[:, None] - reference[None], dim=-1).mean(-1)


def _shifted(rows: torch.Tensor, by: int) -> torch.Tensor:
    """Return rows (B, R) moved to the right; infinite where nothing is."""
    moved = torch.full_like(rows, float("inf"))
    moved[:, by:] = rows[:, : max(rows.shape[1] - by, 0)]
    return moved
