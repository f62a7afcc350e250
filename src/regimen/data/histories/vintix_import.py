"""Convert public data in the layout of Vintix: `regimen import-histories <folder> --out <folder>`.

A public dataset is a folder of HDF5 files with four datasets a group, and `<folder name>.json`. One recorder
writes one observation more than actions into each group, the one after the last action: put together, every
later group is shifted against its actions. The surplus is removed here, and reported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.hdf5 import open_hdf5, reading
from regimen.data.histories.file import BLOCK, MATRICES, PUBLIC, append, read, require_sound, surplus_observations
from regimen.data.histories.reader import INDEX, HistoryIndex
from regimen.data.histories.writer import write_index
from regimen.system import files
from regimen.system.errors import DatasetError

METADATA = (
    "task_name", "group", "action_type", "reward_scale", "episode_sparsity", "io", "mode", "random_score",
    "expert_score", "parents", "seed",
)  # fmt: skip
"""Fields of the public JSON that are kept."""


def convert(folder: Path, out: Path, **scores: Any) -> tuple[Path, list[str]]:
    """Write a public dataset as a dataset of this project, whole or not at all.

    Args:
        folder: holds `*.h5` and `<folder name>.json`.
        out: new folder.
        scores: `random_score`, `expert_score`, `reward_scale`, `episode_sparsity`, which its JSON may lack.

    Returns:
        The path of `histories.json`, and the repairs, one line for each file.

    Raises:
        DatasetError: the layout is not the public one, the files differ in their widths, or `out` is there.
    """
    about = _metadata(folder)
    paths = sorted(folder.glob("*.h5"))
    if not paths:
        raise DatasetError(f"{folder} holds no histories: there is no *.h5 in it.")
    if out.exists():
        raise DatasetError(f"{out} exists. Name a new folder.")
    about = replace(about, **{name: value for name, value in scores.items() if value is not None})
    with files.new_folder(out) as part:
        repairs = _write(paths, part)
        write_index(part, about, {"source": [path.name for path in paths]})
    return out / INDEX, repairs


def _write(paths: list[Path], part: Path) -> list[str]:
    """Write each public file as one of this project into `part`; return the repairs.

    Raises:
        DatasetError: a file is broken, or they differ in their widths; the message names the public file.
    """
    repairs, widths = [], (0, 0)
    for number, file in enumerate(paths):
        surplus = surplus_observations(file)
        columns = _without_surplus(file) if surplus else read(file, tuple(PUBLIC))
        observation, action = (columns[name].shape[1] for name in MATRICES)
        if number and (observation, action) != widths:
            raise DatasetError(
                f"{file} has observations and actions of {(observation, action)}, the files before {widths}. Import "
                "files of one width together."
            )
        widths = (observation, action)
        if surplus:
            repairs.append(f"{file.name}: {len(surplus)} groups had one observation more than actions; removed.")
        for first in range(0, len(columns["reward"]), BLOCK):
            append(part / f"{number:05d}.h5", first, {name: v[first : first + BLOCK] for name, v in columns.items()})
    return repairs


def _metadata(folder: Path) -> HistoryIndex:
    """Return the content of `<folder name>.json` as an index.

    Raises:
        DatasetError: it is missing, or lacks required values.
    """
    path = folder / f"{folder.name}.json"
    content = files.read_json(path)
    if content is None:
        raise DatasetError(f"{folder} has no readable {path.name}: expected task_name, action_type and shapes in it.")
    missing = [name for name in ("task_name", "action_type") if name not in content]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}.")
    kept = {name: value for name, value in content.items() if name in METADATA}
    return HistoryIndex.from_dict({"group": str(content["task_name"])} | kept)


def _without_surplus(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a file, the last observation of each group that has one too many left out.

    Raises:
        DatasetError: see `require_sound`.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in PUBLIC}
    with reading(path), open_hdf5(path) as file:
        for key in sorted(file, key=lambda name: int(name.partition("-")[0])):
            rows = len(file[key]["action"])
            for name, kind in PUBLIC.items():
                parts[name].append(file[key][name][:rows].astype(kind, copy=False))
    columns = {name: np.concatenate(part) for name, part in parts.items()}
    require_sound(path, columns)
    return columns
