"""Reading of untrusted `.npz` files: plain arrays only, never larger than the file says, and no code is run."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from regimen.system.errors import ConfigError

LARGEST_BYTES = 1 << 29
"""Bytes of an array beyond which a motion file is refused: hours of any robot are smaller."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return name -> array of a `.npz` file.

    Raises:
        ConfigError: no such file, no readable zip of arrays, an array of Python objects, or a larger one than
            `LARGEST_BYTES`.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {member.filename: _read(archive, member) for member in archive.infolist()}
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (OSError, ValueError, EOFError, RuntimeError, MemoryError, SyntaxError, TypeError, KeyError, OverflowError,
            AttributeError, IndexError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path} is no readable .npz file: {reason}. Save it again with numpy.savez.") from error
    return {name.removesuffix(".npy"): array for name, array in arrays.items()}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.file_size > LARGEST_BYTES:
        raise ConfigError(f"{member.filename} has {member.file_size} bytes, more than {LARGEST_BYTES}")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"{member.filename} has the array format {version}")
        if dtype.hasobject:
            raise ConfigError(
                f"{member.filename} holds Python objects, which could run code and are not read. Save plain arrays: "
                "numpy.asarray(names, dtype=str) for names"
            )
        count = int(np.prod(shape, dtype=np.float64))
        if count * dtype.itemsize > member.file_size:
            raise ValueError(f"{member.filename} is shorter than its shape {shape}")
    with archive.open(member) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
