"""Frames of recorded episodes: complete, shuffled, paired with what follows, and within their limit of memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.picture_files import square_pictures, write_squares
from regimen.agents.image_encoder.frames import EpisodeFrames

SMALL = 3 * 21 * 2 * 24 * 24 * 3
"""Bytes of the pictures of three episodes."""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    return [write_squares(folder / f"{seed}.h5", episodes=5, seed=seed) for seed in (0, 1)]


def opened(paths, memory: int = 10**9, following: bool = True) -> EpisodeFrames:
    return EpisodeFrames(paths, ["left", "right"], ["policy", "privileged"], following, 0.2, memory, seed=0)


def collected(frames: EpisodeFrames, **arguments) -> tuple[torch.Tensor, torch.Tensor]:
    """Places and actions of an epoch."""
    batches = list(frames.epoch(frames.train, 16, **arguments))
    return torch.cat([b.vectors["privileged"] for b in batches]), torch.cat([b.action for b in batches])


def ordered(rows: torch.Tensor) -> list[list[float]]:
    return sorted(rows.tolist())


@pytest.mark.parametrize("memory", [10**9, SMALL])
def test_an_epoch_has_each_frame_once_whatever_fits_into_memory(paths, memory):
    frames = opened(paths, memory)
    assert (len(frames.train), len(frames.validation)) == (8, 2)
    plain, _ = collected(frames)
    assert len(plain) == 8 * 20 == frames.count(frames.train)
    shuffled, _ = collected(frames, rng=np.random.default_rng(0))
    assert ordered(plain) == ordered(shuffled) and plain.tolist() != shuffled.tolist()
    assert frames.pool_bytes == min(memory, frames.bytes)


@pytest.mark.parametrize("memory", [10**9, SMALL])
def test_pictures_belong_to_their_rows_and_to_the_frame_after(paths, memory):
    frames = opened(paths, memory)
    for batch in frames.epoch(frames.train, 7, np.random.default_rng(3)):
        place = batch.vectors["privileged"].numpy()
        after = place + 0.3 * batch.action.numpy()
        for shown, where in ((batch.pictures, place), (batch.following, after)):
            for name, wanted in square_pictures(where).items():
                assert (shown[name].numpy() != wanted).mean() < 0.01  # a place on the edge of two pixels


@pytest.mark.parametrize("memory", [10**9, SMALL])
def test_an_epoch_continues_behind_the_batches_that_were_done(paths, memory):
    frames = opened(paths, memory)
    whole = [b.action for b in frames.epoch(frames.train, 16, np.random.default_rng(5))]
    rest = [b.action for b in frames.epoch(frames.train, 16, np.random.default_rng(5), skip=4)]
    assert len(rest) == len(whole) - 4
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], rest, strict=True))


def test_no_episode_is_in_both_splits(paths):
    frames = opened(paths)
    learned, judged = (
        {tuple(row) for b in frames.epoch(part, 16) for row in b.vectors["privileged"].tolist()}
        for part in (frames.train, frames.validation)
    )
    assert learned and judged and not learned & judged
