"""Datasets of learning histories: a folder with `histories.json` and one HDF5 file for each learner, `00000.h5`, ….

Data for models that learn in context: within a file the learner improves, so that a model which continues it has to
improve too (algorithm distillation, arXiv 2210.14215). `histories.file` documents the content of a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from regimen.data.histories import file
from regimen.data.histories.file import History
from regimen.envs.vec_env import IOSpec
from regimen.system import files
from regimen.system.errors import DatasetError
from regimen.system.json_data import Json, JsonData

FORMAT = 1
INDEX = "histories.json"
MODES: Final = ("checkpoints", "noise", "expert")
"""Origin of the progress in a history: checkpoints of a training in order, decaying noise, or none."""


@dataclass
class HistoryFile(JsonData):
    """One file of a dataset; what is None is absent from the plain form.

    Attributes:
        name: in the folder.
        rows: number of rows.
        episodes: number of complete episodes.
        sha256: checksum.
        spearman: rank correlation of an episode's place with its return.
        mass_scale: factor on the masses of the robot.
        source: file that an imported history comes from.
    """

    name: str
    rows: int
    episodes: int
    sha256: str = ""
    spearman: float = 0.0
    mass_scale: float | None = None
    source: str | None = None

    def to_dict(self) -> Json:
        """Return the known fields."""
        return {name: value for name, value in super().to_dict().items() if value is not None}


@dataclass
class HistoryHead(JsonData):
    """Origin of a dataset of histories, in `histories.json` and on the card.

    Attributes:
        task_name: name of the task.
        group: name shared by tasks with the same observations and actions.
        mode: one of `MODES`, or `public` for an imported dataset.
        random_score: mean return of random actions.
        expert_score: mean return of the best policy.
        seed: of the recording run.
        noise: settings and range of the noise.
        domain_randomization: settings of the masses.
        spearman: rank correlation of an episode's place with its return, over all histories.
        reward_scale: factor on rewards in training; the files hold unscaled rewards.
        episode_sparsity: training reads every n-th episode.
        run: id of the recording run.
        sim: simulator.
        checkpoints: run, step and checksum of the checkpoints that act, in `mode=checkpoints`.
        step_dt: seconds between two rows.
    """

    format: int = FORMAT
    task_name: str = ""
    group: str = ""
    mode: str = "public"
    random_score: float = 0.0
    expert_score: float = 1.0
    seed: int | None = None
    noise: Json | None = None
    domain_randomization: Json | None = None
    spearman: float = 0.0
    reward_scale: float = 1.0
    episode_sparsity: int = 1
    run: str | None = None
    sim: str | None = None
    checkpoints: list[Json] | None = None
    step_dt: float | None = None


@dataclass
class HistoryIndex(HistoryHead):
    """Content of `histories.json`.

    Attributes:
        action_type: `continuous` or `discrete`.
        io: plain `IOSpec`; None for an imported dataset.
        expert_episodes: number of episodes that `expert_score` was measured in.
        parents: ids of the runs whose results the recording run read.
        command: its command line.
        policy_sha256: checksum of the policy.
        first_checkpoint: for each history the index of its first checkpoint.
        checkpoint_count: for each history the number of its checkpoints.
        observation_shape: `proprio`: width D of an observation.
        action_dim: width A of an action.
        observation_mean: mean of each channel, D values.
        observation_std: standard deviation with n - 1 of each channel.
        files: the histories.
    """

    action_type: str = "continuous"
    io: Json | None = None
    expert_episodes: int | None = None
    parents: list[str] = field(default_factory=list)
    command: str | None = None
    policy_sha256: str | None = None
    first_checkpoint: list[int] | None = None
    checkpoint_count: list[int] | None = None
    observation_shape: dict[str, list[int]] = field(default_factory=dict)
    action_dim: int = 0
    observation_mean: list[float] = field(default_factory=list)
    observation_std: list[float] = field(default_factory=list)
    files: list[HistoryFile] = field(default_factory=list)

    def to_dict(self) -> Json:
        """Return the fields; those of checkpoints only if checkpoints act."""
        fields = super().to_dict()
        return {name: value for name, value in fields.items() if value is not None or "checkpoint" not in name}


@dataclass(frozen=True)
class Histories:
    """A dataset of histories; its files are read on access.

    Attributes:
        path: `histories.json`.
        about: its content.
    """

    path: Path
    about: HistoryIndex

    def __len__(self) -> int:
        """Return how many histories there are."""
        return len(self.about.files)

    def __getitem__(self, index: int) -> History:
        """Read one history.

        Raises:
            DatasetError: it differs from `histories.json`.
        """
        row = self.about.files[index]
        path = self.path.parent / row.name
        history = file.load(path)
        shape = (len(history), history.observation.shape[1], history.action.shape[1])
        declared = (row.rows, self.observation_size, self.num_actions)
        if shape != declared:
            raise DatasetError(f"{path} has rows, observation and action {shape}, {INDEX} says {declared}.")
        return history

    def __iter__(self) -> Iterator[History]:
        """Read one history after the other."""
        return (self[index] for index in range(len(self)))

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.about.task_name

    @property
    def group(self) -> str:
        """Name shared by tasks with the same observations and actions."""
        return self.about.group

    @property
    def observation_size(self) -> int:
        """Width D of an observation."""
        return self.about.observation_shape["proprio"][0]

    @property
    def num_actions(self) -> int:
        """Width A of an action."""
        return self.about.action_dim

    @property
    def discrete(self) -> bool:
        """Whether actions are one-hot codes."""
        return self.about.action_type == "discrete"

    @property
    def io(self) -> IOSpec | None:
        """Names, sizes and order of observations and actions; None for an imported dataset without them."""
        return IOSpec.from_dict(self.about.io) if self.about.io else None

    @property
    def rows(self) -> np.ndarray:
        """Rows of each history, (H,)."""
        return np.array([row.rows for row in self.about.files])

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel of the observation over all rows, (D,) float32."""
        return np.array(self.about.observation_mean, np.float32)

    @property
    def std(self) -> np.ndarray:
        """Its standard deviation with n - 1, (D,) float32; 0 for a channel that is constant."""
        return np.array(self.about.observation_std, np.float32)


def index_of(path: Path) -> Path:
    """Return the `histories.json` that a file or a folder leads to.

    Raises:
        DatasetError: there is none.
    """
    index = path / INDEX if path.is_dir() else path
    if index.name == INDEX and index.is_file():
        return index
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
    content = files.read_json(index)
    if content is None or content.get("format") != FORMAT:
        version = "no JSON" if content is None else f"format {content.get('format', 'none')}"
        raise DatasetError(f"{index} is not of this version: expected format {FORMAT}, found {version}.")
    about = HistoryIndex.from_dict(content)
    for row in about.files:
        file = index.parent / row.name
        if not file.is_file():
            raise DatasetError(f"{index} names {row.name}, which is missing. Fetch it, or collect again.")
        if files.sha256(file) != row.sha256:
            raise DatasetError(f"{file} is not what {INDEX} says: its checksum differs. Fetch it, or collect again.")
    return Histories(index, about)
