"""Write a dataset in the LeRobotDataset v3 layout, as the library LeRobot reads it: Parquet files and metadata.

Many episodes share a file: `data/chunk-000/file-000.parquet` holds rows, `videos/<feature>/chunk-000/file-000.mp4` the
pictures, `meta/episodes/…` the place and statistics of each episode, `meta/stats.json` those of all,
`meta/tasks.parquet` the tasks, `meta/info.json` the features. Written from the format's description
(huggingface.co/docs/lerobot/lerobot-dataset-v3) with pyarrow and av: LeRobot itself pins other versions of torch, and
is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-not-found,import-untyped,unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-not-found,import-untyped,unused-ignore]

from regimen.display.video import VideoWriter
from regimen.system.json_data import Json

VERSION = "v3.0"
DATA_FILE_MB = 100
"""Rows begin a new file before they exceed this, uncompressed; the format's own default."""

VIDEO_FILE_MB = 200
"""An episode begins a new video if the present one has reached this; the format's own default."""

KEY_FRAMES = 2
"""Frames from one key frame to the next, so that a single frame is read quickly; LeRobot's own choice."""

STATISTICS_FRAMES = 100
"""Frames of an episode at most that its image statistics are made of."""

CHUNK_FILES = 1000
"""Files of a folder `chunk-…`; the format's own default."""

GROUP_ROWS = 20_000
"""Rows that are written at once."""

EPISODES_A_FILE = 10_000
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
UNLEARNED = "label."
"""Prefix of features without statistics: ground truth, which may be missing and which no policy reads."""


@dataclass(frozen=True)
class Feature:
    """Type and channels of one column.

    Attributes:
        dtype: numpy name of the type.
        names: of its channels; one for a single value.
    """

    dtype: str
    names: tuple[str, ...]

    def to_dict(self) -> Json:
        """Return its entry in `info.json`."""
        return {"dtype": self.dtype, "shape": [len(self.names)], "names": list(self.names)}


@dataclass(frozen=True)
class Camera:
    """Size of the pictures of one video feature.

    Attributes:
        size: height, width and channels; even numbers of pixels, as H.264 demands.
    """

    size: tuple[int, int, int]

    def to_dict(self, fps: int) -> Json:
        """Return its entry in `info.json`."""
        height, width, channels = self.size
        video = {"height": height, "width": width, "channels": channels, "codec": "h264", "pix_fmt": "yuv420p"}
        video |= {"fps": fps, "is_depth_map": False}
        info = {f"video.{key}": value for key, value in video.items()} | {"has_audio": False}
        return {"dtype": "video", "shape": list(self.size), "names": ["height", "width", "channels"], "info": info}


COUNTED = {
    "timestamp": Feature("float32", ("timestamp",)),
    **{name: Feature("int64", (name,)) for name in ("frame_index", "episode_index", "index", "task_index")},
}
"""Features that every such dataset has; they are counted here."""


