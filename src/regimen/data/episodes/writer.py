"""Writes episodes: one row per control step of N envs, chunk by chunk, readable while it grows and after a crash."""

from __future__ import annotations

import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from regimen.data.episodes.schema import FORMAT, Column, chunk_envs, chunk_steps, image_steps
from regimen.data.hdf5 import open_hdf5, reading
from regimen.system.errors import DatasetError
from regimen.system.json_data import Json

LIBVER = ("v110", "v110")
"""The oldest file format with SWMR, single writer and multiple readers: any HDF5 since 1.10 reads it."""


class EpisodeWriter:
    """Appends rows; a full chunk is compressed and written by a thread while the next one fills.

    Attributes:
        path: the file.
        rows: rows given so far.
    """

    def __init__(self, path: Path, columns: dict[str, Column], num_envs: int, attrs: Json) -> None:
        """Make the file.

        Args:
            path: replaced if it exists.
            columns: see `columns_for`.
            num_envs: N.
            attrs: attributes of the file: numbers and text as they are, other values as JSON.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._begin(path, columns, num_envs, attrs)
        self._start(0)

    def _begin(self, path: Path, columns: dict[str, Column], num_envs: int, attrs: Json) -> None:
        self.path, self._columns, self._num_envs = path, columns, num_envs
        self._chunk = chunk_steps(num_envs, sum(c.bytes for c in columns.values() if len(c.tail) > 1))
        self._file = h5py.File(path, "w", libver=LIBVER)
        for name, column in columns.items():
            shape = (num_envs, *column.tail)
            steps = image_steps(column, self._chunk)
            block = (steps, chunk_envs(column, steps, num_envs), *column.tail)
            # Measured on walking with sensor noise: lzf with shuffle 162 MB/s and 6 % smaller, gzip-1 57 MB/s and 15 %.
            self._file.create_dataset(
                name, (0, *shape), column.dtype, maxshape=(None, *shape), chunks=block, compression="lzf", shuffle=True
            )
        for name, value in {"format": FORMAT, "steps": np.int64(0), "num_envs": num_envs, **attrs}.items():
            self._file.attrs[name] = value if isinstance(value, str | int | float | np.integer) else json.dumps(value)

    def _start(self, rows: int) -> None:
        self._file.swmr_mode = True
        self.rows = self._written = rows
        self._buffers = [
            {n: np.zeros((self._chunk, self._num_envs, *c.tail), c.dtype) for n, c in self._columns.items()}
            for _ in range(2)
        ]
        self._thread = ThreadPoolExecutor(1, "episodes")
        self._pending: Future[None] | None = None
        self._failure: BaseException | None = None

    @classmethod
    def resume(cls, path: Path, rows: int) -> EpisodeWriter:
        """Continue a file from row `rows`, however its writer ended; later rows are removed.

        Raises:
            DatasetError: the file has fewer rows.
        """
        self = cls.__new__(cls)
        tmp = path.with_name(f".{path.name}.tmp")
        with reading(path), open_hdf5(path) as old:
            if int(old.attrs["steps"]) < rows:
                raise DatasetError(f"{path} has {old.attrs['steps']} rows, fewer than the {rows} to continue from.")
            columns = {n: Column(str(d.dtype), d.shape[2:]) for n, d in datasets(old).items()}
            self._begin(tmp, columns, int(old.attrs["num_envs"]), {})
            for name, value in old.attrs.items():
                self._file.attrs[name] = value
            for name in columns:
                _copy_rows(old[name], self._file[name], rows)
        self._file.attrs["steps"] = np.int64(rows)
        self._start(rows)
        self._file.flush()  # whole on disk, and marked for readers, before it replaces the old one
        os.replace(tmp, path)
        self.path = path
        return self

    @property
    def at_chunk(self) -> bool:
        """Whether the rows added so far fill whole chunks."""
        return self.rows % self._chunk == 0

    def add(self, values: dict[str, np.ndarray]) -> None:
        """Add one row, (N, …) of each column; the arrays are copied.

        Raises:
            DatasetError: the row lacks a column, or has one that the file lacks.
            OSError: the disk is full, now or at an earlier row.
        """
        if values.keys() != self._columns.keys():
            raise self._other_columns(values)
        buffer, row = self._buffers[self.rows // self._chunk % 2], self.rows % self._chunk
        for name, value in values.items():
            buffer[name][row] = value
        self.rows += 1
        if self.at_chunk:
            self._submit_rows()

    def _other_columns(self, values: dict[str, np.ndarray]) -> DatasetError:
        missing, added = sorted(self._columns.keys() - values.keys()), sorted(values.keys() - self._columns.keys())
        found = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also has {', '.join(added)}"] * bool(added)
        return DatasetError(
            f"Row {self.rows} for {self.path} {' and '.join(found)}. Every row has the columns of the file: "
            f"{', '.join(sorted(self._columns))}. Return the same observation groups and labels in every step."
        )

    def _submit_rows(self) -> None:
        """Let the thread write the new rows, after its earlier work."""
        self._wait()
        first, last = self._written, self.rows
        if first < last:
            buffer = self._buffers[first // self._chunk % 2]
            self._pending = self._thread.submit(self._write, buffer, first, last)
            self._written = last

    def _write(self, buffer: dict[str, np.ndarray], first: int, last: int) -> None:
        begin = first % self._chunk
        for name, values in buffer.items():
            dataset = self._file[name]
            rows = values[begin : begin + last - first]
            dataset.resize(last, axis=0)
            if rows.any():  # rows that are not written are zero, and take no space: most of `final_obs/`
                dataset[first:last] = rows
        self._file.flush()
        self._file.attrs.modify("steps", np.int64(last))  # makes the rows visible to readers
        self._file.flush()

    def _wait(self) -> None:
        """Return when the thread has written its rows; after a failed write the file takes no later ones."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._failure = pending.exception()
        if self._failure is not None:
            raise self._failure

    def flush(self) -> None:
        """Return when all rows given so far are in the file, those of an open chunk too.

        Raises:
            OSError: the disk is full.
        """
        self._submit_rows()
        self._wait()

    def close(self) -> None:
        """Write what is left and close the file; after a failed write, the rows before it are all that it has.

        Raises:
            OSError: the disk is full.
        """
        try:
            self.flush()
        finally:
            self._thread.shutdown()
            self._file.close()


def datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return name -> dataset of the layout, `obs/<group>` and `labels/<name>` included."""
    table: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, node: table.update({name: node}) if isinstance(node, h5py.Dataset) else None)
    return table


def _copy_rows(old: h5py.Dataset, new: h5py.Dataset, rows: int) -> None:
    """Copy the first `rows` rows: whole chunks as they are on disk, the rest decoded."""
    new.resize(rows, axis=0)
    in_chunks = rows - rows % old.chunks[0]
    for index in range(old.id.get_num_chunks()):
        offset = old.id.get_chunk_info(index).chunk_offset
        if offset[0] < in_chunks:
            mask, data = old.id.read_direct_chunk(offset)
            new.id.write_direct_chunk(offset, data, mask)
    if in_chunks < rows:
        new[in_chunks:rows] = old[in_chunks:rows]
