"""Writes learning histories, one for each of N envs at once.

The rows of all envs go step by step into one file, `rows.part`, which a crash leaves readable up to its last chunk; at
the end they are taken apart into one file for each env. So nothing is lost that was flushed, whatever ends the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from regimen.data.episodes.schema import Column
from regimen.data.episodes.writer import EpisodeWriter
from regimen.data.hdf5 import open_hdf5, reading
from regimen.data.histories.file import BLOCK, KINDS, PUBLIC, append, load
from regimen.data.histories.reader import INDEX, HistoryFile, HistoryIndex
from regimen.display.intervals import spearman
from regimen.system.errors import DatasetError
from regimen.system.files import sha256, write_json

PerFile: TypeAlias = dict[str, list[Any]]
"""Field of `HistoryFile` -> its value in each file."""

ROWS = "rows.part"
ENVS_AT_ONCE = 64
"""Files that are written at a time."""


class HistoryWriter:
    """Appends one row of N histories at a time.

    Attributes:
        folder: `histories.json` and the files will be here.
    """

    def __init__(self, folder: Path, num_envs: int, observation: int, action: int, label: str) -> None:
        """Begin; what is in the folder of an earlier attempt is replaced.

        Args:
            folder: made if it is not there.
            num_envs: N.
            observation: width D.
            action: width A.
            label: `epsilon` or `checkpoint`, the progress of each history.
        """
        widths: dict[str, tuple[int, ...]] = {"proprio_observation": (observation,), "action": (action,)}
        names = (*PUBLIC, label, "terminated", "truncated")
        columns = {n: Column(np.dtype(KINDS[n]).name, widths.get(n, ())) for n in names}
        self.folder = folder
        self._rows = EpisodeWriter(folder / ROWS, columns, num_envs, {})

    @classmethod
    def resume(cls, folder: Path, rows: int) -> HistoryWriter:
        """Continue from row `rows`; later rows are removed.

        Raises:
            DatasetError: there are fewer rows.
        """
        self = cls.__new__(cls)
        self.folder = folder
        self._rows = EpisodeWriter.resume(folder / ROWS, rows)
        return self

    @property
    def rows(self) -> int:
        """Rows given so far."""
        return self._rows.rows

    def add(self, values: dict[str, np.ndarray]) -> None:
        """Take one row of every history, (N, …) of each dataset; the arrays are copied."""
        self._rows.add(values)

    def flush(self) -> None:
        """Return when all rows given so far are safe."""
        self._rows.flush()

    def close(self) -> None:
        """Close the writer; `resume` continues."""
        self._rows.close()

    def finish(self, about: HistoryIndex, rows_of: np.ndarray | None = None, each: PerFile | None = None) -> Path:
        """Write the files and `histories.json`, close the writer, and return the path of `histories.json`.

        Args:
            about: see `write_index`.
            rows_of: (N,) rows that belong to each history, by default all.
            each: see `write_index`.
        """
        self.close()
        split(self.folder, rows_of)
        path = write_index(self.folder, about, each)
        (self.folder / ROWS).unlink()
        return path


def split(folder: Path, rows_of: np.ndarray | None = None) -> list[Path]:
    """Take the rows of all envs apart: write `00000.h5`, … and return them; safe to repeat.

    Args:
        folder: holds what a closed `HistoryWriter` wrote.
        rows_of: see `HistoryWriter.finish`.
    """
    for old in folder.glob("*.h5"):
        old.unlink()
    with reading(folder / ROWS), open_hdf5(folder / ROWS) as rows:
        steps, num_envs = int(rows.attrs["steps"]), int(rows.attrs["num_envs"])
        lengths = np.full(num_envs, steps) if rows_of is None else rows_of
        for first, envs, block in _blocks(rows, steps, num_envs):
            for column, env in enumerate(envs):
                here = min(int(lengths[env]) - first, len(block["reward"]))
                if here > 0:
                    values = {name: value[:here, column] for name, value in block.items()}
                    append(folder / f"{env:05d}.h5", first, values)
    return sorted(folder.glob("*.h5"))


def _blocks(rows: h5py.File, steps: int, num_envs: int) -> Iterator[tuple[int, range, dict[str, np.ndarray]]]:
    """Yield (first row, envs, name -> (rows, envs, …)), all blocks of some envs after another."""
    for low in range(0, num_envs, ENVS_AT_ONCE):
        envs = range(low, min(low + ENVS_AT_ONCE, num_envs))
        for first in range(0, steps, BLOCK):
            last = min(first + BLOCK, steps)
            yield first, envs, {name: rows[name][first:last, envs.start : envs.stop] for name in rows}


def write_index(folder: Path, about: HistoryIndex, each: PerFile | None = None) -> Path:
    """Read the files `NNNNN.h5` of a folder and write `histories.json`; return its path.

    Args:
        folder: holds the files.
        about: fields of the dataset; those that the files give are filled in here.
        each: field of `HistoryFile` -> one value for each file, such as the mass scale of its robot.

    Raises:
        DatasetError: a file is broken, or they differ in their widths.
    """
    paths = sorted(folder.glob("*.h5"))
    if not paths:
        raise DatasetError(f"{folder} holds no histories: there is no *.h5 in it.")
    moments, widths = Moments(), (0, 0)
    rows, where, returns = [], [], []
    for number, path in enumerate(paths):
        history = load(path)
        own = (history.observation.shape[1], history.action.shape[1])
        if number and own != widths:
            raise DatasetError(f"{path} has observations and actions of {own}, those before {widths}.")
        widths = own
        moments.add(history.observation)
        where.append(history.positions)
        returns.append(history.returns[history.complete])
        more = {name: values[number] for name, values in (each or {}).items()}
        progress = spearman(where[-1], returns[-1])
        rows.append(HistoryFile(path.name, len(history), len(where[-1]), sha256(path), progress, **more))
    index = replace(
        about, observation_shape={"proprio": [widths[0]]}, action_dim=widths[1], files=rows,
        observation_mean=moments.mean().tolist(), observation_std=moments.std().tolist(),
        spearman=spearman(np.concatenate(where), np.concatenate(returns)),
    )  # fmt: skip
    write_json(folder / INDEX, index.to_dict())
    return folder / INDEX


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
