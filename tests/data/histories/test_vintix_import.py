"""Public data of the Vintix kind, with and without the known defect."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers.history_files import rows
from helpers.messages import assert_names, raises_naming
from regimen.cli.main import main
from regimen.data.histories.reader import open_histories
from regimen.data.histories.vintix_import import convert
from regimen.system.errors import DatasetError

METADATA = {
    "task_name": "go2_walking_ad",
    "observation_shape": {"proprio": [3]},
    "action_dim": 2,
    "action_type": "continuous",
}


def public(folder: Path, block: int = 40, surplus: bool = False, **metadata: object) -> dict[str, np.ndarray]:
    """Write two files of 125 rows in the public layout; return what was played."""
    folder.mkdir()
    (folder / f"{folder.name}.json").write_text(json.dumps(METADATA | metadata))
    table = rows(num_envs=2, steps=125)
    for env in range(2):
        with h5py.File(folder / f"trajectories_{env}.h5", "w") as file:
            for first in range(0, 125, block):
                last = min(first + block, 125)
                group = file.create_group(f"{first}-{last - 1}")
                for name in ("proprio_observation", "action", "reward", "step_num"):
                    stop = last + 1 if surplus and name == "proprio_observation" else last
                    values = table[name][first:stop, env]
                    if len(values) < stop - first:
                        values = np.concatenate([values, np.full((1, 3), 99.0, np.float32)])
                    group[name] = values
    return table


@pytest.mark.parametrize("surplus", [False, True])
def test_public_data_become_ours(tmp_path: Path, surplus: bool) -> None:
    table = public(tmp_path / "go2", surplus=surplus)
    path, mended = convert(tmp_path / "go2", tmp_path / "out", random_score=1.0, expert_score=5.0)
    found = open_histories(path)
    for env, history in enumerate(found):
        np.testing.assert_array_equal(history.observation, table["proprio_observation"][:, env])
        np.testing.assert_array_equal(history.action, table["action"][:, env])
        assert history.complete.sum() == len(history.start) - 1, "nobody says that the last episode is whole"
    assert (found.task, found.io, found.about.expert_score) == ("go2_walking_ad", None, 5.0)
    assert [row.source for row in found.about.files] == ["trajectories_0.h5", "trajectories_1.h5"]
    assert len(mended) == (2 if surplus else 0)


def test_the_verb_tells_what_it_took_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public(tmp_path / "go2", surplus=True, reward_scale=0.1)
    assert main(["import-histories", str(tmp_path / "go2"), "--out", str(tmp_path / "out")]) == 0
    warned = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    for line, file in zip(warned, ("trajectories_0.h5", "trajectories_1.h5"), strict=True):
        assert_names(line, file, 4, "observation")
    assert open_histories(tmp_path / "out").about.reward_scale == 0.1


@pytest.mark.parametrize("surplus", [False, True])
@pytest.mark.parametrize(
    ("name", "group", "change"),
    [
        ("reward", "40-79", lambda values: values[:, None]),
        ("action", "40-79", lambda values: values[:, 0]),
        ("step_num", "40-79", lambda values: values[0]),
        ("proprio_observation", "40-79", lambda values: values[:, :2]),
        ("proprio_observation", "0-39", lambda values: values * np.nan),
    ],
)
def test_a_dataset_of_another_shape_is_refused_and_leaves_nothing(
    tmp_path: Path, surplus: bool, name: str, group: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    public(tmp_path / "go2", surplus=surplus)
    with h5py.File(tmp_path / "go2" / "trajectories_1.h5", "r+") as file:
        values = change(file[group][name][()])
        del file[group][name]
        file[group][name] = values
    where = ("row 0",) if np.isnan(values).all() else (group,)
    with raises_naming(DatasetError, tmp_path / "go2" / "trajectories_1.h5", name, *where):
        convert(tmp_path / "go2", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["go2"]


def test_files_of_other_widths_are_refused_by_name(tmp_path: Path) -> None:
    public(tmp_path / "go2", block=125)
    with h5py.File(tmp_path / "go2" / "trajectories_1.h5", "r+") as file:
        action = file["0-124"]["action"][()]
        del file["0-124"]["action"]
        file["0-124"]["action"] = action[:, :1]
    with raises_naming(DatasetError, tmp_path / "go2" / "trajectories_1.h5", (3, 1), (3, 2)):
        convert(tmp_path / "go2", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["go2"]


def test_what_is_no_public_dataset_is_refused(tmp_path: Path) -> None:
    with raises_naming(DatasetError, "none.json", "task_name", "action_type"):
        convert(tmp_path / "none", tmp_path / "out")
    public(tmp_path / "go2")
    (tmp_path / "there").mkdir()
    with raises_naming(DatasetError, tmp_path / "there"):
        convert(tmp_path / "go2", tmp_path / "there")
    (tmp_path / "go2" / "go2.json").write_text("{}")
    with raises_naming(DatasetError, "go2.json", "task_name", "action_type"):
        convert(tmp_path / "go2", tmp_path / "out")
