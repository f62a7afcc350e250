"""Distance of motions from a clip by dynamic time warping (DTW): which pose of the clip a pose belongs to is free.

Sakoe and Chiba 1978, their step pattern of slope 1: the clip advances between half and double as fast as the robot, so
that a robot that stands still is not matched with the one frame that is most like it.
"""

from __future__ import annotations

import torch

REST = 2
"""Way of a pose that is matched with the same one of the reference as the pose before it."""


def warped_distance(windows: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the mean distance (B,) of each window from the part of a reference that fits best.

    Args:
        windows: (B, T, K, d): T poses in sequence of K points with d coordinates.
        reference: (R, K, d), the poses of a clip at the same rate; a window begins and ends anywhere in it.

    Returns:
        Mean over the T poses of the mean over the K points of the Euclidean distance; infinite where the reference is
        shorter than half the window.
    """
    return warped_path(windows, reference)[0]


def warped_path(windows: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distance of each window as `warped_distance` does, and the poses of the reference that it is from.

    Args:
        windows: (B, T, K, d).
        reference: (R, K, d).

    Returns:
        The distance (B,), and the index (B, T) int64 into the reference of the pose matched with each of a window; of
        no meaning where the distance is infinite.
    """
    length = windows.shape[1]
    costs = [_cost(windows[:, i], reference) for i in range(length)]
    before: list[torch.Tensor] = [costs[0]]  # cheapest way that ends at pose i of the window and each of the reference
    steps: list[torch.Tensor] = []  # which of the ways below it was, (B, R) each
    for i in range(1, length):
        ways = [_shifted(before[i - 1], 1), _shifted(before[i - 1], 2)]
        # A rest is followed by a step of one. At the start it stands alone, as the start in the reference is free.
        ways.append(_shifted(before[i - 2], 1) + costs[i - 1] if i > 1 else before[0])
        best, way = torch.stack(ways).min(dim=0)
        before.append(costs[i] + best)
        steps.append(way.to(torch.uint8))
    total, at = before[-1].min(dim=1)
    return total / length, _traced(steps, at)


def _traced(steps: list[torch.Tensor], last: torch.Tensor) -> torch.Tensor:
    """Return the matched poses (B, T) of ways that end at the poses `last` (B,) of the reference."""
    at, rested, path = last, torch.zeros_like(last, dtype=torch.bool), [last]
    for way in reversed(steps):
        chosen = way.gather(1, at[:, None]).squeeze(1).long()
        back = torch.where(rested, 1, torch.tensor([1, 2, 0], device=at.device)[chosen])
        rested = ~rested & (chosen == REST)
        at = (at - back).clamp_min(0)
        path.append(at)
    return torch.stack(path[::-1], dim=1)


def _cost(poses: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the mean distance (B, R) of poses (B, K, d) from those of the reference."""
    points = poses.transpose(0, 1), reference.transpose(0, 1)
    return torch.cdist(*points, compute_mode="donot_use_mm_for_euclid_dist").mean(0)


def _shifted(rows: torch.Tensor, by: int) -> torch.Tensor:
    """Return rows (B, R) moved to the right; infinite where nothing is."""
    moved = torch.full_like(rows, float("inf"))
    moved[:, by:] = rows[:, : max(rows.shape[1] - by, 0)]
    return moved
