"""Learning histories: written, read again, and everything that may be wrong with the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from helpers.history_files import about, made, rows, write
from helpers.messages import raises_naming
from regimen.data.histories import file
from regimen.data.histories.reader import Histories, HistoryIndex, index_of, open_histories
from regimen.data.histories.writer import ROWS, HistoryWriter, Moments
from regimen.display.intervals import spearman
from regimen.system.errors import DatasetError


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    table = rows(num_envs=3, steps=70)
    found = open_histories(write(tmp_path, table))
    assert len(found) == 3 and found.rows.tolist() == [70] * 3
    for env, history in enumerate(found):
        np.testing.assert_array_equal(history.observation, table["proprio_observation"][:, env])
        np.testing.assert_array_equal(history.action, table["action"][:, env])
        np.testing.assert_array_equal(history.reward, table["reward"][:, env])
        np.testing.assert_array_equal(history.step_num, table["step_num"][:, env])
        np.testing.assert_array_equal(history.more["epsilon"], table["epsilon"][:, env])
    assert not (tmp_path / ROWS).exists()


def test_groups_are_put_together_by_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As strings, 100-109 stands before 20-29."""
    monkeypatch.setattr("regimen.data.histories.writer.BLOCK", 10)
    table = rows(num_envs=2, steps=125)
    found = open_histories(write(tmp_path, table))
    with h5py.File(tmp_path / "00000.h5") as file:
        assert {"0-9", "20-29", "100-109", "120-124"} <= set(file) and len(file) == 13
        assert set(file["0-9"]) >= {"proprio_observation", "action", "reward", "step_num"}
    np.testing.assert_array_equal(found[1].reward, table["reward"][:, 1])


def test_histories_of_unequal_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.data.histories.writer.BLOCK", 20)
    monkeypatch.setattr("regimen.data.histories.writer.ENVS_AT_ONCE", 2)
    table = rows(num_envs=3, steps=50)
    found = open_histories(write(tmp_path, table, rows_of=np.array([50, 40, 7])))
    assert found.rows.tolist() == [50, 40, 7]
    np.testing.assert_array_equal(found[2].action, table["action"][:7, 2])
    assert [len(history) for history in found] == [50, 40, 7]


def test_statistics_are_those_of_all_rows(tmp_path: Path) -> None:
    table = rows(num_envs=3, steps=50)
    table["proprio_observation"][..., 1] = 1000 + 0.01 * table["proprio_observation"][..., 1]
    table["proprio_observation"][..., 2] = 7.1
    found = open_histories(write(tmp_path, table))
    whole = table["proprio_observation"].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(found.about.observation_mean, whole.mean(0), rtol=1e-9)
    np.testing.assert_allclose(found.std[:2], whole.std(0, ddof=1)[:2], rtol=1e-5)
    assert found.about.observation_std[2] == 0.0, "a constant channel is known to be one"
    assert (found.observation_size, found.num_actions, found.discrete) == (3, 2, False)
    assert found.io is not None and found.io.size() == 3


