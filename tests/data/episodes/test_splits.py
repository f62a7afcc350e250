"""Splits: whole envs, every one once, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.messages import raises_naming
from regimen.data.episodes.splits import NAMES, split
from regimen.system.errors import DatasetError


@pytest.mark.parametrize("counts", [[256], [3], [64, 10, 5], [1, 1, 1, 1], [40, 1]])
def test_every_env_is_in_exactly_one_split(counts: list[int]) -> None:
    splits = split(counts, seed=0)
    for dataset, count in enumerate(counts):
        envs = np.concatenate([splits.envs[name][dataset] for name in NAMES])
        assert sorted(envs.tolist()) == list(range(count))
    assert all(sum(len(e) for e in splits.envs[name]) for name in NAMES)


def test_shares_and_seed() -> None:
    a, b, other = split([200, 100], 1), split([200, 100], 1), split([200, 100], 2)
    assert a.to_dict() == b.to_dict() != other.to_dict()
    assert [len(e) for e in a.envs["val"]] == [30, 15] and [len(e) for e in a.envs["test"]] == [30, 15]
    assert a.envs["test"][0][:15].tolist() != a.envs["test"][1].tolist(), "runs are drawn apart from each other"


def test_an_env_knows_its_split() -> None:
    splits = split([20], 0)
    index = splits.of(0, 20)
    for number, name in enumerate(NAMES):
        np.testing.assert_array_equal(np.flatnonzero(index == number), splits.envs[name][0])


def test_one_env_cannot_be_split() -> None:
    with raises_naming(DatasetError, "1 env", "train, val, test", "env.num_envs=3"):
        split([1], 0)
