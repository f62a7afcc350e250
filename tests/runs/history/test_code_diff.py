"""The code of two runs: commits with their uncommitted changes, as one difference."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import recorded
from helpers.run_directories import add
from regimen.runs.history.code_diff import code_difference
from regimen.runs.history.run_view import RunView, open_view_dir
from regimen.system.git import repository_state


class Repository:
    """A repository with one module, and runs recorded in its states."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        self.runs = folder / "outputs"
        self.folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def write(self, content: str, commit: bool = False) -> None:
        (self.folder / "code.py").write_text(content)
        if commit:
            self.git("add", ".")
            self.git("commit", "-qm", content)

    def run(self, run_id: str, **fields: Any) -> RunView:
        known = repository_state(self.folder)
        folder = add(self.runs, run_id, **{"git": known.state, **fields})
        if known.patch:
            (folder / "code.patch").write_text(known.patch)
        return open_view_dir(folder)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path)
    repository.write("x = 1\n", commit=True)
    return repository


def test_no_difference_needs_no_git(repository: Repository, tmp_path: Path) -> None:
    repository.write("x = 2\n")
    assert code_difference(repository.run("a"), repository.run("b"), tmp_path).lines == []


def test_commits_and_changes_are_one_difference(repository: Repository) -> None:
    a = repository.run("a")
    repository.write("x = 2\n", commit=True)
    repository.write("x = 3\n")
    (repository.folder / "new.py").write_text("y = 1\n")
    b = repository.run("b")
    status = repository.git("status", "--porcelain")
    objects = sorted((repository.folder / ".git/objects").rglob("*"))
    found = code_difference(a, b, repository.folder)
    assert "-x = 1\n+x = 3\n" in found.text and "+y = 1\n" in found.text
    assert_names(found.lines[0], *(recorded(run)["git"]["commit"][:10] for run in (a, b)))
    before, _, after = found.lines[1].partition("→")
    assert "2" not in before, "the first run had no uncommitted changes"
    assert_names(after, 2)
    assert found.lines[-1] == "2 files changed, 2 insertions(+), 1 deletion(-)"
    assert repository.git("status", "--porcelain") == status
    assert sorted((repository.folder / ".git/objects").rglob("*")) == objects, "nothing is left in the repository"


def test_committing_what_was_a_change_makes_no_other_code(repository: Repository) -> None:
    repository.write("x = 2\n")
    a = repository.run("a", signature={"code": "s"})
    repository.write("x = 2\n", commit=True)
    b, c = (repository.run(name, signature={"code": code}) for name, code in (("b", "s"), ("c", "t")))
    same, other = (code_difference(a, run, repository.folder) for run in (b, c))
    assert same.text == other.text == ""
    assert same.lines[:-1] == other.lines[:-1] and same.lines[-1] != other.lines[-1]
    assert_names(same.lines[-1], "signatures")


def test_modules_outside_of_the_repository(repository: Repository) -> None:
    a, b = repository.run("a", signature={"code": "s"}), repository.run("b", signature={"code": "t"})
    found = code_difference(a, b, repository.folder)
    assert found.text == ""
    assert_names(found.lines[-1], "modules", "signatures")


def test_what_cannot_be_had_is_said(repository: Repository, tmp_path: Path) -> None:
    a = repository.run("a")
    b = repository.run("b", git={"commit": "1" * 40, "branch": "main", "dirty": False})
    assert_names(code_difference(a, b, repository.folder).lines[-1], "1111111111", "git fetch")
    assert_names(code_difference(a, b, tmp_path).lines[-1], tmp_path, "git")
    (b.dir / "code.patch").write_text("# 9 bytes of changes left out\n")
    c = repository.run("c")
    (c.dir / "code.patch").write_text("# 9 bytes of changes left out\n")
    assert_names(code_difference(a, c, repository.folder).lines[-1], "code.patch", "c")
