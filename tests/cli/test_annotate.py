"""Notes and tags: added, taken away, and not lost when several write at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.run_directories import add
from helpers.subprocesses import popen
from regimen.cli import main


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return add(tmp_path / "outputs", "a", headline={"return": 1.0})


def test_notes_are_kept_in_order(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["note", "a", "the", "first"]) == 0
    assert main.main(["note", "a", "the second"]) == 0
    capsys.readouterr()
    assert main.main(["note", "a"]) == 0
    assert [line[18:] for line in capsys.readouterr().out.splitlines()] == ["the first", "the second"]
    record = json.loads((run / "run.json").read_text())
    assert record["headline"] == {"return": 1.0}, "nothing else is touched"


def test_tags_are_added_once_and_taken_away(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, left in ((["keep", "good"], "keep good"), (["keep"], "good keep"), (["-keep", "paper"], "good paper")):
        assert main.main(["tag", "a", *words]) == 0
        assert capsys.readouterr().out == f"{left}\n"
    assert main.main(["tag", "a", "-good", "-paper"]) == 0
    assert json.loads((run / "run.json").read_text())["tags"] == []
    left = capsys.readouterr().out
    assert "good" not in left and "paper" not in left


def test_what_is_no_tag_changes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "run.json").read_text()
    for words, names in ((["good", "a,b"], ["a,b", "keep"]), (["good", "-bad"], ["a", "bad"])):
        assert main.main(["tag", "a", *words]) == 2
        assert_names(capsys.readouterr().err, *names)
    assert (run / "run.json").read_text() == before


def test_writers_at_once_lose_nothing(run: Path) -> None:
    code = (
        "import sys; from regimen.cli.main import main; [main(['note', 'a', f'{sys.argv[1]}.{i}']) for i in range(20)]"
    )
    writers = [popen([sys.executable, "-c", code, name]) for name in "xy"]
    told = [writer.communicate()[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], told
    notes = [note["text"] for note in json.loads((run / "run.json").read_text())["notes"]]
    assert sorted(notes) == sorted(f"{name}.{i}" for name in "xy" for i in range(20))


def test_usage_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main.main(["tag"])
    assert_names(capsys.readouterr().out, "regimen tag <run>")
