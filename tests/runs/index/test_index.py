"""The index says what the directories say, whatever becomes of its file."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import DEAD, ago, change, record_run
from regimen.orchestration.slurm import job_states
from regimen.runs.index import liveness, summary
from regimen.runs.index.index import FILE, Index, Store
from regimen.runs.index.summary import RunSummary
from regimen.system import host


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    outputs, multirun = tmp_path / "outputs", tmp_path / "multirun"
    record_run(outputs, "old", "best", name="walker", started=ago(days=3), tags=["keep"])
    record_run(outputs, "new", status="failed", reason="it broke")
    sweep = multirun / "s1"
    record_run(sweep, "s1.000", task="h1_flat", started=ago(days=1))
    (sweep / "sweep.json").write_text("{}")
    (outputs / ".gitkeep").touch()
    (outputs / "half" / "logs").mkdir(parents=True)
    record_run(outputs / ".trash-x", "gone")
    return outputs, multirun


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The directories whose run.json is read."""
    seen: list[str] = []
    real = summary.read

    def read(folder: str) -> RunSummary | None:
        seen.append(Path(folder).name)
        return real(folder)

    monkeypatch.setattr("regimen.runs.index.summary.read", read)
    return seen


def ids(roots: tuple[Path, Path]) -> list[str]:
    return [run.id for run in Index(roots).rows()]


def test_rows_are_newest_first_and_say_what_run_json_says(roots: tuple[Path, Path]) -> None:
    new, job, old = Index(roots).rows()
    assert (new.id, new.status, new.reason, new.stage, new.headline) == (
        "new",
        "failed",
        "it broke",
        "train",
        {"return": 1.0},
    )
    assert (job.id, job.sweep, job.task, job.dir) == ("s1.000", "s1", "h1_flat", roots[1] / "s1" / "s1.000")
    assert (old.name, old.tags, old.has_checkpoint, new.has_checkpoint) == ("walker", ["keep"], True, False)


def test_only_what_changed_is_read_again(roots: tuple[Path, Path], reads: list[str]) -> None:
    first = Index(roots).rows()
    assert sorted(reads) == ["new", "old", "s1.000"]
    reads.clear()
    assert Index(roots).rows() == first and reads == []
    change(roots[0] / "new", status="finished")
    record_run(roots[0], "newer", started=ago(minutes=1))
    shutil.rmtree(roots[0] / "old")
    assert [(run.id, run.status) for run in Index(roots).rows()] == [
        ("newer", "finished"),
        ("new", "finished"),
        ("s1.000", "finished"),
    ]
    assert sorted(reads) == ["new", "newer"]
    assert Store(roots[0]).load().keys() == {"new", "newer"}


def test_a_file_just_written_is_not_trusted_to_be_the_last(roots: tuple[Path, Path]) -> None:
    path = roots[0] / "new" / "run.json"
    just_now = time.time_ns() + 60 * 10**9  # and still so at the end of the slowest test
    os.utime(path, ns=(just_now, just_now))
    stamp = path.stat()
    assert Index(roots).rows()[0].seed == 0
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 7'))  # same size, same file, same time
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert Index(roots).rows()[0].seed == 7


def test_moved_roots_keep_their_index(roots: tuple[Path, Path], tmp_path: Path, reads: list[str]) -> None:
    Index(roots).rows()
    reads.clear()
    moved = roots[0].rename(tmp_path / "elsewhere")
    assert {run.dir.parent for run in Index([moved]).rows()} == {moved}
    assert reads == []


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b"not a database at all, but long enough to look like one" * 100),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:5000]),
        lambda file: file.write_bytes(file.read_bytes().replace(b"walker", b"runner")),
        lambda file: file.write_bytes(file.read_bytes()[:100] + bytes(4000) + file.read_bytes()[4100:]),
        lambda file: sqlite3.connect(file, isolation_level=None).execute("PRAGMA user_version = 1").connection.close(),
        lambda file: sqlite3.connect(file, isolation_level=None).execute("DROP TABLE runs").connection.close(),
        lambda file: (
            sqlite3.connect(file, isolation_level=None).execute("UPDATE runs SET row = NULL").connection.close()
        ),
    ],
)
def test_a_lost_or_broken_file_is_made_anew(roots: tuple[Path, Path], harm, reads: list[str]) -> None:
    before = Index(roots).rows()
    harm(roots[0] / FILE)
    assert Index(roots).rows() == before
    reads.clear()
    assert Index(roots).rows() == before
    assert reads == [], "the new file is used"


def test_every_cut_and_every_damaged_byte_is_survived(roots: tuple[Path, Path]) -> None:
    before = Index(roots).rows()
    file = roots[0] / FILE
    whole = file.read_bytes()
    for at in range(0, len(whole), 97):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        assert Index(roots).rows() == before, at
    for at in range(0, len(whole), 997):
        file.write_bytes(whole[:at])
        assert Index(roots).rows() == before, at


