"""One learning history in one HDF5 file: all episodes of one learner in time order, in groups of rows.

The layout is that of the public Vintix data (arXiv 2501.19400): groups named "{start}-{end}" by the inclusive numbers
of their rows, each with equally long datasets. Row t is the observation o_t, the action a_t taken on it, the reward
received for that action, and the number of the step in its episode, 0 where one begins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from regimen.data.hdf5 import open_hdf5, reading
from regimen.system.errors import DatasetError

BLOCK = 10_000
"""Rows of a group."""

PUBLIC = {"proprio_observation": np.float32, "action": np.float32, "reward": np.float32, "step_num": np.int32}
"""Datasets that every history has."""

OWN = {"terminated": np.bool_, "truncated": np.bool_, "epsilon": np.float32, "checkpoint": np.int32}
"""Optional datasets of this project: how an episode ended, and its share of noise or its checkpoint."""

KINDS = PUBLIC | OWN

MATRICES = ("proprio_observation", "action")
"""Datasets with a row of values for each row; the others have one value."""


@dataclass(frozen=True)
class History:
    """One history of n rows.

    Attributes:
        name: its file.
        observation: (n, D).
        action: (n, A); of a discrete one the row of its one-hot code.
        reward: (n,) received after the action, unscaled.
        step_num: (n,) step in the episode.
        more: name -> (n,) of the datasets in `OWN` that there are.
    """

    name: str
    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    step_num: np.ndarray
    more: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return n."""
        return len(self.reward)

    @cached_property
    def start(self) -> np.ndarray:
        """First row of each episode, (E,); the last one may be cut."""
        return np.flatnonzero(self.step_num == 0)

    @cached_property
    def stop(self) -> np.ndarray:
        """Row after the last of each episode, (E,)."""
        return np.append(self.start[1:], len(self))

    @cached_property
    def complete(self) -> np.ndarray:
        """Whether each episode was recorded to its end, (E,); the last one of a public file counts as incomplete."""
        flags = np.ones(len(self.start), bool)
        ends = [self.more[name][-1] for name in ("terminated", "truncated") if name in self.more]
        flags[-1] = len(ends) == 2 and bool(any(ends))
        return flags

    @property
    def positions(self) -> np.ndarray:
        """Place of each complete episode in the history, from 0 to 1."""
        count = int(self.complete.sum())
        return np.arange(count) / max(count - 1, 1)

    @cached_property
    def returns(self) -> np.ndarray:
        """Sum of the rewards of each episode, (E,) float64, unscaled."""
        return np.add.reduceat(self.reward.astype(np.float64), self.start)

    def thinned(self, every: int) -> History:
        """Return every `every`-th complete episode from the first on, so that progress needs fewer rows."""
        chosen = np.zeros(len(self.start), bool)
        chosen[::every] = True
        keep = np.repeat(chosen, self.stop - self.start)
        rows = {name: value[keep] for name, value in self.more.items()}
        return History(
            self.name, self.observation[keep], self.action[keep], self.reward[keep], self.step_num[keep], rows
        )


def append(path: Path, first: int, columns: dict[str, np.ndarray]) -> None:
    """Add the group of the rows from `first` on; the file is made by its first group.

    Args:
        path: the file.
        first: number of the first row.
        columns: name -> (n, …), as in `PUBLIC` and `OWN`.
    """
    last = first + len(columns["reward"]) - 1
    with h5py.File(path, "a" if first else "w") as file:
        group = file.create_group(f"{first}-{last}")
        for name, value in columns.items():
            group[name] = value  # as it is: measured on recorded walking, lzf would save 15 % and cost most of the time


