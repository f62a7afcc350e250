"""Convert public data in the layout of Vintix: `regimen import-histories <folder> --out <folder>`.

A public dataset is a folder of HDF5 files with four datasets a group, and `<folder name>.json`. One recorder
writes one observation more than actions into each group, the one after the last action: put together, every
later group is shifted against its actions. The surplus is removed here, and reported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from regimen.data.histories.file import BLOCK, PUBLIC, append, read, surplus_observations
from regimen.data.histories.writer import write_index
from regimen.system import files
from regimen.system.errors import DatasetError


def convert(folder: Path, out: Path, **scores: Any) -> tuple[Path, list[str]]:
    """Write a public dataset as a dataset of this project.

    Args:
        folder: holds `*.h5` and `<folder name>.json`.
        out: new folder.
        scores: `random_score`, `expert_score`, `reward_scale`, `episode_sparsity`, which its JSON may lack.

    Returns:
        The path of `histories.json`, and the repairs, one line for each file.

    Raises:
        DatasetError: the layout is not the public one, or `out` is there.
    """
    about = _metadata(folder)
    files = sorted(folder.glob("*.h5"))
    if not files:
        raise DatasetError(f"{folder} holds no histories: there is no *.h5 in it.")
    if out.exists():
        raise DatasetError(f"{out} is there already. Name a new folder.")
    out.mkdir(parents=True)
    repairs = []
    for number, file in enumerate(files):
        surplus = surplus_observations(file)
        columns = _without_surplus(file) if surplus else read(file, tuple(PUBLIC))
        if surplus:
            repairs.append(f"{file.name}: {len(surplus)} groups had one observation more than actions; removed.")
        for first in range(0, len(columns["reward"]), BLOCK):
            append(out / f"{number:05d}.h5", first, {name: v[first : first + BLOCK] for name, v in columns.items()})
    each = {"source": [file.name for file in files]}
    return write_index(out, about | {name: v for name, v in scores.items() if v is not None}, each), repairs


def _metadata(folder: Path) -> dict[str, Any]:
    """Return the content of `<folder name>.json` under the names of `histories.json`.

    Raises:
        DatasetError: it is missing, or lacks required values.
    """
    path = folder / f"{folder.name}.json"
    found = files.read_json(path)
    if found is None:
        raise DatasetError(f"{folder} has no readable {path.name}: expected task_name, action_type and shapes in it.")
    missing = [name for name in ("task_name", "action_type") if name not in found]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}.")
    task = str(found["task_name"])
    known = {"task_name": task, "group": task, "reward_scale": 1.0, "episode_sparsity": 1, "io": None, "mode": "public"}
    known |= {"random_score": 0.0, "expert_score": 1.0, "parents": [], "seed": None}
    return known | {name: value for name, value in found.items() if name in known or name == "action_type"}


def _without_surplus(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a file, the last observation of each group that has one too many left out."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in PUBLIC}
    with h5py.File(path, "r") as file:
        for key in sorted(file, key=lambda name: int(name.partition("-")[0])):
            rows = len(file[key]["action"])
            for name, kind in PUBLIC.items():
                parts[name].append(file[key][name][:rows].astype(kind, copy=False))
    return {name: np.concatenate(part) for name, part in parts.items()}
