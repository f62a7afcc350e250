"""Writing: what a reader sees while the file grows, after a crash, and after the writer went on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers.episode_files import attrs, columns, write
from helpers.messages import raises_naming
from regimen.data.episodes.reader import EpisodeFile
from regimen.data.episodes.schema import Column, chunk_envs, chunk_steps, columns_for
from regimen.data.episodes.writer import EpisodeWriter
from regimen.system.errors import DatasetError

NAMES = ("obs/policy", "action", "reward", "episode")
LABELS = {"fault_joint": np.dtype("int16")}


def rows(table: dict[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {name: value[row] for name, value in table.items()}


def open_writer(path: Path, num_envs: int) -> EpisodeWriter:
    return EpisodeWriter(path, columns_for({"policy": 3, "discriminator": 7}, 4, LABELS), num_envs, attrs())


@pytest.mark.parametrize("num_envs", [1, 5, 64])
def test_what_is_written_is_read(tmp_path: Path, num_envs: int) -> None:
    table = columns(num_envs, 150)
    with EpisodeFile(write(tmp_path / "episodes.h5", table)) as file:
        assert (file.steps, file.num_envs, file.columns["obs/discriminator"]) == (150, num_envs, (7,))
        for name, value in file.read(list(table)).items():
            assert value.dtype == table[name].dtype
            np.testing.assert_array_equal(value, table[name])


def test_a_growing_file_shows_whole_chunks_only(tmp_path: Path) -> None:
    table, path = columns(64, 200), tmp_path / "episodes.h5"
    writer = open_writer(path, 64)
    for row in range(100):
        writer.add(rows(table, row))
    writer._wait()
    code = f"from regimen.data.episodes.reader import *; print(EpisodeFile(Path({str(path)!r})).steps)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(seen) == 64
    writer.close()
    with EpisodeFile(path) as file:
        assert file.steps == 100


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from helpers.episode_files import columns
from data.episodes.test_writer import open_writer, rows
table, writer = columns(64, 200), open_writer(Path(sys.argv[1]), 64)
for row in range(150):
    writer.add(rows(table, row))
writer._wait()
os._exit(9)
"""


def crash(path: Path) -> None:
    """Write 150 rows in another process that dies with 22 of them unwritten."""
    here = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", CRASH, str(path), str(here)]).returncode == 9


def test_a_crash_loses_at_most_the_open_chunk(tmp_path: Path) -> None:
    path, table = tmp_path / "episodes.h5", columns(64, 200)
    crash(path)
    with pytest.raises(OSError):
        h5py.File(path, "r")  # the crash left its mark; the reader gets past it
    with EpisodeFile(path) as file:
        assert file.steps == 128
        np.testing.assert_array_equal(file.read(["obs/policy"])["obs/policy"], table["obs/policy"][:128])


@pytest.mark.slow
@pytest.mark.parametrize("cut", [128, 64, 70, 0])
def test_going_on_after_a_crash_gives_the_same_file(tmp_path: Path, cut: int) -> None:
    path, table = tmp_path / "episodes.h5", columns(64, 200)
    crash(path)
    writer = EpisodeWriter.resume(path, cut)
    for row in range(cut, 200):
        writer.add(rows(table, row))
    writer.close()
    with EpisodeFile(path) as file:
        assert file.attributes.classes == ["hip", "knee"] and file.steps == 200
        for name, value in file.read(list(table)).items():
            np.testing.assert_array_equal(value, table[name])
    assert not list(tmp_path.glob(".*.tmp"))


KILLED = """
import os, sys
from pathlib import Path
from regimen.data.episodes.writer import EpisodeWriter
replace = os.replace
os.replace = lambda *paths: (replace(*paths), os._exit(9))
EpisodeWriter.resume(Path(sys.argv[1]), 70)
"""


def test_a_kill_at_the_begin_of_a_resumed_recording_leaves_its_rows(tmp_path: Path) -> None:
    table = columns(64, 100)
    path = write(tmp_path / "episodes.h5", table)
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == 9
    with EpisodeFile(path) as file:
        np.testing.assert_array_equal(file.read(["action"])["action"], table["action"][:70])


def test_more_rows_than_there_are_cannot_be_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "episodes.h5", columns(2, 20))
    with raises_naming(DatasetError, path, "20 rows", 21):
        EpisodeWriter.resume(path, 21)


def test_flush_in_the_middle_of_a_chunk_changes_nothing(tmp_path: Path) -> None:
    path, table = tmp_path / "episodes.h5", columns(64, 150)
    writer = open_writer(path, 64)
    for row in range(150):
        writer.add(rows(table, row))
        if row in (10, 70, 71):
            writer.flush()
            with EpisodeFile(path) as file:
                assert file.steps == row + 1
    writer.close()
    with EpisodeFile(path) as file:
        np.testing.assert_array_equal(file.read(["action"])["action"], table["action"])


def test_an_error_of_the_disk_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = open_writer(tmp_path / "episodes.h5", 64)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write", full)
    table = columns(64, 128)
    with pytest.raises(OSError) as caught:
        for row in range(128):
            writer.add(rows(table, row))
        writer.flush()
    assert caught.value.errno == 28
    writer._thread.shutdown()
    writer._file.close()


def test_no_row_is_written_after_one_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, table = tmp_path / "episodes.h5", columns(64, 200)
    writer, resize, failed = open_writer(path, 64), h5py.Dataset.resize, []

    def full_once(dataset: h5py.Dataset, size: int, axis: int) -> None:
        if size > 64 and not failed:
            failed.append(size)
            raise OSError(28, "No space left on device")
        resize(dataset, size, axis)

    monkeypatch.setattr(h5py.Dataset, "resize", full_once)
    with pytest.raises(OSError):
        for row in range(200):
            writer.add(rows(table, row))
    with pytest.raises(OSError):
        writer.close()
    with EpisodeFile(path) as file:
        assert file.steps == 64
        np.testing.assert_array_equal(file.read(["action"])["action"], table["action"][:64])


def test_a_row_with_other_columns_is_refused(tmp_path: Path) -> None:
    row = rows(columns(2, 1), 0)
    writer = open_writer(tmp_path / "episodes.h5", 2)
    writer.add(row)
    with raises_naming(DatasetError, tmp_path / "episodes.h5", "Row 1", "lacks reward"):
        writer.add({name: value for name, value in row.items() if name != "reward"})
    with raises_naming(DatasetError, tmp_path / "episodes.h5", "labels/slip"):
        writer.add(row | {"labels/slip": row["reward"]})
    writer.close()
    with EpisodeFile(tmp_path / "episodes.h5") as file:
        assert file.steps == 1


def test_chunks_are_about_a_megabyte_and_small_for_few_envs() -> None:
    wide = Column("float32", (90,))
    for num_envs in (16, 256, 4096):
        steps = chunk_steps(num_envs)
        assert steps >= 64
        size = steps * chunk_envs(wide, steps, num_envs) * wide.bytes
        assert size <= 2**20 and (size > 2**19 or num_envs == 16)
    assert chunk_steps(1) == 512
