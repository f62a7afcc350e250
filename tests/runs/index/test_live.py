"""The index in memory shows at each look what a new index shows."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from helpers.recorded_runs import DEAD, ago, change, record_run
from regimen.runs.index.index import Index
from regimen.runs.index.live import LiveIndex
from regimen.system import host


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def test_it_equals_a_new_index_after_every_change(outputs: Path) -> None:
    live = LiveIndex()
    assert live.refresh() and live.rows == [] and live.version == 1
    a = record_run(outputs, "a", status="running", started=ago(hours=2), supervisor=host.process(os.getpid()))
    b = record_run(outputs, "b", headline={"return": 2.0})
    record_run(outputs.parent / "multirun" / "s", "s.000")
    versions = [live.version]
    changes = (
        lambda: None,
        lambda: change(b, tags=["keep"]),
        lambda: change(a, supervisor=DEAD),  # its process is gone: lost
        lambda: change(a, status="finished"),
        lambda: (b / "run.json").write_text("{"),
        lambda: shutil.rmtree(b),
    )
    for alter in changes:
        alter()
        assert live.refresh()
        assert live.rows == Index().rows()
        versions.append(live.version)
        assert not live.refresh() and live.rows == Index().rows()
    assert versions == sorted(set(versions))


def test_a_run_that_dies_between_two_looks_is_lost(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_run(outputs, "a", status="running", supervisor=host.process(os.getpid()))
    live = LiveIndex()
    live.refresh()
    assert [str(row.status) for row in live.rows] == ["running"]
    with monkeypatch.context() as dead:
        dead.setattr(host, "is_alive", lambda identity: False)
        assert live.refresh() and [str(row.status) for row in live.rows] == ["lost"]
    assert live.refresh() and [str(row.status) for row in live.rows] == ["running"]


def test_unchanged_runs_are_not_read_again(outputs: Path) -> None:
    folders = [record_run(outputs, f"r{number}") for number in range(5)]
    live = LiveIndex()
    live.refresh()
    for folder in folders[:4]:  # same size, time and inode: no reader can see this
        stat = (folder / "run.json").stat()
        text = (folder / "run.json").read_text()
        (folder / "run.json").write_text(text.replace('"reach"', '"rxxxx"'))
        os.utime(folder / "run.json", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    change(folders[4], name="new")
    live.refresh()
    assert {row.task for row in live.rows} == {"reach"}
    assert [row.name for row in live.rows if row.id == "r4"] == ["new"]


def test_a_file_written_this_moment_is_read_again(outputs: Path) -> None:
    folder = record_run(outputs, "a")
    now = time.time()
    os.utime(folder / "run.json", (now, now))
    live = LiveIndex()
    live.refresh()
    text = (folder / "run.json").read_text().replace('"reach"', '"other"')
    (folder / "run.json").write_text(text)
    os.utime(folder / "run.json", (now, now))
    live.refresh()
    assert [row.task for row in live.rows] == ["other"]
