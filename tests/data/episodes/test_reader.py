"""Reading: episodes by env, chunk by chunk, one at a time."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from helpers.episode_files import IO, balanced, columns, end_at, write
from helpers.messages import raises_naming
from regimen.data.episodes.reader import EpisodeFile, open_all
from regimen.system.errors import DatasetError


def made(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    table = columns(3, 200)
    end_at(table, {0: [0, 99, 149], 1: [63]})
    end_at(table, {2: [199]}, "truncated")
    return write(path / "episodes.h5", table), table


def test_the_table_names_every_episode(tmp_path: Path) -> None:
    path, _ = made(tmp_path)
    with EpisodeFile(path) as file:
        table = file.episodes()
    rows = list(zip(table.env.tolist(), table.start.tolist(), table.stop.tolist(), strict=True))
    assert rows == [(0, 0, 1), (0, 1, 100), (0, 100, 150), (0, 150, 200), (1, 0, 64), (1, 64, 200), (2, 0, 200)]
    assert table.terminated.tolist() == [True, True, True, False, True, False, False]
    assert table.truncated.tolist() == [False] * 6 + [True]
    assert table.id.tolist() == [0, 3, 5, 6, 1, 4, 2] and not table.staggered.any()


def test_only_first_episodes_are_staggered(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", balanced(4, 2), staggered=True)
    with EpisodeFile(path) as file:
        table = file.episodes()
    np.testing.assert_array_equal(table.staggered, table.start == 0)


def test_episodes_are_read_one_at_a_time(tmp_path: Path) -> None:
    path, table = made(tmp_path)
    with EpisodeFile(path) as file:
        found = list(file.iterate(["obs/policy", "reward"], envs=[0, 2]))
        assert [len(e["reward"]) for e in found] == [1, 99, 50, 50, 200]
    np.testing.assert_array_equal(found[2]["obs/policy"], table["obs/policy"][100:150, 0])
    np.testing.assert_array_equal(found[4]["obs/policy"], table["obs/policy"][:, 2])


def test_chunks_cover_every_row_once(tmp_path: Path) -> None:
    path, table = made(tmp_path)
    with EpisodeFile(path) as file:
        parts = list(file.chunks(["action"]))
    assert [first for first, _ in parts] == list(range(0, 200, len(parts[0][1]["action"])))
    np.testing.assert_array_equal(np.concatenate([values["action"] for _, values in parts]), table["action"])


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path, _ = made(tmp_path)
    with EpisodeFile(path) as file, raises_naming(DatasetError, path, "obs/critic", "obs/policy"):
        file.read(["obs/critic"])


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with raises_naming(DatasetError, tmp_path / "none.h5", "stage=collect"):
        EpisodeFile(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with raises_naming(DatasetError, tmp_path / "other.h5", "format 1", "none"):
        EpisodeFile(tmp_path / "other.h5")


def test_a_folder_without_datasets_is_refused_by_name(tmp_path: Path) -> None:
    for paths in ([tmp_path], []):
        with raises_naming(DatasetError, *paths, "stage=collect"):
            open_all(paths)


def test_datasets_that_differ_are_not_used_together(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "a.h5", columns(3, 10))
    open_all([one, one])
    io = IO.to_dict()
    io["observations"]["discriminator"] = {"position": 2, "goal": 1, "force": 4}
    other = write(tmp_path / "b.h5", columns(3, 10), io=io)
    with raises_naming(DatasetError, one, other, "discriminator.force", "discriminator.torque"):
        open_all([one, other])
    turned = write(tmp_path / "c.h5", columns(3, 10), joints=["knee", "hip", "ankle", "wrist"])
    with raises_naming(DatasetError, one, turned, "joints", "['knee', 'hip', 'ankle', 'wrist']"):
        open_all([one.parent, turned])
