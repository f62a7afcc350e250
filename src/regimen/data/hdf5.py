"""Opens HDF5 files for reading, so that damage is an error within seconds and not a read without end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from regimen.system.errors import DatasetError
from regimen.system.file_kinds import HDF5, is_growing_hdf5, this_is

PROBE_S = 10.0

PROBE = """
import h5py, sys
def walk(name, item):
    dict(item.attrs)
    if isinstance(item, h5py.Dataset) and item.chunks and item.id.get_num_chunks():
        item.id.get_chunk_info(item.id.get_num_chunks() - 1)
with h5py.File(sys.argv[1], "r", swmr=True) as file:
    walk("/", file)
    file.visititems(walk)
"""
"""Reads all that describes the content of a file."""


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading: whole, still growing, or left by a writer that crashed.

    A file that is marked as growing is read as one of many readers of a writer (SWMR), where HDF5 repeats reads that
    fail: without end, if the file is damaged. Another process tries first, for `PROBE_S`.

    Raises:
        DatasetError: the file is missing, of another kind, cut short or damaged.
    """
    if kind := this_is(path, HDF5):
        raise DatasetError(f"{path} cannot be read as HDF5. {kind}Make or copy it again.")
    with path.open("rb") as file:
        growing = is_growing_hdf5(file.read(12))
    try:
        if growing:
            subprocess.run([sys.executable, "-c", PROBE, str(path)], check=True, capture_output=True, timeout=PROBE_S)
        return h5py.File(path, "r", swmr=growing)
    except subprocess.TimeoutExpired as error:
        raise _damaged(path, f"its description cannot be read within {PROBE_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        raise _damaged(path, error.stderr.decode(errors="replace").strip().rpartition("\n")[2]) from error
    except OSError as error:
        raise _damaged(path, error) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what h5py raises of a damaged file into a sentence.

    Raises:
        DatasetError: the content cannot be read.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> DatasetError:
    return DatasetError(
        f"{path} cannot be read as HDF5: it was cut short or damaged ({reason}). Make or copy it again."
    )