def test_parts_have_the_moments_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (100, 2)).astype(np.float32)
    parts = Moments()
    for part in (values[:1], values[1:60], values[60:]):
        parts.add(part)
    np.testing.assert_allclose(parts.mean(), values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(parts.std(), values.std(0, ddof=1), rtol=1e-5)


def test_episodes_and_returns(tmp_path: Path) -> None:
    table = made([np.array([3.0, 5.0, 4.0])], length=4)
    for column in table.values():
        assert len(column) == 12
    table = {name: column[:10] for name, column in table.items()}  # the third is cut
    history = open_histories(write(tmp_path, table))[0]
    assert history.start.tolist() == [0, 4, 8] and history.stop.tolist() == [4, 8, 10]
    assert history.complete.tolist() == [True, True, False]
    np.testing.assert_allclose(history.returns, [3.0, 5.0, 2.0])


def test_thinning_keeps_whole_episodes() -> None:
    table = made([np.arange(5.0)], length=3)
    parts = [table[name][:, 0] for name in file.PUBLIC]
    history = file.History("x", *parts, {"epsilon": table["epsilon"][:, 0]})
    thin = history.thinned(2)
    assert thin.step_num.tolist() == [0, 1, 2] * 3
    np.testing.assert_allclose(thin.returns, [0.0, 2.0, 4.0])
    assert len(thin.more["epsilon"]) == len(thin) == 9


@pytest.mark.parametrize("order", ["rising", "falling", "shuffled"])
def test_progress_of_a_set_and_of_each_history(tmp_path: Path, order: str) -> None:
    values = np.arange(40.0)
    shuffled = np.random.default_rng(0).permutation(values)
    chosen = {"rising": values, "falling": values[::-1], "shuffled": shuffled}[order]
    found = open_histories(write(tmp_path, made([chosen, chosen], length=3))).about
    expected = {"rising": 1.0, "falling": -1.0, "shuffled": spearman(values, shuffled)}[order]
    assert found.spearman == pytest.approx(expected) and abs(spearman(values, shuffled)) < 0.4
    assert [row.spearman for row in found.files] == pytest.approx([expected] * 2)
    assert [row.episodes for row in found.files] == [40, 40]


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    table = rows(num_envs=2, steps=1200)
    whole = open_histories(write(tmp_path / "whole", table))
    writer = HistoryWriter(tmp_path / "cut", 2, 3, 2, "epsilon")
    for row in range(1100):
        writer.add({name: value[row] for name, value in table.items()})
        if row == 799:
            writer.flush()
    del writer  # a kill: the last rows never reach the disk
    writer = HistoryWriter.resume(tmp_path / "cut", 800)
    for row in range(800, 1200):
        writer.add({name: value[row] for name, value in table.items()})
    cut = open_histories(writer.finish(HistoryIndex.from_dict(about())))
    for a, b in zip(whole, cut, strict=True):
        for name in ("observation", "action", "reward", "step_num"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert [row.sha256 for row in whole.about.files] == [row.sha256 for row in cut.about.files]


def test_taking_apart_may_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the files and histories.json leaves the rows; finishing anew gives the same files."""
    table = rows(num_envs=2, steps=30)

    def dies(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("regimen.data.histories.writer.write_index", dies)
        write(tmp_path, table)
    with raises_naming(DatasetError, tmp_path, "histories.json", "stage=collect_histories"):
        open_histories(tmp_path)
    found = open_histories(HistoryWriter.resume(tmp_path, 30).finish(HistoryIndex.from_dict(about())))
    np.testing.assert_array_equal(found[1].reward, table["reward"][:, 1])


def damaged(folder: Path, change: Any) -> Path:
    """Return a dataset whose first file was changed by `change(file)`, the checksum made right again."""
    write(folder, rows(num_envs=1, steps=20))
    with h5py.File(folder / "00000.h5", "r+") as file:
        change(file)
    return folder / "00000.h5"


def replace(file: h5py.File, name: str, value: np.ndarray) -> None:
    del file[f"0-19/{name}"]
    file[f"0-19/{name}"] = value


def test_one_observation_too_many_is_told(tmp_path: Path) -> None:
    path = damaged(tmp_path, lambda f: replace(f, "proprio_observation", np.zeros((21, 3), np.float32)))
    with raises_naming(DatasetError, path, "0-19", "20 rows", "proprio_observation 21", "regimen import-histories"):
        file.load(path)
    assert file.surplus_observations(path) == ["0-19"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda f: replace(f, "reward", np.zeros(19, np.float32)), ("0-19", "20 rows", "reward 19")),
        (lambda f: f.move("0-19", "0-29"), ("0-29", "30 rows", "reward 20")),
        (lambda f: f.move("0-19", "5-24"), ("5-24", "row 0")),
        (lambda f: f.move("0-19", "everything"), ("everything",)),
        (lambda f: f.copy("0-19", f, "30-49"), ("30-49", "row 20")),
        (lambda f: f.__delitem__("0-19/action"), ("0-19", "action")),
        (lambda f: f.__delitem__("0-19"), ("0-9999",)),
        (lambda f: f["0-19/reward"].__setitem__(13, np.nan), ("reward", "row 13")),
        (lambda f: f["0-19/proprio_observation"].__setitem__((6, 2), np.inf), ("proprio_observation", "row 6")),
        (lambda f: f["0-19/step_num"].__setitem__(3, 9), ("step_num", "row 3")),
        (lambda f: f["0-19/step_num"].__setitem__(0, 1), ("step_num", "row 0")),
    ],
)
def test_a_broken_file_is_refused_by_what_is_broken(tmp_path: Path, change: Any, names: tuple[str, ...]) -> None:
    path = damaged(tmp_path, change)
    with raises_naming(DatasetError, path, *names):
        file.load(path)


def test_a_changed_or_missing_file_is_refused(tmp_path: Path) -> None:
    path = damaged(tmp_path, lambda f: f["0-19/reward"].__setitem__(3, 5.0))
    with raises_naming(DatasetError, path, "histories.json", "checksum"):
        open_histories(tmp_path)
    path.unlink()
    with raises_naming(DatasetError, tmp_path / "histories.json", "00000.h5"):
        open_histories(tmp_path)


def test_the_index_and_the_file_must_agree(tmp_path: Path) -> None:
    index = write(tmp_path, rows(num_envs=1, steps=20))
    content = json.loads(index.read_text())
    content["files"][0]["rows"] = 21
    with raises_naming(DatasetError, "00000.h5", "(20, 3, 2)", "histories.json", "(21, 3, 2)"):
        Histories(index, HistoryIndex.from_dict(content))[0]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with raises_naming(DatasetError, tmp_path, "histories.json", "stage=collect_histories"):
        index_of(tmp_path)
    folder = tmp_path / "go2"
    folder.mkdir()
    (folder / "go2.json").write_text("{}")
    with raises_naming(DatasetError, f"regimen import-histories {folder} --out"):
        index_of(folder)
    (folder / "histories.json").write_text('{"format": 0}')
    with raises_naming(DatasetError, folder / "histories.json", "format 1", "format 0"):
        open_histories(folder)
