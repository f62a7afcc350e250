"""Time warping against a search through all alignments, and what it forgives and what not."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from regimen.data.motion.time_warping import warped_distance, warped_path


def points(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


def all_alignments(window: list[float], reference: list[float]) -> float:
    """Return the least cost over every sequence of advances 0, 1, 2 in which no pose rests twice in a row."""
    best = math.inf
    for start in range(len(reference)):
        for advances in itertools.product((0, 1, 2), repeat=len(window) - 1):
            # A rest is followed or, at the start, preceded by a step of one; two rests never adjoin.
            if any(a == 0 and b != 1 for a, b in itertools.pairwise((*advances, 1)) if a == 0 and b == 0):
                continue
            places = list(itertools.accumulate(advances, initial=start))
            if places[-1] < len(reference):
                cost = sum(abs(w - reference[p]) for w, p in zip(window, places, strict=True))
                best = min(best, cost / len(window))
    return best


def test_a_part_of_the_clip_is_at_no_distance() -> None:
    clip = torch.randn(40, 3, 3)
    assert float(warped_distance(clip[None, 12:25], clip)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("speed", [0.6, 1.0, 1.7])
def test_the_same_motion_at_another_speed_is_near(speed: float) -> None:
    times = torch.arange(0, 60) * 0.1
    clip = torch.stack((times.sin(), times.cos()), 1)[:, None]
    window = torch.arange(0, 20) * 0.1 * speed + 0.5
    same = torch.stack((window.sin(), window.cos()), 1)[:, None]
    assert float(warped_distance(same[None], clip)) < 0.05


def test_standing_still_is_not_near_to_a_motion() -> None:
    times = torch.arange(0, 60) * 0.2
    clip = torch.stack((times.sin(), times.cos()), 1)[:, None]
    still = clip[10].expand(1, 25, 1, 2)
    assert float(warped_distance(still, clip)) > 0.5


def test_it_is_never_less_than_the_best_alignment_and_never_more_than_the_straight_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        window = torch.rand(5, generator=generator).tolist()
        reference = torch.rand(9, generator=generator).tolist()
        found = float(warped_distance(points(window)[None], points(reference)))
        straight = min(sum(abs(w - reference[s + i]) for i, w in enumerate(window)) / 5 for s in range(5))
        assert all_alignments(window, reference) - 1e-9 <= found <= straight + 1e-9


def test_the_matched_poses_are_those_that_the_distance_is_from() -> None:
    generator = torch.Generator().manual_seed(1)
    windows, reference = torch.rand(50, 7, 2, 3, generator=generator), torch.rand(12, 2, 3, generator=generator)
    distance, path = warped_path(windows, reference)
    gaps = torch.linalg.vector_norm(windows - reference[path], dim=-1).mean((1, 2))
    assert torch.allclose(gaps, distance, atol=1e-6)
    advances = path.diff(dim=1)
    assert bool(((advances >= 0) & (advances <= 2)).all())
    assert not bool(((advances[:, 1:] == 0) & (advances[:, :-1] == 0)).any()), "no pose rests twice in a row"
    assert bool((advances == 0).any()) and bool((advances == 2).any())


def test_a_clip_that_is_too_short_is_infinitely_far() -> None:
    assert float(warped_distance(torch.zeros(1, 20, 1, 1), torch.zeros(4, 1, 1))) == math.inf
