"""What each run was made from, and what was made from it, also where links are missing, broken or go in circles."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.run_directories import add, add_file
from regimen.runs.history.lineage import FILE, Lineage, ParentLink, links_of, state
from regimen.runs.history.run_view import CHANGED, GONE, UNCHANGED, open_view_dir
from regimen.runs.index.summary import RunSummary


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def row(folder: Path) -> RunSummary:
    return open_view_dir(folder).row


def chain(outputs: Path) -> list[Path]:
    """A teacher, a dataset of its, and two students of it."""
    teacher = add(outputs, "1-teacher")
    policy = add_file(teacher, "checkpoints/best.pt", "p")
    data = add(outputs, "2-data", {"policy": policy}, stage="collect", parents=["1-teacher"])
    episodes = add_file(data, "data/episodes.h5", "e")
    return [teacher, data, *(add(outputs, f"{i}-student", {"data.0": episodes}, parents=["2-data"]) for i in (3, 4))]


def test_up_and_down(outputs: Path) -> None:
    teacher, data, student, other = chain(outputs)
    relatives, links = Lineage.known().graph(row(data))
    assert set(relatives) == {folder.name for folder in (teacher, data, student, other)}
    assert set(links) == {
        ParentLink("1-teacher", "2-data", "policy best.pt", UNCHANGED),
        ParentLink("2-data", "3-student", "data.0 episodes.h5", UNCHANGED),
        ParentLink("2-data", "4-student", "data.0 episodes.h5", UNCHANGED),
    }
    relatives, _ = Lineage.known().graph(row(student))
    assert set(relatives) == {"1-teacher", "2-data", "3-student"}, "not the brother"


def test_changed_gone_and_missing(outputs: Path) -> None:
    _, data, student, _ = chain(outputs)
    (data / "data/episodes.h5").write_text("others")
    assert [link.state for link in links_of(row(student))] == [CHANGED]
    (data / "data/episodes.h5").unlink()
    [link] = links_of(row(student))
    assert link.state == GONE and link.broken
    orphan = add(outputs, "5-orphan", parents=["0-never"])
    assert [(p.id, state(p)) for p in Lineage.known().parents(row(orphan))] == [("0-never", GONE)]


def test_files_of_no_run_and_runs_that_still_wait(outputs: Path, tmp_path: Path) -> None:
    policy = add_file(tmp_path, "policy.pt", "p")
    user = add(outputs, "a", {"policy": policy})
    assert [(p.id, state(p)) for p in Lineage.known().parents(row(user))] == [(str(policy), FILE)]
    waits = add(outputs, "b", status="queued", parents=["a"], pending={"policy": f"{user}@best"})
    assert links_of(row(waits)) == [ParentLink("a", "b", "policy @best")]


def test_a_parent_outside_of_the_known_folders_is_found_through_its_file(outputs: Path, tmp_path: Path) -> None:
    other = add(tmp_path / "elsewhere", "other", name="far")
    user = add(outputs, "a", {"policy": add_file(other, "checkpoints/best.pt", "p")}, parents=["other"])
    assert [(p.id, p.name, state(p)) for p in Lineage.known().parents(row(user))] == [("other", "far", "finished")]


def test_circles_end(outputs: Path) -> None:
    a, b = add(outputs, "a", parents=["b", "a"]), add(outputs, "b", parents=["a"])
    relatives, links = Lineage.known().graph(row(a))
    assert set(relatives) == {"a", "b"} and len(links) == 3
    assert [r.id for r in Lineage.known().children(row(b))] == ["a"]
