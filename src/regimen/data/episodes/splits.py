"""Splits into training, validation and test by dataset and env: whole envs, never windows of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regimen.system.errors import DatasetError
from regimen.system.json_data import Json, JsonData

NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Splits(JsonData):
    """Envs by split.

    Attributes:
        seed: of the draw.
        envs: split -> for each dataset, in order, the sorted ids of its envs.
    """

    seed: int
    envs: dict[str, list[np.ndarray]]

    def of(self, dataset: int, num_envs: int) -> np.ndarray:
        """Return (num_envs,) index into `NAMES` of each env of a dataset."""
        index = np.zeros(num_envs, dtype=int)
        for number, name in enumerate(NAMES):
            index[self.envs[name][dataset]] = number
        return index

    def to_dict(self) -> Json:
        """Return plain data for a record."""
        return {"seed": self.seed} | {name: [e.tolist() for e in self.envs[name]] for name in NAMES}

    @classmethod
    def from_dict(cls, data: Json) -> Splits:
        """Return the splits of a record."""
        return cls(data["seed"], {name: [np.array(envs, int) for envs in data[name]] for name in NAMES})


def split(num_envs: Sequence[int], seed: int, shares: tuple[float, float] = (0.15, 0.15)) -> Splits:
    """Draw the splits: of each dataset by env, so that every dataset is in every split.

    Args:
        num_envs: envs of each dataset, in order.
        seed: the same one gives the same splits.
        shares: of the envs for validation and for test; the rest is for training.

    Raises:
        DatasetError: fewer than three envs altogether.
    """
    pairs = [(dataset, env) for dataset, count in enumerate(num_envs) for env in range(count)]
    if len(pairs) < len(NAMES):
        raise DatasetError(
            f"{len(pairs)} env cannot be split into {', '.join(NAMES)}: whole envs are split. Collect with "
            "env.num_envs=3 or more, or give several datasets."
        )
    if min(num_envs) >= len(NAMES):
        drawn = [_draw(np.arange(count), seed + 1_000_003 * d, shares) for d, count in enumerate(num_envs)]
        return Splits(seed, {name: [parts[name] for parts in drawn] for name in NAMES})
    parts = _draw(np.arange(len(pairs)), seed, shares)  # datasets of one env each: these are split as a whole
    table = np.array(pairs)
    envs = {
        name: [np.sort(table[chosen][table[chosen][:, 0] == d, 1]) for d in range(len(num_envs))]
        for name, chosen in parts.items()
    }
    return Splits(seed, envs)


def _draw(items: np.ndarray, seed: int, shares: tuple[float, float]) -> dict[str, np.ndarray]:
    """Return split -> sorted items; validation and test get at least one each."""
    order = np.random.default_rng(seed).permutation(items)
    val, test = (max(1, round(share * len(items))) for share in shares)
    return {"train": np.sort(order[val + test :]), "val": np.sort(order[:val]), "test": np.sort(order[val:][:test])}
