"""Episodes as padded batches for training, from memory: the whole dataset if it fits, else pools of envs in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from regimen.data.episodes.reader import EpisodeFile, EpisodeIndex, open_all


@dataclass(frozen=True)
class Batch:
    """B episodes side by side, each from its first row, padded at the end.

    Attributes:
        values: column -> (B, L, …); numbers are float32, ids int64, switches bool. Padding repeats the last row.
        mask: (B, L) bool, where there is an episode.
        length: (B,).
        dataset: (B,) number of the file.
        env: (B,) env in it.
        start: (B,) row of the file where the episode begins.
    """

    values: dict[str, torch.Tensor]
    mask: torch.Tensor
    length: torch.Tensor
    dataset: torch.Tensor
    env: torch.Tensor
    start: torch.Tensor


class _Pool:
    """Some envs of one or more files in memory, env after env, so that every episode is contiguous."""

    def __init__(self, parts: list[tuple[int, EpisodeFile, EpisodeIndex, np.ndarray]], names: Sequence[str]) -> None:
        values: dict[str, list[torch.Tensor]] = {name: [] for name in names}
        rows, starts, lengths, origin = 0, [], [], []
        for number, file, table, envs in parts:
            for name, value in _load(file, names, envs).items():
                values[name].append(value)
            chosen = table.select(np.isin(table.env, envs))
            place = np.searchsorted(envs, chosen.env)
            starts.append(rows + place * file.steps + chosen.start)
            lengths.append(chosen.length)
            origin.append(np.stack([np.full(len(chosen), number), chosen.env, chosen.start], axis=1))
            rows += len(envs) * file.steps
        self.values = {name: torch.cat(parts) for name, parts in values.items()}
        self.start = torch.from_numpy(np.concatenate(starts))
        self.length = torch.from_numpy(np.concatenate(lengths))
        self.origin = torch.from_numpy(np.concatenate(origin))

    def batch(self, chosen: torch.Tensor) -> Batch:
        length = self.length[chosen]
        steps = torch.arange(int(length.max()))
        rows = self.start[chosen, None] + torch.minimum(steps, length[:, None] - 1)
        flat = rows.flatten()
        values = {n: v.index_select(0, flat).view(*rows.shape, *v.shape[1:]) for n, v in self.values.items()}
        dataset, env, start = self.origin[chosen].unbind(1)
        return Batch(values, steps < length[:, None], length, dataset, env, start)


def _load(file: EpisodeFile, names: Sequence[str], envs: np.ndarray) -> dict[str, torch.Tensor]:
    """Return column -> (len(envs) * T, …), env after env; blocks of envs are read as they are stored."""
    block, steps = file.env_block, file.steps
    out = {name: _empty(file, name, len(envs) * steps) for name in names}
    done = 0
    for low in range(0, file.num_envs, block):
        here = envs[(envs >= low) & (envs < low + block)] - low
        if not len(here):
            continue
        for name, value in file.read(names, envs=slice(low, low + block)).items():
            rows = out[name][done * steps : (done + len(here)) * steps]
            torch.from_numpy(rows.numpy().reshape(len(here), steps, *value.shape[2:])).copy_(
                torch.from_numpy(value).transpose(0, 1)[torch.from_numpy(here)]
            )
        done += len(here)
    return out


def _empty(file: EpisodeFile, name: str, rows: int) -> torch.Tensor:
    kind = file.read([name], slice(0, 1))[name].dtype.kind
    dtype = {"f": torch.float32, "i": torch.int64, "b": torch.bool}[kind]
    return torch.empty((rows, *file.columns[name]), dtype=dtype)


class Sequences:
    """The episodes of some envs of some datasets, drawn in random batches.

    Attributes:
        episodes: number of episodes.
        rows: steps of all of them.
        bytes: memory of the whole data.
        fits: whether it is loaded once and kept; else an epoch goes through the envs pool by pool.
    """

    def __init__(
        self, paths: Sequence[Path], envs: Sequence[np.ndarray], names: Sequence[str], memory_bytes: int
    ) -> None:
        """Open the files; nothing is loaded yet.

        Args:
            paths: datasets.
            envs: for each, the envs to read; see `Splits.envs`.
            names: columns, such as `obs/discriminator` and `labels/fault_joint`.
            memory_bytes: limit for the data in memory.

        Raises:
            DatasetError: a file lacks a column, or the files do not fit each other.
        """
        groups = [name.removeprefix("obs/") for name in names if name.startswith("obs/")]
        self._files, self._names = open_all(paths, groups[0] if len(groups) == 1 else None), list(names)
        self._envs = [np.sort(np.asarray(e, dtype=int)) for e in envs]
        tables = [file.episodes() for file in self._files]
        for file in self._files:
            file.require(names)
        self._tables = [t.select(np.isin(t.env, e)) for t, e in zip(tables, self._envs, strict=True)]
        self.episodes = sum(len(t) for t in self._tables)
        self.rows = sum(int(t.length.sum()) for t in self._tables)
        self._row_bytes = [_row_bytes(file, names) * file.steps for file in self._files]
        self.bytes = sum(size * len(e) for size, e in zip(self._row_bytes, self._envs, strict=True))
        self.fits = self.bytes <= memory_bytes
        self._memory_bytes = memory_bytes
        self._all_data: _Pool | None = None

    def summary(self) -> str:
        """Return one line: episodes, steps, size, and whether the data are kept in memory."""
        how = "kept in memory" if self.fits else f"read in pools of {self._memory_bytes / 2**30:.1f} GiB"
        return f"{self.episodes} episodes, {self.rows} steps, {self.bytes / 2**30:.2f} GiB: {how}"

    def epoch(self, batch_size: int, rng: np.random.Generator, shuffle: bool = True) -> Iterator[Batch]:
        """Yield every episode once, `batch_size` at a time, episodes of similar length together.

        Args:
            batch_size: B; the last batch of a pool may be smaller.
            rng: of the order.
            shuffle: false gives the same order each time.
        """
        for pool in self._pools(rng if shuffle else None):
            for chosen in _batches(pool.length.numpy(), batch_size, rng if shuffle else None):
                yield pool.batch(torch.from_numpy(chosen))

    def _pools(self, rng: np.random.Generator | None) -> Iterator[_Pool]:
        if self.fits:
            if self._all_data is None:
                self._all_data = _Pool(self._parts(list(range(len(self._files))), self._envs), self._names)
            yield self._all_data
            return
        for number, envs in self._split_envs(rng):
            yield _Pool(self._parts([number], [envs]), self._names)

    def _parts(
        self, numbers: list[int], envs: Sequence[np.ndarray]
    ) -> list[tuple[int, EpisodeFile, EpisodeIndex, np.ndarray]]:
        return [(n, self._files[n], self._tables[n], e) for n, e in zip(numbers, envs, strict=True) if len(e)]

    def _split_envs(self, rng: np.random.Generator | None) -> list[tuple[int, np.ndarray]]:
        """Return (file, envs) of each pool: neighbouring envs, because they are stored together."""
        pools = []
        for number, envs in enumerate(self._envs):
            most = max(1, self._memory_bytes // self._row_bytes[number])
            pools += [(number, envs[low : low + most]) for low in range(0, len(envs), most)]
        order = range(len(pools)) if rng is None else rng.permutation(len(pools))
        return [pools[i] for i in order]

    def close(self) -> None:
        """Close the files and free the memory."""
        self._all_data = None
        for file in self._files:
            file.close()


def _row_bytes(file: EpisodeFile, names: Sequence[str]) -> int:
    return sum(_empty(file, name, 1).nbytes for name in names)


def _batches(lengths: np.ndarray, size: int, rng: np.random.Generator | None) -> Iterator[np.ndarray]:
    """Yield indices of similar lengths: sorted within groups of 16 batches, to reduce padding."""
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    groups = [order[low : low + 16 * size] for low in range(0, len(order), 16 * size)]
    batches = []
    for group in groups:
        ordered = group[np.argsort(lengths[group], kind="stable")]
        batches += [ordered[low : low + size] for low in range(0, len(ordered), size)]
    for i in range(len(batches)) if rng is None else rng.permutation(len(batches)):
        yield batches[i]
