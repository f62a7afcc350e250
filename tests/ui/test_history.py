"""One line of filters selects what the same words select on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from helpers.recorded_runs import ago, record_run
from regimen.cli import main
from regimen.system.errors import RunReferenceError

pytest.importorskip("orjson", reason="NiceGUI is not installed: make extras")

from regimen.ui.history import History
from regimen.ui.run_table import COLUMNS, cells, metric_columns, shown


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    record_run(outputs, "a", name="two words", started=ago(days=9), headline={"return": 3.0})
    record_run(outputs, "b", name="<script>", status="failed", task="h1_failure", headline={"return": 5.0})
    record_run(outputs, "c", status="failed", tags=["keep"], started=ago(hours=3), headline={"samples": 20_000.0})
    (record_run(outputs, "d") / "run.json").write_text("{")
    history = History()
    history.refresh()
    return history


@pytest.mark.parametrize(
    ("line", "sort"),
    [
        ("", "-started"),
        ("status=failed", "-return"),
        ("task=h1_failure status=failed since=3d", "-started"),
        ("name='two words'", "-started"),
        ('name="two words",b', "name"),
        ("tag=keep name!=walk*", "-started"),
        ("status=unreadable", "-started"),
    ],
)
def test_it_is_that_of_regimen_runs(history: History, capsys: pytest.CaptureFixture[str], line: str, sort: str) -> None:
    import shlex

    assert main.main(["runs", *shlex.split(line), "--json", "--sort", sort]) == 0
    printed = capsys.readouterr().out
    expected = [row["id"] for row in json.loads(printed)] if printed.strip() else []
    found = history.select(line, sort)
    assert [run.id for run in found.runs] == expected and found.total == 4 and not found.problem


@pytest.mark.parametrize("line", ["status=faild", "stauts=failed", "walk", "since=soon", "name='open", "task=rech"])
def test_a_wrong_filter_says_what_to_type(history: History, line: str) -> None:
    found = history.select(line)
    assert found.problem and not found.runs


def test_nothing_found_names_what_is_near(history: History) -> None:
    found = history.select("tag=kep")
    assert not found.problem and not found.runs and "keep" in found.hints[0]


def test_a_new_run_is_found_after_a_refresh(history: History) -> None:
    before = history.version
    record_run(Path("outputs"), "e", status="failed")
    assert history.refresh() and history.version > before
    assert "e" in [run.id for run in history.select("status=failed").runs]
    assert history.open("e").id == "e"


def test_a_run_that_was_deleted_since_the_last_look_is_not_there(history: History) -> None:
    shutil.rmtree("outputs/c")
    with pytest.raises(RunReferenceError, match="no run c "):
        history.open("c")


def test_cells_are_text_and_columns_are_chosen_by_name(history: History) -> None:
    every = [*COLUMNS, *metric_columns(history.rows)]
    row = cells(next(run for run in history.rows if run.id == "b"), every)
    assert row["name"] == "<script>" and row["status"] == "failed" and row["metric:return"] == "5"
    assert json.loads(json.dumps(row)) == row
    assert shown("task,metric:return,nothing", every) == ["task", "metric:return"]
    assert "name" in shown("nothing", every)
