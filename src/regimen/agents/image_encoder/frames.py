"""Frames of recorded episodes, read from HDF5 so that the pictures in memory stay below a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from regimen.data.episodes.reader import EpisodeFile
from regimen.envs.vec_env import IOSpec, Obs
from regimen.system.errors import DatasetError


@dataclass(frozen=True)
class FrameBatch:
    """B frames.

    Attributes:
        pictures: camera -> (B, H, W, C) uint8.
        following: the same one step later; None if it was not asked for.
        vectors: group -> (B, d) float32.
        action: (B, A) float32.
    """

    pictures: Obs
    following: Obs | None
    vectors: dict[str, torch.Tensor]
    action: torch.Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.action)


@dataclass(frozen=True)
class _Episode:
    file: int
    env: int
    start: int
    stop: int
    stored: int
    """Frames that are read: its rows, and the one after the last action where it is in the file and asked for."""

    frames: int
    """Frames to learn from."""


class EpisodeFrames:
    """Frames of files of episodes.

    Attributes:
        io: names and sizes of observations and actions.
        cameras: image groups that are read.
        train: indices of the episodes to learn from.
        validation: indices of the episodes that measure the error.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        cameras: Sequence[str],
        groups: Sequence[str],
        following: bool,
        validation: float,
        memory_bytes: int,
        seed: int,
    ) -> None:
        """Open the files and split their episodes.

        Args:
            paths: files with the same observations.
            cameras: image groups.
            groups: groups of vectors.
            following: whether batches have the pictures that follow.
            validation: share of the episodes that measure the error; at least one.
            memory_bytes: limit for the pictures in memory.
            seed: of the split.

        Raises:
            DatasetError: there are fewer than two episodes, or one of them exceeds the limit.
        """
        self.cameras, self._groups, self._following = list(cameras), list(groups), following
        self._limit, self._files = memory_bytes, [EpisodeFile(path) for path in paths]
        self.io: IOSpec = self._files[0].io
        self._episodes = [episode for number in range(len(paths)) for episode in self._find(number)]
        self._frame_bytes = sum(int(np.prod(self.io.images[name])) for name in self.cameras)
        if len(self._episodes) < 2:
            raise DatasetError(f"{len(self._episodes)} episodes in {paths}: expected 2 or more, to learn and to judge.")
        longest = max(episode.stored for episode in self._episodes) * self._frame_bytes
        if longest > memory_bytes:
            raise DatasetError(
                f"The pictures of one episode are {longest / 2**30:.3g} GiB, more than stage.memory_gb="
                f"{memory_bytes / 2**30:.3g}. Type stage.memory_gb={1.1 * longest / 2**30:.2g}."
            )
        order = np.random.default_rng(seed).permutation(len(self._episodes))
        judged = max(1, round(validation * len(order)))
        self.validation, self.train = np.sort(order[:judged]), np.sort(order[judged:])
        self._kept: dict[bytes, _Pool] = {}

    def _find(self, number: int) -> Iterator[_Episode]:
        file = self._files[number]
        table = file.episodes()
        final = self._following and all(f"final_obs/{name}" in file.columns for name in self.cameras)
        ended = table.terminated | table.truncated
        for row in range(len(table)):
            rows = int(table.length[row])
            last = final and bool(ended[row])
            stored = rows + last
            frames = stored - 1 if self._following else rows
            if frames:
                env, start, stop = (int(x[row]) for x in (table.env, table.start, table.stop))
                yield _Episode(number, env, start, stop, stored, frames)

    @property
    def bytes(self) -> int:
        """Size of all pictures that are read."""
        return self._frame_bytes * sum(episode.stored for episode in self._episodes)

    @property
    def pool_bytes(self) -> int:
        """Size of the pictures that are in memory at once."""
        return min(self.bytes, self._limit)

    def count(self, episodes: np.ndarray) -> int:
        """Return the number of frames of episodes."""
        return sum(self._episodes[i].frames for i in episodes)

    def batches(self, episodes: np.ndarray, size: int) -> int:
        """Return the number of batches of an epoch, at least."""
        return -(-self.count(episodes) // size)

    def epoch(
        self, episodes: np.ndarray, size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[FrameBatch]:
        """Yield the frames of episodes in batches.

        What does not fit into memory is read in groups of episodes: frames are mixed within a group, and the
        groups of each epoch are other ones.

        Args:
            episodes: indices.
            size: frames of a batch.
            rng: shuffles; None for the order of the files.
            skip: batches to leave out at the beginning.
        """
        order = episodes if rng is None else rng.permutation(episodes)
        for group in self._groups_of(order):
            frames = self.count(group)
            rows = np.arange(frames) if rng is None else rng.permutation(frames)
            parts = [rows[low : low + size] for low in range(0, frames, size)]
            left, skip = parts[skip:], max(0, skip - len(parts))
            if not left:
                continue
            pool = self._pool(group)
            for part in left:
                yield pool.batch(part)

    def _groups_of(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """Yield as many episodes at a time as fit into memory; all in their fixed order if all files fit."""
        if self.bytes <= self._limit:
            yield np.sort(order)
            return
        group: list[int] = []
        held = 0
        for index in order.tolist():
            more = self._episodes[index].stored * self._frame_bytes
            if group and held + more > self._limit:
                yield np.array(group)
                group, held = [], 0
            group.append(index)
            held += more
        yield np.array(group)

    def _pool(self, group: np.ndarray) -> _Pool:
        """Return the frames of a group; both splits stay in memory if all files fit."""
        key = group.tobytes()
        if key not in self._kept:
            if self.bytes > self._limit:
                self._kept.clear()  # before the next group is read
            self._kept[key] = self._read(group)
        return self._kept[key]

    def _read(self, group: np.ndarray) -> _Pool:
        episodes = [self._episodes[i] for i in group]
        stored, io = sum(episode.stored for episode in episodes), self.io
        pictures = {name: np.empty((stored, *io.images[name]), np.uint8) for name in self.cameras}
        vectors = {name: np.zeros((stored, io.size(name)), np.float32) for name in self._groups}
        action, rows, low = np.zeros((stored, io.num_actions), np.float32), [], 0
        for episode in episodes:
            file, env = self._files[episode.file], slice(episode.env, episode.env + 1)
            names = ["action", *(f"obs/{name}" for name in (*self.cameras, *self._groups))]
            values = file.read(names, slice(episode.start, episode.stop), env)
            high = low + episode.stop - episode.start
            action[low:high] = values["action"][:, 0]
            for name, stack in (pictures | vectors).items():
                stack[low:high] = values[f"obs/{name}"][:, 0]
            if high < low + episode.stored:
                last = slice(episode.stop - 1, episode.stop)
                for name, value in file.read([f"final_obs/{name}" for name in self.cameras], last, env).items():
                    pictures[name.removeprefix("final_obs/")][high] = value[0, 0]
            rows.append(np.arange(low, low + episode.frames))
            low += episode.stored
        tensors = {name: torch.from_numpy(stack) for name, stack in (pictures | vectors).items()}
        return _Pool(
            {name: tensors[name] for name in self.cameras},
            {name: tensors[name] for name in self._groups},
            torch.from_numpy(action),
            torch.from_numpy(np.concatenate(rows)),
            self._following,
        )

    def close(self) -> None:
        """Close the files."""
        self._kept.clear()
        for file in self._files:
            file.close()


@dataclass(frozen=True)
class _Pool:
    pictures: Obs
    vectors: dict[str, torch.Tensor]
    action: torch.Tensor
    rows: torch.Tensor
    following: bool

    def batch(self, part: np.ndarray) -> FrameBatch:
        rows = self.rows[torch.from_numpy(part)]
        after = {name: stack[rows + 1] for name, stack in self.pictures.items()} if self.following else None
        return FrameBatch(
            {name: stack[rows] for name, stack in self.pictures.items()},
            after,
            {name: values[rows] for name, values in self.vectors.items()},
            self.action[rows],
        )
