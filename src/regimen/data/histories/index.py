"""Makes the `histories.json` of a folder of histories: what is in the files, counted, and their checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.histories.file import History, load
from regimen.data.histories.reader import FORMAT, INDEX
from regimen.display.intervals import spearman
from regimen.system.errors import DatasetError
from regimen.system.files import sha256, write_json


def write_index(folder: Path, about: dict[str, Any], each: dict[str, list[Any]] | None = None) -> Path:
    """Read the files `NNNNN.h5` of a folder and write `histories.json`; return its path.

    Args:
        folder: holds the files.
        about: `task_name`, `group`, `action_type`, `reward_scale`, `episode_sparsity`, `io`, `mode`, `random_score`,
            `expert_score`, and other known values of the dataset.
        each: name -> one value for each file, such as the mass scale of its robot.

    Raises:
        DatasetError: a file is broken, or they differ in their widths.
    """
    files = sorted(folder.glob("*.h5"))
    if not files:
        raise DatasetError(f"{folder} holds no histories: there is no *.h5 in it.")
    summary = _Summary()
    for number, file in enumerate(files):
        summary.add(file, {name: values[number] for name, values in (each or {}).items()})
    write_json(folder / INDEX, {"format": FORMAT, **about, **summary.known()})
    return folder / INDEX


def positions(history: History) -> np.ndarray:
    """Return the place of each complete episode in its history, (E,) from 0 to 1."""
    count = int(history.whole.sum())
    return np.arange(count) / max(count - 1, 1)


class _Summary:
    """Values common to all files, and a row for each."""

    def __init__(self) -> None:
        """Begin without files."""
        self._moments = Moments()
        self._widths: tuple[int, int] | None = None
        self._files: list[dict[str, Any]] = []
        self._where: list[np.ndarray] = []
        self._returns: list[np.ndarray] = []

    def add(self, file: Path, more: dict[str, Any]) -> None:
        """Add a file; `more` is added to its row.

        Raises:
            DatasetError: it is broken, or has other widths than those before.
        """
        history = load(file)
        widths = (history.observation.shape[1], history.action.shape[1])
        if self._widths not in (None, widths):
            raise DatasetError(f"{file} has observations and actions of {widths}, those before {self._widths}.")
        self._widths = widths
        self._moments.add(history.observation)
        where, returns = positions(history), history.returns[history.whole]
        self._where.append(where)
        self._returns.append(returns)
        row = {"name": file.name, "rows": len(history), "episodes": len(returns)}
        row |= {"sha256": sha256(file), "spearman": spearman(where, returns)}
        self._files.append(row | more)

    def known(self) -> dict[str, Any]:
        """Return widths, statistics, the rank correlation of progress over all histories, and the rows."""
        assert self._widths is not None, "there is a file"
        return {
            "observation_shape": {"proprio": [self._widths[0]]},
            "action_dim": self._widths[1],
            "observation_mean": self._moments.mean(),
            "observation_std": self._moments.std(),
            "spearman": spearman(np.concatenate(self._where), np.concatenate(self._returns)),
            "files": self._files,
        }


class Moments:
    """Mean and spread of rows that come in parts, summed relative to the first of them against cancellation."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._origin = self._total = self._square = np.zeros(0)
        self._rows = 0

    def add(self, values: np.ndarray) -> None:
        """Count rows (n, D)."""
        if not self._rows:
            self._origin = values[0].astype(np.float64)
            self._total, self._square = np.zeros_like(self._origin), np.zeros_like(self._origin)
        centred = values - self._origin
        self._total += centred.sum(0)
        self._square += (centred * centred).sum(0)
        self._rows += len(values)

    def mean(self) -> np.ndarray:
        """Mean of each channel, (D,)."""
        return np.asarray(self._origin + self._total / self._rows)

    def std(self) -> np.ndarray:
        """Standard deviation with n - 1, (D,); exactly 0 for a constant channel."""
        spread = np.clip(self._square - self._total**2 / self._rows, 0.0, None)
        return np.asarray(np.sqrt(spread / max(self._rows - 1, 1)))
