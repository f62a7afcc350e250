"""HDF5 files that are cut short, of another kind, or left by a crashed writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.episode_files import attrs, balanced, write
from helpers.messages import raises_naming
from regimen.data import hdf5
from regimen.data.episodes.reader import EpisodeFile
from regimen.data.episodes.schema import columns_for
from regimen.data.episodes.writer import EpisodeWriter
from regimen.data.histories.file import read
from regimen.system.errors import DatasetError


def unclosed(path: Path) -> bytes:
    """The content of a file whose writer has not closed it."""
    table = balanced(4, 2, 50)
    columns = columns_for({"policy": table["obs/policy"].shape[2]}, table["action"].shape[2], {})
    writer = EpisodeWriter(path, columns, 4, attrs())
    for row in range(64):
        writer.add({name: table[name][row] for name in columns})
    writer.flush()
    content = path.read_bytes()
    writer.close()
    return content


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 0.5, 0.95, 0.999])
def test_a_file_that_was_copied_in_part_is_named(tmp_path: Path, share: float) -> None:
    whole = write(tmp_path / "whole.h5", balanced(4, 2, 50)).read_bytes()
    path = tmp_path / "part.h5"
    path.write_bytes(whole[: int(share * len(whole))])
    with raises_naming(DatasetError, path):
        EpisodeFile(path)
    with raises_naming(DatasetError, path):
        read(path)


@pytest.mark.slow
def test_the_file_of_a_crashed_writer_is_read_and_ended_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = unclosed(tmp_path / "growing.h5")
    path = tmp_path / "crashed.h5"
    path.write_bytes(content)
    with EpisodeFile(path) as file:
        assert file.steps > 0 and len(file.read(["action"])["action"]) == file.steps
    monkeypatch.setattr(hdf5, "PROBE_S", 2.0)
    for share in (0.02, 0.05):
        path.write_bytes(content[: int(share * len(content))])
        with raises_naming(DatasetError, path):
            EpisodeFile(path)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML"),
        (b"PK\x03\x04rest", "zip"),
        (b"\x00" * 5000, "zero bytes"),
        (b"", "empty"),
        (b"a,b\n1,2\n", "text"),
    ],
)
def test_a_file_of_another_kind_is_named_for_what_it_is(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "episodes.h5"
    path.write_bytes(content)
    with raises_naming(DatasetError, path, named):
        EpisodeFile(path)
