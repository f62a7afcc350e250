"""`regimen card`: where cards are written, and by which seed their splits are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import episode_files, history_files
from helpers.messages import assert_names
from regimen.cli.main import main
from regimen.data.episodes import card

pytestmark = pytest.mark.usefixtures("blank_figures")


def recorded(run: Path, seed: int) -> dict[str, bytes]:
    """Write a run with a dataset and its card; return what a second card must leave as it is."""
    path = episode_files.write(run / "data" / "episodes.h5", episode_files.columns(6, 5, seed), seed=seed)
    (run / "run.json").write_text("{}")
    card.write(card.make([path], seed), run / "data", run / "figures")
    return content(run)


def content(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def test_the_card_of_a_run_is_that_of_its_recording_whatever_is_asked_for_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    before = recorded(one, 5)
    recorded(two, 7)
    assert main(["card", str(one)]) == 0
    assert content(one) == before
    for arguments in ([str(one), str(two)], [str(one), "--seed", "3"]):
        assert main(["card", *arguments]) == 0
        assert_names(capsys.readouterr().err, "--out")
    assert main(["card", str(one), "--seed", "3", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "card.json").read_bytes() != before["data/card.json"]
    assert content(one) == before


def test_each_of_several_datasets_of_histories_has_its_own_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for name in ("one", "two"):
        folder = tmp_path / name / "data" / "histories"
        paths.append(str(history_files.write(folder, history_files.made([np.arange(4.0)], 3), task_name=name)))
        (tmp_path / name / "run.json").write_text("{}")
    out = tmp_path / "out"
    assert main(["card", *paths, "--out", str(out)]) == 0
    assert all(f'"{name}"' in (out / name / "card.json").read_text() for name in ("one", "two"))
    assert main(["card", paths[0], paths[0], "--out", str(out)]) != 0
    assert_names(capsys.readouterr().err, "one", out)
