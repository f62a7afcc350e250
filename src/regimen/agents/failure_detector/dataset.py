"""The data of a detector: opened, counted, split, and judged by the gates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.agents.base import OpenedData

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.data.episodes.splits import Splits
    from regimen.envs.vec_env import IOSpec


@dataclass(frozen=True)
class DetectorData:
    """What a detector learns from.

    Attributes:
        paths: files of episodes, all of the same kind.
        splits: which envs are for training, validation and test.
        io: names and sizes of observations and actions.
        joints: all joints of the robot, in the order of labels and torques.
        candidates: those that may fail.
        memory_bytes: what may be in memory at once.
    """

    paths: list[Path]
    splits: Splits
    io: IOSpec
    joints: list[str]
    candidates: list[str]
    memory_bytes: int


def open_data(config: Config, memory_gb: float, group: str) -> OpenedData:
    """Return the data of a run that distils a detector, and what the gates have against them.

    All of it is counted anew here, over all datasets together: a card beside a dataset knows only that one.

    Args:
        config: names the datasets.
        memory_gb: limit for the data in memory, in GiB.
        group: observation group that is read; in the others the datasets may differ.
    """
    from regimen.data.episodes import card as cards
    from regimen.data.episodes.reader import open_all
    from regimen.data.episodes.splits import split

    paths = [Path(path) for path in config.data]
    card = cards.make(paths, config.seed, group)
    by_split = card.to_dict()["by_split"]
    about = {"rows": card.rows, "episodes": card.episodes_by_class, "by_split": by_split}
    files = open_all(paths, group)
    try:
        splits = split([file.num_envs for file in files], config.seed)
        memory, first = int(memory_gb * 2**30), files[0]
        data = DetectorData([f.path for f in files], splits, first.io, first.joints, card.classes, memory)
        return OpenedData(data, about, card.problems(), "for training a detector")
    finally:
        for file in files:
            file.close()