def test_a_locked_file_is_done_without(roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.runs.index.index.BUSY_S", 0.05)
    before = Index(roots).rows()
    with closing(sqlite3.connect(roots[0] / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        change(roots[0] / "new", seed=3)
        assert Index(roots).rows()[0].seed == 3
        assert Index(roots).rows()[1:] == before[1:]
        other.execute("ROLLBACK")
    assert Index(roots).rows()[0].seed == 3


def test_a_file_that_cannot_be_written_or_is_a_folder_is_done_without(roots: tuple[Path, Path]) -> None:
    (roots[0] / FILE).mkdir()
    assert len(Index(roots).rows()) == 3
    assert ids((roots[0] / "nowhere", roots[1])) == ["s1.000"]
    assert not (roots[0] / "nowhere").exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "empty"),
        ('{"id": "new", "stat', "line 1"),
        ("[1, 2]", "list"),
        ("{}", "status"),
        ('{"status": "failed", "choices": "reach"}', "dictionary"),
        ('{"status": "failed", "headline": 3}', "int"),
        ("[" * 100_000, "recursion"),
        ("\udcff".encode(errors="surrogateescape"), "0xff"),
    ],
)
def test_a_broken_record_is_a_row_that_says_so(roots: tuple[Path, Path], text: str | bytes, name: str) -> None:
    path = roots[0] / "new" / "run.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for _ in range(2):
        (broken,) = [run for run in Index(roots).rows() if run.id == "new"]
        assert broken.status == "unreadable"
        assert_names(broken.unreadable, name)
        assert abs(broken.began - time.time()) < 100


def test_fields_that_are_missing_or_null_are_no_harm(roots: tuple[Path, Path]) -> None:
    (roots[0] / "new" / "run.json").write_text(json.dumps({"status": "failed", "tags": None, "choices": None}))
    (found,) = [run for run in Index(roots).rows() if run.id == "new"]
    assert (found.status, found.tags, found.task, found.began) == ("failed", [], None, 0.0)


ALIVE = host.process(os.getpid())
ELSEWHERE = {"host": "node7", "pid": 1, "start": 1}


@pytest.mark.parametrize(
    ("fields", "silent_s", "status"),
    [
        ({"status": "running", "supervisor": ALIVE}, None, "running"),
        ({"status": "running", "supervisor": DEAD}, 0, "lost"),
        ({"status": "running", "supervisor": ELSEWHERE}, 30, "running"),
        ({"status": "running", "supervisor": ELSEWHERE}, 200, "lost"),
        ({"status": "running", "supervisor": ELSEWHERE}, None, "lost"),
        ({"status": "running", "supervisor": {"odd": 1}}, None, "lost"),
        ({"status": "running", "supervisor": None, "started": ago(hours=1)}, None, "lost"),
        ({"status": "running", "supervisor": None, "started": None}, None, "running"),
        ({"status": "queued", "queue": {"kind": "local", "process": ALIVE}}, None, "queued"),
        ({"status": "queued", "queue": {"kind": "local", "process": DEAD}}, None, "lost"),
        ({"status": "queued", "queue": {"kind": "local", "process": ELSEWHERE}}, None, "queued"),
        ({"status": "queued", "queue": {"kind": "slurm", "job": "7"}}, None, "queued"),
        ({"status": "queued", "queue": None, "started": ago(hours=1)}, None, "lost"),
        ({"status": "finished", "supervisor": DEAD}, None, "finished"),
    ],
)
def test_lost_is_what_nobody_works_on(tmp_path: Path, fields: dict, silent_s: float | None, status: str) -> None:
    if fields.get("started", "") is None:  # just now, however long ago this table was made
        fields = {**fields, "started": ago()}
    folder = record_run(tmp_path, "run", **fields)
    if silent_s is not None:
        (folder / ".supervisor").touch()
        os.utime(folder / ".supervisor", (time.time() - silent_s,) * 2)
    for _ in range(2):  # as read, as remembered
        assert Index([tmp_path]).rows()[0].status == status


def test_a_run_whose_supervisor_dies_is_lost_without_a_change_of_its_record(
    roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(roots[0] / "new", status="running", supervisor=ALIVE)
    assert Index(roots).rows()[0].status == "running"
    monkeypatch.setattr(liveness.host, "is_alive", lambda process: False)
    assert Index(roots).rows()[0].status == "lost"


@pytest.mark.parametrize(("process", "status"), [(DEAD, "killed"), (ALIVE, "queued")])
def test_schedulers_are_asked_for_the_runs_that_they_have(tmp_path: Path, process: dict, status: str) -> None:
    queue = {"kind": "submitit_local", "job": "7", "folder": str(tmp_path), "submitted": ago(hours=1)}
    record_run(tmp_path, "theirs", status="queued", queue=queue | {"process": process, "starter": process})
    record_run(tmp_path, "ours")
    rows = Index([tmp_path]).rows()
    assert {run.id: run.status for run in rows}["theirs"] == "queued"
    job_states.ask_schedulers(rows)
    assert {run.id: run.status for run in rows} == {"theirs": status, "ours": "finished"}


def test_a_scheduler_that_does_not_answer_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    queue = {"kind": "slurm", "job": "7", "folder": str(tmp_path), "submitted": ago(hours=1)}
    record_run(tmp_path, "theirs", status="queued", queue=queue)
    rows = Index([tmp_path]).rows()
    job_states.ask_schedulers(rows)
    assert [run.status for run in rows] == ["queued"]
