"""Datasets of learning histories: a folder with `histories.json` and one HDF5 file for each learner, `00000.h5`, ….

Data for models that learn in context: within a file the learner improves, so that a model which continues it has to
improve too (algorithm distillation, arXiv 2210.14215). `histories.file` documents the content of a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from regimen.data.histories import file
from regimen.data.histories.file import History
from regimen.envs.vec_env import IOSpec
from regimen.system import files
from regimen.system.errors import DatasetError

FORMAT = 1
INDEX = "histories.json"
MODES: Final = ("checkpoints", "noise", "expert")
"""Origin of the progress in a history: checkpoints of a training in order, decaying noise, or none."""


@dataclass(frozen=True)
class Histories:
    """A dataset of histories; its files are read on access.

    Attributes:
        path: `histories.json`.
        about: its content.
    """

    path: Path
    about: dict[str, Any]

    def __len__(self) -> int:
        """Return how many histories there are."""
        return len(self.about["files"])

    def __getitem__(self, index: int) -> History:
        """Read one history.

        Raises:
            DatasetError: it differs from `histories.json`.
        """
        row = self.about["files"][index]
        path = self.path.parent / row["name"]
        found = file.load(path)
        shape = (len(found), self.observation_size, self.num_actions)
        told = (row["rows"], found.observation.shape[1], found.action.shape[1])
        if shape != told:
            raise DatasetError(f"{path} has rows, observation and action {shape}, {INDEX} says {told}.")
        return found

    def __iter__(self) -> Iterator[History]:
        """Read one history after the other."""
        return (self[index] for index in range(len(self)))

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.about["task_name"])

    @property
    def group(self) -> str:
        """Name shared by tasks with the same observations and actions."""
        return str(self.about["group"])

    @property
    def observation_size(self) -> int:
        """Width D of an observation."""
        return int(self.about["observation_shape"]["proprio"][0])

    @property
    def num_actions(self) -> int:
        """Width A of an action."""
        return int(self.about["action_dim"])

    @property
    def discrete(self) -> bool:
        """Whether actions are one-hot codes."""
        return bool(self.about["action_type"] == "discrete")

    @property
    def io(self) -> IOSpec | None:
        """Names, sizes and order of observations and actions; None for an imported dataset without them."""
        return IOSpec.from_dict(self.about["io"]) if self.about.get("io") else None

    @property
    def rows(self) -> np.ndarray:
        """Rows of each history, (H,)."""
        return np.array([row["rows"] for row in self.about["files"]])

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel of the observation over all rows, (D,) float32."""
        return np.array(self.about["observation_mean"], np.float32)

    @property
    def std(self) -> np.ndarray:
        """Its standard deviation with n - 1, (D,) float32; 0 for a channel that is constant."""
        return np.array(self.about["observation_std"], np.float32)


def index_of(path: Path) -> Path:
    """Return the `histories.json` that a file or a folder leads to.

    Raises:
        DatasetError: there is none.
    """
    found = path / INDEX if path.is_dir() else path
    if found.name == INDEX and found.is_file():
        return found
    public = path / f"{path.name}.json"
    if public.is_file():
        raise DatasetError(
            f"{path} has the public layout ({public.name}, without {INDEX}): make it ours by "
            f"`regimen import-histories {path} --out <folder>`."
        )
    raise DatasetError(
        f"{path} is no dataset of histories: there is no {INDEX}. Make one with "
        "`python launch.py stage=collect_histories policy=…`."
    )


def open_histories(path: Path) -> Histories:
    """Open a dataset of histories, its folder or `histories.json`; every file is compared with its checksum.

    Raises:
        DatasetError: there is none, it is of another version, or a file is gone or changed.
    """
    index = index_of(path)
    about = files.read_json(index)
    if about is None or about.get("format") != FORMAT:
        found = "no JSON" if about is None else f"format {about.get('format', 'none')}"
        raise DatasetError(f"{index} is not of this version: expected format {FORMAT}, found {found}.")
    for row in about["files"]:
        file = index.parent / row["name"]
        if not file.is_file():
            raise DatasetError(f"{index} names {row['name']}, which is not there. Fetch it, or collect anew.")
        if files.sha256(file) != row["sha256"]:
            raise DatasetError(f"{file} is not what {INDEX} says: its checksum differs. Fetch it, or collect anew.")
    return Histories(index, about)
