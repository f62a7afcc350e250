"""Changes of a finished file: whole, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers.episode_files import columns, write
from regimen.data.episodes.reader import EpisodeFile, add_attrs
from regimen.data.hdf5_changes import changing_hdf5

LONG = "x" * 200_000

FULL_DISK = """
import errno, resource, sys
from pathlib import Path
from regimen.data.episodes.reader import add_attrs
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 4096, resource.RLIM_INFINITY))
add_attrs(path, {"attempts": 3, "healthy": {"text": "x" * 200_000}})
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "episodes.h5", columns(4, 100))


@pytest.mark.parametrize("length", [1, 3000, len(LONG)])
def test_attributes_are_added_and_replaced_beside_the_data(path: Path, length: int) -> None:
    with EpisodeFile(path) as file:
        before = file.read(list(file.columns))
    for text in (LONG[:length], "y" * length, "z"):
        add_attrs(path, {"attempts": len(text), "healthy": {"text": text}})
        with EpisodeFile(path) as file:
            assert (file.attributes.attempts, file.attributes.healthy) == (len(text), {"text": text})
            after = file.read(list(file.columns))
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name])


def test_a_dataset_is_added_and_changed(path: Path) -> None:
    rows = np.arange(100_000.0)
    with changing_hdf5(path) as file:
        file["more"] = rows
        file["action"][5] = 7.0
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file["more"], rows)
        assert (file["action"][5] == 7.0).all() and not (file["action"][6] == 7.0).any()


def test_an_error_before_the_end_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), changing_hdf5(path) as file:
        file.attrs["healthy"] = LONG[:60_000]
        file.flush()
        assert path.read_bytes() == before, "a process that is killed here leaves this file"
        file.attrs["attempts"] = 1 // 0
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the size of a file")
def test_a_full_disk_leaves_the_file_as_it_was(path: Path) -> None:
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert path.read_bytes() == before