def read(path: Path, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """Return name -> (n, …), the groups put together by the numbers in their names.

    Args:
        path: the file.
        names: datasets to read; by default those of `PUBLIC` and `OWN` that every group has.

    Raises:
        DatasetError: a name is no range of rows, rows are missing, datasets have other shapes than those of `History`
            or differ in length, or values are not finite.
    """
    with reading(path), open_hdf5(path) as file:
        ranges = sorted(_range(path, name) for name in file)
        _require_gapless(path, ranges)
        require_shapes(path, file)
        groups = [_datasets(path, file, *one) for one in ranges]
        wanted = names or tuple(n for n in KINDS if all(n in group for group in groups))
        parts = {n: [group[n][()].astype(KINDS[n], copy=False) for group in groups] for n in wanted}
    columns = {name: np.concatenate(part) for name, part in parts.items()}
    require_sound(path, columns)
    return columns


def load(path: Path) -> History:
    """Return the history in a file.

    Raises:
        DatasetError: see `read`.
    """
    columns = read(path)
    observation, action, reward, step_num = (columns.pop(name) for name in PUBLIC)
    return History(path.name, observation, action, reward, step_num, columns)


def require_shapes(path: Path, file: h5py.File) -> None:
    """Raise unless every group of an open file has the datasets of `PUBLIC`, and each dataset one shape of row.

    Args:
        path: the file, for messages.
        file: its groups are named by ranges of rows.

    Raises:
        DatasetError: a dataset is missing, `MATRICES` are not (n, width) with one width, or others are not (n,).
    """
    widths: dict[str, tuple[str, int]] = {}
    for key in file:
        columns = _columns(file, key)
        missing = [name for name in PUBLIC if name not in columns]
        if missing:
            has = ", ".join(columns) or "none of a history"
            raise DatasetError(f"{path}: group `{key}` lacks {', '.join(missing)}; it has {has}.")
        for name, dataset in columns.items():
            if dataset.ndim != (2 if name in MATRICES else 1):
                expected = "(rows, width)" if name in MATRICES else "(rows,)"
                raise DatasetError(f"{path}: {name} of group `{key}` is {dataset.shape}; expected {expected}.")
            if name in MATRICES:
                other, width = widths.setdefault(name, (key, dataset.shape[1]))
                if dataset.shape[1] != width:
                    raise DatasetError(
                        f"{path}: {name} of group `{key}` has the width {dataset.shape[1]}, that of `{other}` {width}; "
                        "expected one width in all groups."
                    )


def require_sound(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Raise unless all values of a whole history are finite and its steps count up in each episode.

    Args:
        path: the file, for messages.
        columns: name -> (n, …), as in `KINDS`.

    Raises:
        DatasetError: naming the first row that is wrong.
    """
    for name, value in columns.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            row = int((~np.isfinite(value)).reshape(len(value), -1).any(1).argmax())
            raise DatasetError(f"{path}: {name} is not finite, first in row {row}. Leave this history out.")
    if "step_num" in columns:
        _require_counted(path, columns["step_num"])


def surplus_observations(path: Path) -> list[str]:
    """Return the groups that have one observation more than actions, as one recorder of public data writes them.

    Raises:
        DatasetError: a name is no range of rows, or see `require_shapes`.
    """
    with reading(path), open_hdf5(path) as file:
        keys = [key for _, _, key in sorted(_range(path, name) for name in file)]
        require_shapes(path, file)
        return [k for k in keys if len(file[k]["proprio_observation"]) == len(file[k]["action"]) + 1]


def _range(path: Path, name: str) -> tuple[int, int, str]:
    match = re.fullmatch(r"(\d+)-(\d+)", name)
    if match is None:
        raise DatasetError(f'{path}: expected groups named "<first row>-<last row>", found `{name}`.')
    return int(match[1]), int(match[2]), name


def _require_gapless(path: Path, ranges: list[tuple[int, int, str]]) -> None:
    if not ranges:
        raise DatasetError(f"{path} holds no rows: expected groups such as `0-9999`.")
    expected = 0
    for start, end, name in ranges:
        if start != expected or end < start:
            raise DatasetError(f"{path}: group `{name}` should begin with row {expected}; rows are missing or double.")
        expected = end + 1


def _datasets(path: Path, file: h5py.File, first: int, last: int, key: str) -> dict[str, h5py.Dataset]:
    """Return the datasets of a group.

    Raises:
        DatasetError: their length differs from the group's name.
    """
    columns = _columns(file, key)
    lengths, rows = {name: len(dataset) for name, dataset in columns.items()}, last - first + 1
    if set(lengths.values()) != {rows}:
        each = ", ".join(f"{name} {n}" for name, n in lengths.items())
        surplus = lengths["proprio_observation"] == lengths["action"] + 1
        cause = " It has the observation after the last action too: `regimen import-histories` takes it away."
        raise DatasetError(f"{path}: group `{key}` should have {rows} rows: {each}.{cause if surplus else ''}")
    return columns


def _columns(file: h5py.File, key: str) -> dict[str, h5py.Dataset]:
    """Return the datasets of a history in a group, none if `key` is no group."""
    group = file[key]
    nodes = group.items() if isinstance(group, h5py.Group) else ()
    return {name: node for name, node in nodes if name in KINDS and isinstance(node, h5py.Dataset)}


def _require_counted(path: Path, step_num: np.ndarray) -> None:
    """Raise unless the steps count up by one from each 0."""
    odd = (step_num[1:] != step_num[:-1] + 1) & (step_num[1:] != 0)
    if step_num[0] != 0 or odd.any():
        row = 0 if step_num[0] else int(np.flatnonzero(odd)[0]) + 1
        raise DatasetError(f"{path}: step_num jumps at row {row}; expected 0 where an episode begins, then 1, 2, ….")
