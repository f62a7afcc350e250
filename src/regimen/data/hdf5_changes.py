"""Small changes of a finished HDF5 file that leave it readable after a kill or on a full disk."""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py

JOINED_BYTES = 1 << 16
"""Changed places that lie nearer to each other than this are written at once."""


@contextmanager
def changing_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a finished file for changes of a few KB; they are kept in memory and written when the block ends.

    HDF5 marks a file in place as open for writing, refuses it after a kill, and leaves half of the changes on a full
    disk. Here the file is not touched before all changes are there. What extends it is written first, beyond the end
    that its description names; then the changed places, in one write of a few KB where they lie together, as attributes
    of a dataset do. No copy of the data is made. After an error in the block the file is as before. A failure of the
    power between the writes is not covered.

    Args:
        path: the file; no other process writes it.

    Raises:
        OSError: the file is missing, no HDF5 file, still open in a writer, or the disk is full.
    """
    with path.open("r+b", buffering=0) as base, _Changes(base) as changes:
        with h5py.File(changes, "r+") as file:
            yield file
        changes.write_to(base)


class _Changes(io.RawIOBase):
    """A file of bytes over another one, which it does not change: written bytes are in memory."""

    def __init__(self, base: BinaryIO) -> None:
        super().__init__()
        self._old = mmap.mmap(base.fileno(), 0, access=mmap.ACCESS_COPY)  # only what is written takes memory
        self._tail = bytearray()
        self._end, self._at = len(self._old), 0
        self._places: list[tuple[int, int]] = []

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        into, size = memoryview(buffer).cast("B"), len(self._old)
        stop = min(self._at + len(into), self._end)
        content = self._old[self._at : min(stop, size)] + self._tail[max(self._at - size, 0) : max(stop - size, 0)]
        into[: len(content)] = content
        self._at += len(content)
        return len(content)

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        content, begin, size = bytes(data), self._at, len(self._old)
        self._at += len(content)
        self.truncate(max(self._end, self._at))
        inside = max(min(self._at, size) - begin, 0)
        if inside:
            self._old[begin : begin + inside] = content[:inside]
            self._places.append((begin, begin + inside))
        if self._at > size:
            self._tail[begin + inside - size : self._at - size] = content[inside:]
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        self._end = self._at if size is None else size
        beyond = max(self._end - len(self._old), 0)
        self._tail = self._tail[:beyond].ljust(beyond, b"\0")
        return self._end

    def write_to(self, base: BinaryIO) -> None:
        """Make the changes in the file below."""
        size = len(self._old)
        try:
            _write(base, size, bytes(self._tail))
        except OSError:
            base.truncate(size)
            raise
        joined: list[tuple[int, int]] = []
        for begin, stop in sorted(self._places):
            if joined and begin < joined[-1][1] + JOINED_BYTES:
                joined[-1] = joined[-1][0], max(joined[-1][1], stop)
            else:
                joined.append((begin, stop))
        for begin, stop in joined:
            _write(base, begin, self._old[begin:stop])
        base.truncate(self._end)

    def close(self) -> None:
        if not self.closed:
            self._old.close()
        super().close()


def _write(file: BinaryIO, begin: int, content: bytes) -> None:
    file.seek(begin)
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
