"""`regimen runs` and `regimen export`: which runs, in which order, in which form, and what is said of mistakes."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import ago, record_run
from regimen.cli import main
from regimen.runs.status import Status

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    record_run(outputs, "20260101-100000-reach-a", name="walk1", started=ago(days=9), headline={"return": 3.0}, seed=1)
    record_run(
        outputs,
        "20260102-100000-h1-b",
        name="walk2",
        choices={"task": "h1_failure", "agent": "skrl_ppo", "experiment": "none"},
        started=ago(days=2),
        tags=["paper", "keep"],
        headline={"return": 1.0, "falls": 2.0},
        overrides=["task=h1_failure", "+env.x=[1,2]", "~env.events.push"],
        pipeline={"id": "p7", "name": "study", "step": "teacher"},
    )
    record_run(
        outputs,
        "20260102-100000-h1-c",
        task="h1_failure",
        status="failed",
        headline={},
        ended=None,
        started=ago(hours=3),
    )
    (record_run(outputs, "20260103-100000-bad-d") / "run.json").write_text("{")
    return outputs


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main.main([*arguments]) == 0
    return capsys.readouterr().out


def letters(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The last letters of the ids of a list."""
    rows = json.loads(said(capsys, "runs", "--json", *arguments) or "[]")
    return "".join(row["id"][-1] for row in rows)


def test_the_table_is_complete_when_it_is_not_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "runs").splitlines()
    assert lines[0].split() == ["id", "name", "task", "agent", "stage", "status", "headline", "age", "duration"]
    assert lines[1].startswith("20260103-100000-bad-d    –") and "unreadable  run.json: " in lines[1]
    assert lines[2].split() == [
        *("20260102-100000-h1-c", "–", "h1_failure", "skrl_ppo", "train", "failed", "–", "3h00m", "1m00s")
    ]
    assert lines[3].split()[-5:] == ["finished", "return", "1", "2d00h", "1m00s"]
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", "dcba"),
        ("task=h1_failure", "cb"),
        ("task=h1_failure status=failed", "c"),
        ("status=finished,failed", "cba"),
        ("status!=finished", "dc"),
        ("name=walk*", "ba"),
        ("name=", "dc"),
        ("tag=keep", "b"),
        ("tag=", "dca"),
        ("pipeline=study", "b"),
        ("pipeline=p7 step=teacher", "b"),
        ("seed=1", "a"),
        ("experiment=", "dcba"),
        ("id=20260102", "cb"),
        ("since=1d", "dc"),
        ("until=1d", "ba"),
        ("since=3d until=1d", "b"),
        ("since=2026-01-01", "dcba"),
        ("agent=skrl_ppo stage=train name!=walk1", "cb"),
    ],
)
def test_filters(capsys: pytest.CaptureFixture[str], filters: str, expected: str) -> None:
    assert letters(capsys, *filters.split()) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["--sort", "started"], "abcd"),
        (["--sort", "-return"], "abdc"),
        (["--sort", "status,-started"], "cbad"),
        (["--sort=falls"], "bdca"),
        (["--sort=falls", "status=failed"], "c"),  # of a metric that it does not have
        (["--sort", "-started", "--limit", "2"], "dc"),
        (["--limit", "0"], "dcba"),
    ],
)
def test_order_and_limit(capsys: pytest.CaptureFixture[str], keys: list[str], expected: str) -> None:
    assert letters(capsys, *keys) == expected


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["tsk=reach"], ("tsk", "task")),
        (["status=faild"], ("status=faild", "faild", "failed")),
        (["status=odd"], ("status=odd", *Status)),
        (["task=h1_failur"], ("task=h1_failur", "h1_failure")),
        (["agent=ppo"], ("agent=ppo", "skrl_ppo")),
        (["walk1"], ("name=walk1", "id=walk1")),
        (["since=3x"], ("since=3x", "3d", "12h", "30min", "2w", "2026-11-20")),
        (["since!=3d"], ("since!=3d", "until=3d")),
        (["--sort", "retrn"], ("--sort retrn", "return")),
        (["--csv", "no/such/folder.csv"], ("no/such/folder.csv", "No such file or directory")),
    ],
)
def test_mistakes_are_named(words: list[str], names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["runs", *words]) == 2
    assert_names(capsys.readouterr().err, *names)


def test_an_option_that_no_run_has_yet_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["runs", "task=go2_flat"]) == 0
    assert_names(capsys.readouterr().err, "4 runs", "task=go2_flat")


def test_an_empty_list_says_what_is_near(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main.main(["runs", "tag=papr"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert_names(err, "tag=papr", "paper")
    empty = Path("empty")
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert main.main(["runs"]) == 0
    assert_names(capsys.readouterr().err, "outputs", "multirun", "python launch.py task=reach")


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(said(capsys, "runs", "--json", "tag=keep"))
    assert (
        rows[0]
        | {
            "task": "h1_failure",
            "headline": {"return": 1.0, "falls": 2.0},
            "tags": ["paper", "keep"],
            "path": "outputs/20260102-100000-h1-b",
        }
        == rows[0]
    )


@pytest.mark.parametrize("command", [["export", "runs.csv"], ["runs", "--csv", "runs.csv"]])
def test_csv_has_a_column_for_each_metric_and_override(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert_names(said(capsys, *command, "status=finished,failed"), "3 runs", "runs.csv")
    rows = {row["id"][-1]: row for row in csv.DictReader(Path("runs.csv").read_text().splitlines())}
    assert rows["b"]["headline.falls"] == "2.0" and rows["a"]["headline.falls"] == ""
    assert rows["b"]["config.env.x"] == "[1,2]" and rows["b"]["config.~env.events.push"] == ""
    assert rows["b"] | {"tags": "paper keep", "pipeline": "p7", "step": "teacher"} == rows["b"]
    assert said(capsys, "export", "-", "tag=keep").splitlines()[0].startswith("id,name,task,")


def test_a_filter_in_the_place_of_the_file_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["export", "task=reach"]) == 2
    assert_names(capsys.readouterr().err, "regimen export runs.csv task=reach")
    assert not Path("task=reach").exists()


def on_terminal(columns: int, lines: int, *arguments: str) -> list[str]:
    """What a verb prints on a terminal of a size."""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "LINES": str(lines)}
    command = [sys.executable, "-m", "regimen.cli.main", *arguments]
    process = subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower, env=env)
    os.close(follower)
    text = b""
    while True:
        try:
            block = os.read(leader, 65536)
        except OSError:
            break
        text += block
    process.wait()
    os.close(leader)
    return text.decode().splitlines()


def test_a_terminal_gets_what_fits(lab: Path) -> None:
    wide = on_terminal(200, 40, "runs", "status!=unreadable")
    assert wide[0].split()[:2] == ["id", "name"] and wide[0].split()[6] == "return"
    assert_names(wide[-1], "3 of 3")
    assert "--limit" not in wide[-1]
    narrow = on_terminal(78, 6, "runs", "status!=unreadable")
    assert all(len(line) <= 78 for line in narrow)
    assert [line.split()[0] for line in narrow[1:3]] == ["20260102-100000-h1-c", "20260102-100000-h1-b"]
    assert_names(narrow[-1], "2 of 3", "--limit 0")
    assert len(narrow) == 4
    shortened = on_terminal(79, 9, "runs", "task=reach")
    assert shortened[1].startswith("20260101-100000 ") and "…" in shortened[1] and shortened[1].endswith("1m00s")