class LerobotWriter:
    """Appends whole episodes.

    Attributes:
        folder: of the dataset.
    """

    def __init__(
        self, folder: Path, features: dict[str, Feature], fps: int, task: str, cameras: dict[str, Camera] | None = None
    ) -> None:
        """Begin.

        Args:
            folder: empty or not there.
            features: columns of each episode, without those in `COUNTED`.
            fps: rows a second.
            task: what the robot does, in words.
            cameras: feature -> its pictures, which become videos.
        """
        self.folder, self._features, self._fps, self._task = folder, features | COUNTED, fps, task
        self._cameras = cameras or {}
        self._videos: dict[str, VideoWriter] = {}
        self._video_files = dict.fromkeys(self._cameras, -1)
        self._episodes: list[Json] = []
        self._rows, self._file, self._file_bytes = 0, 0, 0
        self._waiting: list[pa.Table] = []
        self._parquet: pq.ParquetWriter | None = None

    def add(self, episode: dict[str, np.ndarray]) -> None:
        """Append one episode.

        Args:
            episode: name -> (n, …), as described by `features`, and (n, H, W, C) uint8 of each camera.
        """
        number, length = len(self._episodes), len(next(iter(episode.values())))
        steps = np.arange(length)
        counted: dict[str, np.ndarray] = {"timestamp": (steps / self._fps).astype(np.float32), "frame_index": steps}
        counted |= {"episode_index": np.full(length, number), "index": self._rows + steps}
        counted |= {"task_index": np.zeros(length, np.int64)}
        videos: Json = {}
        for name in self._cameras:
            videos |= self._add_video(name, episode[name])
        columns = {name: value for name, value in episode.items() if name not in self._cameras} | counted
        self._write(pa.table({name: _array(columns[name], feature) for name, feature in self._features.items()}))
        self._episodes.append(self._about(number, length, columns) | videos)
        self._rows += length

    def _add_video(self, name: str, pictures: np.ndarray) -> Json:
        """Append the pictures of an episode to the present video; return their place and statistics."""
        writer = self._videos.get(name)
        if writer is None or writer.encoded_bytes >= VIDEO_FILE_MB * 2**20:
            if writer is not None:
                writer.close()
            self._video_files[name] += 1
            path = self.folder / _place(f"videos/{name}", self._video_files[name], "mp4")
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = self._videos[name] = VideoWriter(path, self._fps, KEY_FRAMES)
        begin = writer.frames
        for picture in pictures:
            writer.add(picture)
        chunk, file = divmod(self._video_files[name], CHUNK_FILES)
        place: Json = {"chunk_index": chunk, "file_index": file}
        place |= {"from_timestamp": begin / self._fps, "to_timestamp": writer.frames / self._fps}
        shown = pictures[:: -(-len(pictures) // STATISTICS_FRAMES)]
        figures = _statistics(shown.reshape(-1, shown.shape[-1]) / 255)
        about: Json = {f"videos/{name}/{key}": value for key, value in place.items()}
        # Images have one figure for each channel, in the shape (C, 1, 1), of values from 0 to 1.
        about |= {f"stats/{name}/{key}": v.reshape(-1, 1, 1).tolist() for key, v in figures.items() if key != "count"}
        return about | {f"stats/{name}/count": [len(shown)]}

    def _about(self, number: int, length: int, columns: dict[str, np.ndarray]) -> Json:
        """Return the place of an episode in the files, and its statistics."""
        about = {"episode_index": number, "tasks": [self._task], "length": length}
        about |= {"dataset_from_index": self._rows, "dataset_to_index": self._rows + length}
        about |= dict(zip(("data/chunk_index", "data/file_index"), divmod(self._file, CHUNK_FILES), strict=True))
        about |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": number // EPISODES_A_FILE}
        for name, values in columns.items():
            if not name.startswith(UNLEARNED):
                about |= {f"stats/{name}/{key}": value.tolist() for key, value in _statistics(values).items()}
        return about

    def close(self) -> None:
        """Write what waits, and the description of it all."""
        for writer in self._videos.values():
            writer.close()
        self._flush()
        self._close_file()
        meta = self.folder / "meta"
        for first in range(0, len(self._episodes), EPISODES_A_FILE):
            path = self.folder / _place("meta/episodes", first // EPISODES_A_FILE)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(self._episodes[first : first + EPISODES_A_FILE]), path)
        pq.write_table(_tasks([self._task]), meta / "tasks.parquet")
        (meta / "stats.json").write_text(json.dumps(_together(self._episodes), indent=1) + "\n")
        (meta / "info.json").write_text(json.dumps(self._info(), indent=1) + "\n")

    def _write(self, table: pa.Table) -> None:
        if self._file_bytes and self._file_bytes + table.nbytes > DATA_FILE_MB * 2**20:
            self._flush()
            self._close_file()
            self._file, self._file_bytes = self._file + 1, 0
        self._waiting.append(table)
        self._file_bytes += table.nbytes
        if sum(len(waiting) for waiting in self._waiting) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        if self._parquet is None:
            path = self.folder / _place("data", self._file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._parquet = pq.ParquetWriter(path, table.schema)
        self._parquet.write_table(table)
        self._waiting = []

    def _close_file(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
        self._parquet = None

    def _info(self) -> Json:
        place = "chunk-{chunk_index:03d}/file-{file_index:03d}"
        features = {name: feature.to_dict() for name, feature in self._features.items()}
        features |= {name: camera.to_dict(self._fps) for name, camera in self._cameras.items()}
        return {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": len(self._episodes),
            "total_frames": self._rows,
            "total_tasks": 1,
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": f"data/{place}.parquet",
            "video_path": f"videos/{{video_key}}/{place}.mp4" if self._cameras else None,
            "features": features,
        }


def _place(folder: str, number: int, suffix: str = "parquet") -> str:
    chunk, file = divmod(number, CHUNK_FILES)
    return f"{folder}/chunk-{chunk:03d}/file-{file:03d}.{suffix}"


def _array(values: np.ndarray, feature: Feature) -> pa.Array:
    """Return (n,) or (n, d) as a column: single values, or lists of d."""
    flat = pa.array(np.ascontiguousarray(values, feature.dtype).ravel())
    width = len(feature.names)
    return flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)


def _statistics(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return name -> (d,) over the rows of (n,) or (n, d), and `count` (1,)."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    statistics = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    statistics |= {
        f"q{round(100 * q):02d}": v for q, v in zip(QUANTILES, np.quantile(rows, QUANTILES, axis=0), strict=True)
    }
    return statistics | {"count": np.array([len(rows)])}


def _together(episodes: Sequence[Json]) -> dict[str, dict[str, list[float]]]:
    """Return feature -> statistic -> values over all episodes; quantiles are means of those of the episodes.

    The mean of quantiles is what LeRobot itself makes of several episodes; every other figure is exact.
    """
    names = sorted({key.split("/")[1] for key in episodes[0] if key.startswith("stats/")})
    return {name: _pooled(name, episodes) for name in names}


def _pooled(name: str, episodes: Sequence[Json]) -> dict[str, list[float]]:
    def of(key: str) -> np.ndarray:
        return np.array([episode[f"stats/{name}/{key}"] for episode in episodes], np.float64)

    count, mean = of("count"), of("mean")
    share = count.reshape(-1, *[1] * (mean.ndim - 1)) / count.sum()
    overall = (share * mean).sum(0)
    spread = np.sqrt((share * (of("std") ** 2 + (mean - overall) ** 2)).sum(0))
    statistics = {"min": of("min").min(0), "max": of("max").max(0), "mean": overall, "std": spread}
    statistics |= {key: (share * of(key)).sum(0) for key in (f"q{round(100 * q):02d}" for q in QUANTILES)}
    return {key: value.tolist() for key, value in statistics.items()} | {"count": [int(count.sum())]}


def _tasks(tasks: list[str]) -> pa.Table:
    """Return the table of tasks; its metadata declare the task text as the index for pandas."""
    index = "__index_level_0__"
    text = {"name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    columns = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
        | {"metadata": None},
        text | {"field_name": index},
    ]
    labels = [text | {"field_name": None, "metadata": {"encoding": "UTF-8"}}]
    description = {"index_columns": [index], "column_indexes": labels, "columns": columns, "pandas_version": "2.0.0"}
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(description)})
