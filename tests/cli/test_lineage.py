"""The family of a run as a tree and as a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from helpers.messages import assert_names
from helpers.run_directories import add, add_file
from regimen.cli import main
from regimen.runs.history.run_view import CHANGED


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    policy = add_file(add(outputs, "a-teacher", name="healthy", headline={"return": 9.0}), "checkpoints/best.pt", "p")
    made = [add(outputs, f"b{i}-data", {"policy": policy}, stage="collect", parents=["a-teacher"]) for i in (1, 2)]
    data = {f"data.{i}": add_file(folder, "data/episodes.h5", "e") for i, folder in enumerate(made)}
    add(outputs, "c-student", data, parents=["b1-data", "b2-data"], stage="distill")
    return outputs


def test_the_tree_shows_files_and_what_happened_to_them(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "b2-data/data/episodes.h5").write_text("others")
    assert main.main(["lineage", "c-student"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "c-student  distill  finished"
    assert lines[3:7] == [
        "├─ data.0 episodes.h5: b1-data  collect  finished",
        "│  └─ policy best.pt: healthy (a-teacher)  train  finished  return 9",
        f"└─ data.1 episodes.h5 [{CHANGED}]: b2-data  collect  finished",
        "   └─ policy best.pt: healthy (a-teacher)  train  finished  return 9",
    ]
    assert not [line for line in lines[7:] if "─ " in line], "it went into nothing"


def test_what_was_shown_is_not_unfolded_again(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(outputs, "d-circle", parents=["e-circle"])
    add(outputs, "e-circle", parents=["d-circle"])
    for name, line in (("healthy", "   └─ data.1 episodes.h5: c-student  distill  finished"),
                       ("d-circle", "   └─ d-circle  train  finished")):  # fmt: skip
        assert main.main(["lineage", name]) == 0
        assert any(shown.startswith(line) for shown in capsys.readouterr().out.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["family.png", "sub/family.svg"])
def test_the_picture(outputs: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "b2-data/data/episodes.h5").unlink()
    assert main.main(["lineage", "b2-data", "--out", name]) == 0
    assert capsys.readouterr().out.endswith(f"\n{name}\n")
    if name.endswith("png"):
        with Image.open(name) as image:
            assert image.size[0] > 3 * image.size[1], "from left to right"
            assert (179, 38, 30) in {color for _, color in image.convert("RGB").getcolors(1 << 24)}
    else:
        assert Path(name).read_text().startswith("<?xml")


def test_an_unknown_kind_of_picture_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["lineage", "healthy", "--out", "family.jgp"]) == 2
    assert_names(capsys.readouterr().err, "--out family.jgp", ".svg", ".png", ".pdf")
