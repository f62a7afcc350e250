"""Batches for training: every episode once, as it is in the file, from memory or in pools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.episode_files import balanced, write
from helpers.messages import assert_names
from regimen.data.episodes.batches import Batch, Sequences

NAMES = ("obs/discriminator", "labels/fault_joint", "terminated")
PLENTY = 2**30


@pytest.fixture
def files(tmp_path: Path) -> tuple[list[Path], list[dict[str, np.ndarray]]]:
    tables = [balanced(8, 3, seed=0), balanced(5, 2, seed=1)]
    return [write(tmp_path / f"{i}.h5", table) for i, table in enumerate(tables)], tables


def check(batch: Batch, tables: list[dict[str, np.ndarray]]) -> set[tuple[int, int, int]]:
    """Compare each row of a batch with the file; return (dataset, env, start) of its episodes."""
    for b, (dataset, env, start) in enumerate(
        zip(*(x.tolist() for x in (batch.dataset, batch.env, batch.start)), strict=True)
    ):
        length = int(batch.length[b])
        for name in NAMES:
            np.testing.assert_array_equal(
                batch.values[name][b, :length], tables[dataset][name][start : start + length, env]
            )
        assert batch.mask[b].tolist() == [True] * length + [False] * (batch.mask.shape[1] - length)
        ids = tables[dataset]["episode"][start : start + length, env]
        assert (ids == ids[0]).all()
    return set(zip(batch.dataset.tolist(), batch.env.tolist(), batch.start.tolist(), strict=True))


@pytest.mark.parametrize("memory", [PLENTY, 40_000], ids=["memory", "pools"])
def test_every_episode_of_the_chosen_envs_comes_once(files: tuple, memory: int) -> None:
    paths, tables = files
    envs = [np.array([1, 2, 5, 6, 7]), np.array([0, 4])]
    sequences = Sequences(paths, envs, NAMES, memory)
    assert sequences.fits == (memory == PLENTY)
    for _ in range(2):
        batches = list(sequences.epoch(4, np.random.default_rng(0)))
        found = [check(batch, tables) for batch in batches]
        assert sum(map(len, found)) == len(set().union(*found)) == sequences.episodes
        assert sum(int(batch.length.sum()) for batch in batches) == sequences.rows == 5 * 300 + 2 * 200
        assert {(d, e) for part in found for d, e, _ in part} == {(0, e) for e in envs[0]} | {(1, e) for e in envs[1]}
    assert all(int(batch.length.max()) == batch.mask.shape[1] for batch in batches)
    sequences.close()


def test_types_are_those_of_training(files: tuple) -> None:
    batch = next(Sequences(files[0], [np.arange(8), np.arange(5)], NAMES, PLENTY).epoch(2, np.random.default_rng(0)))
    kinds = [batch.values[name].dtype for name in NAMES]
    assert kinds == [torch.float32, torch.int64, torch.bool]


def test_the_order_is_that_of_the_seed_or_of_the_file(files: tuple) -> None:
    sequences = Sequences(files[0], [np.arange(8), np.arange(5)], NAMES, PLENTY)

    def order(seed: int, shuffle: bool = True) -> list[list[int]]:
        return [batch.start.tolist() for batch in sequences.epoch(3, np.random.default_rng(seed), shuffle)]

    assert order(0) == order(0) != order(1)
    assert order(0, shuffle=False) == order(1, shuffle=False)


def test_what_it_will_do_is_said_before_anything_is_loaded(files: tuple) -> None:
    whole = [np.arange(8), np.arange(5)]
    large, small = (Sequences(files[0], whole, NAMES, memory) for memory in (PLENTY, 2**12))
    assert large.fits and not small.fits
    for sequences in (large, small):
        assert_names(sequences.summary(), f"{sequences.episodes} episodes", "3400 steps")
    assert large.summary() != small.summary()
    assert small.bytes == (8 * 300 + 5 * 200) * (7 * 4 + 8 + 1)


def test_little_is_padding(files: tuple) -> None:
    sequences = Sequences(files[0], [np.arange(8), np.arange(5)], NAMES, PLENTY)
    batches = list(sequences.epoch(4, np.random.default_rng(0)))
    padded = sum(batch.mask.numel() for batch in batches)
    assert sequences.rows / padded > 0.85
