"""Exports recorded episodes and learning histories to the LeRobot v3 layout: `regimen export-lerobot <run> <folder>`.

`observation.state` is what the policy reads, `next.reward` and `next.done` belong to the step that the action of their
row caused, as in Regimen's own files. The ground truth of `labels/` becomes features `label.<name>`. Images become
videos `observation.images.<name>`; the observation after the last action of an episode has no place in the layout.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from regimen.data.episodes.reader import EpisodeFile, open_all
from regimen.data.histories.reader import INDEX, Histories, open_histories
from regimen.envs.vec_env import IOSpec
from regimen.system.errors import DatasetError, PreflightError
from regimen.system.files import new_folder

STATE = "observation.state"
PLAIN = {"action": "action", "reward": "next.reward", "obs/policy": STATE}
ENDS = ("terminated", "truncated")


@dataclass(frozen=True)
class Source:
    """The data to export.

    Attributes:
        task: name of the task.
        step_dt: seconds between two rows, None where the dataset does not state it.
        features: name -> (numpy name of the type, names of its channels).
        episodes: name -> (n, …) of one episode after the other.
        images: name -> height, width and channels.
    """

    task: str
    step_dt: float | None
    features: dict[str, tuple[str, tuple[str, ...]]]
    episodes: Iterator[dict[str, np.ndarray]]
    images: dict[str, tuple[int, int, int]] = field(default_factory=dict)


def export(dataset: Path, folder: Path, fps: int | None = None) -> dict[str, int]:
    """Write a dataset to a new folder, whole or not at all; return the number of episodes and rows.

    Args:
        dataset: a file of episodes, a folder of such files, or the `histories.json` of learning histories.
        folder: to make.
        fps: rows a second, for a dataset that does not state it; None for all others.

    Raises:
        PreflightError: the extra is not installed, or there is such a folder already.
        DatasetError: the dataset cannot be read, is empty, or has no whole number of rows a second.
    """
    require_extra()
    if folder.exists():
        raise PreflightError(f"{folder} is there already: name a new folder, or take that one away.")
    source = of_histories(open_histories(dataset)) if dataset.name == INDEX else of_episodes(open_all([dataset]))
    rate = _rate(source, fps)
    with new_folder(folder) as part:
        return _write(source, part, rate)


def require_extra() -> None:
    """Raise unless pyarrow, which writes Parquet, is installed.

    Raises:
        PreflightError: it is not; the message has the command that installs it.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise PreflightError(
            f"Parquet files are written by pyarrow, which {sys.executable} does not have. "
            f"Type: {sys.executable} -m pip install -e '.[lerobot]'"
        )


def of_episodes(files: list[EpisodeFile]) -> Source:
    """Return files of `stage=collect` as a source.

    Args:
        files: that fit each other.
    """
    first = files[0]
    kept = [n for n in first.columns if n not in ("episode", *ENDS) and not n.startswith("final_obs/")]
    names = {name: _name(name) for name in kept}
    cameras = [f"obs/{group}" for group in first.io.images]
    names |= {name: f"observation.images.{name.removeprefix('obs/')}" for name in cameras}
    images: dict[str, tuple[int, int, int]] = {}
    for name in cameras:
        height, width, channels = images[names[name]] = first.columns[name]
        if height % 2 or width % 2 or channels != 3:
            size = f"{height} x {width} x {channels}"
            raise DatasetError(f"{name}: H.264 has even sizes and three channels, these images are {size}.")
    channels = {"action": tuple(first.io.action.joints)}
    channels |= {f"obs/{group}": _channels(first.io, group) for group in first.io.observations}
    plain = [name for name in kept if name not in cameras]
    with_type = first.read(plain, slice(0, 0))
    features = {names[n]: (str(with_type[n].dtype), channels.get(n, (names[n],))) for n in plain} | _END_FEATURES
    task = "unknown" if first.attributes.task is None else first.attributes.task
    return Source(task, first.attributes.step_dt, features, _rows_of_files(files, names), images)


