"""Reads episodes: finished files, files still being written, and those of a run that crashed.

Every dataset is (T, N, …): one row per control step of N envs. Row t holds the observation before the action, the
action, and the reward, ends and labels of the step that this action caused: the labels of row t describe the robot
that observation t + 1 (or, where the episode ended, the one before the reset) was taken from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.episodes.schema import FORMAT, EpisodeAttributes
from regimen.data.episodes.writer import datasets
from regimen.data.hdf5 import open_hdf5, reading
from regimen.data.hdf5_changes import changing_hdf5
from regimen.envs.vec_env import IOSpec
from regimen.system.errors import DatasetError
from regimen.system.json_data import Json

FAULT = "labels/fault_joint"
"""The label that classes are made of: the id of the faulty joint, -1 while healthy."""


@dataclass(frozen=True)
class EpisodeIndex:
    """One entry per episode, ordered by env and time.

    Attributes:
        id: (E,) unique in the file.
        env: (E,).
        start: (E,) first row.
        stop: (E,) row after the last.
        terminated: (E,) it ended by a termination.
        truncated: (E,) it ended by time.
        staggered: (E,) its clock did not start at 0, because the envs were spread over their episodes at first.
    """

    id: np.ndarray
    env: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    staggered: np.ndarray

    def __len__(self) -> int:
        """Return E."""
        return len(self.id)

    @property
    def length(self) -> np.ndarray:
        """Rows of each, (E,)."""
        return self.stop - self.start

    def select(self, keep: np.ndarray) -> EpisodeIndex:
        """Return the episodes chosen by a mask or by indices."""
        return EpisodeIndex(**{name: value[keep] for name, value in vars(self).items()})


class EpisodeFile:
    """A dataset of episodes.

    Attributes:
        path: the file.
        attributes: of the file.
        columns: name -> shape of one env's value, such as `obs/policy` -> (71,).
    """

    def __init__(self, path: Path) -> None:
        """Open for reading.

        Raises:
            DatasetError: there is no such file, or it is not a dataset of this project.
        """
        self.path = path
        if not path.is_file():
            raise DatasetError(f"There is no dataset {path}. Make one with `python launch.py stage=collect policy=…`.")
        self._file = open_hdf5(path)
        with reading(path):
            attributes = {name: _decoded(value) for name, value in self._file.attrs.items()}
        if attributes.get("format") != FORMAT:
            self._file.close()
            version = attributes.get("format", "none")
            raise DatasetError(f"{path} is no dataset of this version: expected format {FORMAT}, found {version}.")
        self.attributes = EpisodeAttributes.from_dict(attributes)
        with reading(path):
            self._datasets = datasets(self._file)
            self.columns = {name: tuple(d.shape[2:]) for name, d in self._datasets.items()}

    def __enter__(self) -> EpisodeFile:
        """Return itself; the file is closed at the end of the block."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def steps(self) -> int:
        """Whole rows T, as of the opening."""
        return self.attributes.steps

    @property
    def num_envs(self) -> int:
        """Envs N."""
        return self.attributes.num_envs

    @cached_property
    def io(self) -> IOSpec:
        """Names, sizes and order of observations and actions."""
        return IOSpec.from_dict(self.attributes.io)

    @property
    def joints(self) -> list[str]:
        """Joint names: labels and torques count in this order."""
        return self.attributes.joints

    @property
    def env_block(self) -> int:
        """Number of neighbouring envs that are stored, and best read, together."""
        return int(min(d.chunks[1] for d in self._datasets.values()))

    def require(self, names: Sequence[str]) -> None:
        """Raise unless the file has these columns.

        Raises:
            DatasetError: naming those it lacks and those it has.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise DatasetError(f"{self.path} has no {', '.join(missing)}. It has {', '.join(sorted(self.columns))}.")

    def read(self, names: Sequence[str], rows: slice = slice(None), envs: slice = slice(None)) -> dict[str, np.ndarray]:
        """Return {name: (rows, envs, …)} of the columns `names`.

        Raises:
            DatasetError: for a column that the file lacks.
        """
        self.require(names)
        first, last, _ = rows.indices(self.steps)  # more rows may lie on disk than are whole
        with reading(self.path):
            return {name: self._datasets[name][first:last, envs] for name in names}

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield (first row, {name: (rows, N, …)}) chunk by chunk, so that the whole file need not fit into memory."""
        size = self._datasets["episode"].chunks[0]
        for first in range(0, self.steps, size):
            yield first, self.read(names, slice(first, first + size))

    def episodes(self) -> EpisodeIndex:
        """Return all episodes, those that the beginning and the end of the file cut included."""
        columns = self.read(["episode", "terminated", "truncated"])
        ids = columns["episode"].T  # (N, T): an episode is a run of equal ids in a row
        flat = ids.ravel()
        if not len(flat):
            return EpisodeIndex(*[np.zeros(0, int)] * 4, *[np.zeros(0, bool)] * 3)
        begins = np.ones(ids.shape, bool)
        begins[:, 1:] = ids[:, 1:] != ids[:, :-1]
        start = np.flatnonzero(begins)
        last = np.append(start[1:], len(flat)) - 1
        env, first_row = np.divmod(start, self.steps)
        terminated, truncated = (columns[n].T.ravel()[last] for n in ("terminated", "truncated"))
        staggered = (first_row == 0) & self.attributes.staggered
        return EpisodeIndex(flat[start], env, first_row, last % self.steps + 1, terminated, truncated, staggered)

    def iterate(self, names: Sequence[str], envs: Sequence[int] | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yield each episode as {name: (length, …)}, env by env; one block of envs is in memory at a time.

        With an image among the columns it is one episode at a time.

        Args:
            names: columns.
            envs: envs to read; by default all.
        """
        table, block = self.episodes(), self.env_block
        wanted = np.isin(table.env, np.arange(self.num_envs) if envs is None else np.asarray(envs))
        for low in range(0, self.num_envs, block):
            here = table.select(wanted & (table.env >= low) & (table.env < low + block))
            if not len(here):
                continue
            if any(len(self.columns.get(name, ())) > 1 for name in names):
                for env, start, stop in zip(here.env, here.start, here.stop, strict=True):
                    episode = self.read(names, slice(start, stop), slice(env, env + 1))
                    yield {name: value[:, 0] for name, value in episode.items()}
                continue
            values = self.read(names, envs=slice(low, low + block))
            for env, start, stop in zip(here.env, here.start, here.stop, strict=True):
                yield {name: value[start:stop, env - low] for name, value in values.items()}


def open_all(paths: Sequence[Path], group: str | None = None) -> list[EpisodeFile]:
    """Open datasets to be used together: files, or folders of them.

    Args:
        paths: files or folders.
        group: the one observation group to read; the others are hidden, and may differ, as they do between policies
            with different observations.

    Raises:
        DatasetError: there is no file, or their observations, actions or joints differ by name.
    """
    members = (sorted(path.glob("*.h5")) if path.is_dir() else [path] for path in paths)
    files = [EpisodeFile(path) for folder in members for path in folder]
    if not files:
        named = ", ".join(map(str, paths)) or "no path"
        raise DatasetError(f"There is no dataset (*.h5) in {named}. Record one: stage=collect policy=….")
    groups = tuple(files[0].io.observations) if group is None else (group,)
    hidden = {f"obs/{name}" for file in files for name in file.io.observations if name not in groups}
    for other in files[1:]:
        lines = files[0].io.differences(other.io, groups)
        if files[0].joints != other.joints:
            lines.append(f"joints: {files[0].joints} and {other.joints}")
        if lines:
            raise DatasetError(f"{files[0].path} and {other.path} cannot be used together:\n  " + "\n  ".join(lines))
    if group is not None:
        for file in files:
            file.columns = {name: shape for name, shape in file.columns.items() if name not in hidden}
    return files


def add_attrs(path: Path, attrs: Json) -> None:
    """Add attributes to a finished file; text and numbers as they are, other values as JSON.

    Raises:
        OSError: the disk is full; the file is as before.
    """
    with changing_hdf5(path) as file:
        for name, value in attrs.items():
            file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value)


def _decoded(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[", "n") else value
    except ValueError:  # text that looks like JSON
        return value
