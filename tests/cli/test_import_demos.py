"""`regimen import-demos`: pickles become a dataset with its card, under the names of a task."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from helpers.hil_serl import save, transitions
from helpers.messages import assert_names
from regimen.cli.main import main
from regimen.data.demonstrations import read_demonstrations


def run(*argv: str | Path) -> int:
    return main(["import-demos", *map(str, argv)])


def test_several_pickles_become_one_dataset_with_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [save(tmp_path / f"{i}.pkl", transitions([300, 280], size=None, seed=i)) for i in range(2)]
    assert run(*files, "--out", tmp_path / "out" / "demos.h5", "--step-dt", "0.05") == 0
    assert_names(capsys.readouterr().out, "demos.h5", "4 episodes", "1160 transitions", "warning:", "0.97", "card.md")
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["step_dt"] == 0.05 and card["demonstrations"]["successes"] == 4
    assert card["demonstrations"]["demonstrator"] == "imported"


def test_names_and_time_limit_are_those_of_the_task(tmp_path: Path) -> None:
    items = transitions([20, 12], success=False, states=2, actions=2, size=None)
    file = save(tmp_path / "a.pkl", items)
    assert run(file, "--out", tmp_path / "demos.h5", "task=point_goal") == 0
    read = read_demonstrations([tmp_path / "demos.h5"])
    assert (read.task, read.io.action.joints, read.io.observations) == (
        "point_goal",
        ["x", "y"],
        {"policy": {"position": 2}},
    )
    assert read.truncated.nonzero()[0].tolist() == [19] and read.terminated.nonzero()[0].tolist() == [31]


def test_what_does_not_fit_the_task_or_is_no_data_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demos.h5"
    assert run(save(tmp_path / "a.pkl", transitions([3])), "--out", out, "task=point_goal") == 2
    assert_names(capsys.readouterr().err, "a.pkl", "policy: 5 values", "position 2")
    (tmp_path / "b.pkl").write_bytes(b"\x80\x02]q\x00cposix\nsystem\n.")
    assert run(tmp_path / "b.pkl", "--out", out) == 2
    assert_names(capsys.readouterr().err, "b.pkl", "posix.system")
    assert run(tmp_path / "none.pkl", "--out", out) == 2
    assert not out.exists() and not [name for name in os.listdir(tmp_path) if "part" in name]