def of_histories(histories: Histories) -> Source:
    """Return learning histories as a source; `history` is the number of the learner, whose episodes stay in order.

    Args:
        histories: the dataset.
    """
    io, more = histories.io, histories[0].more
    observation = _channels(io, "policy") if io else _numbered("observation", histories.observation_size)
    action = tuple(io.action.joints) if io else _numbered("action", histories.num_actions)
    if len(action) != histories.num_actions:  # a discrete action has one column for each choice
        action = _numbered("action", histories.num_actions)
    features: dict[str, tuple[str, tuple[str, ...]]] = {STATE: ("float32", observation), "action": ("float32", action)}
    features |= {"next.reward": ("float32", ("next.reward",)), "history": ("int64", ("history",))}
    features |= {name: (str(value.dtype), (name,)) for name, value in more.items() if name not in ENDS} | _END_FEATURES
    return Source(histories.task, io.step_dt if io else None, features, _rows_of_histories(histories))


_END_FEATURES = {name: ("bool", (name,)) for name in ("next.done", "next.truncated")}


def _name(column: str) -> str:
    group = column.removeprefix("obs/")
    return PLAIN.get(column) or (f"observation.{group}" if group != column else column.replace("labels/", "label."))


def _channels(io: IOSpec, group: str) -> tuple[str, ...]:
    terms = io.observations[group].items()
    return tuple(name for term, size in terms for name in ((term,) if size == 1 else _numbered(term, size)))


def _numbered(name: str, size: int) -> tuple[str, ...]:
    return tuple(f"{name}.{i}" for i in range(size))


def _rows_of_files(files: list[EpisodeFile], names: dict[str, str]) -> Iterator[dict[str, np.ndarray]]:
    for file in files:
        for episode in file.iterate([*names, *ENDS]):
            yield {new: episode[old] for old, new in names.items()} | _ends(episode["terminated"], episode["truncated"])


def _rows_of_histories(histories: Histories) -> Iterator[dict[str, np.ndarray]]:
    for number, history in enumerate(histories):
        last = np.zeros(len(history), bool)
        last[history.stop[history.complete] - 1] = True
        ends = _ends(history.more.get("terminated", last), history.more.get("truncated", np.zeros_like(last)))
        columns = {STATE: history.observation, "action": history.action, "next.reward": history.reward} | ends
        columns |= {name: value for name, value in history.more.items() if name not in ENDS}
        for start, stop in zip(history.start, history.stop, strict=True):
            episode = {name: value[start:stop] for name, value in columns.items()}
            yield episode | {"history": np.full(stop - start, number)}


def _ends(terminated: np.ndarray, truncated: np.ndarray) -> dict[str, np.ndarray]:
    return {"next.done": terminated | truncated, "next.truncated": truncated}


def _rate(source: Source, fps: int | None) -> int:
    """Return rows a second, a whole number in this format."""
    if source.step_dt is None:
        if fps is None or fps < 1:
            raise DatasetError("The dataset does not say how long a step is; say it: --fps <rows a second, 1 or more>.")
        return fps
    rate = round(1 / source.step_dt)
    if abs(rate * source.step_dt - 1) > 1e-6:
        raise DatasetError(f"A step of {source.step_dt} s is no whole number of rows a second, which LeRobot expects.")
    if fps not in (None, rate):
        raise DatasetError(f"--fps {fps}: the dataset itself says {rate}. Leave --fps out.")
    return rate


def _write(source: Source, folder: Path, fps: int) -> dict[str, int]:
    from regimen.data.lerobot.layout import Camera, Feature, LerobotWriter

    features = {name: Feature(dtype, names) for name, (dtype, names) in source.features.items()}
    cameras = {name: Camera(size) for name, size in source.images.items()}
    writer, counts = LerobotWriter(folder, features, fps, source.task, cameras), {"episodes": 0, "rows": 0}
    for episode in source.episodes:
        writer.add(episode)
        counts = {"episodes": counts["episodes"] + 1, "rows": counts["rows"] + len(episode["next.done"])}
    if not counts["rows"]:
        raise DatasetError("The dataset has no rows: there is nothing to export.")
    writer.close()
    return counts
