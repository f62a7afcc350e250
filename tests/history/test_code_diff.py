"""The code of two runs: commits with their uncommitted changes, as one difference."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from regimen import facts
from regimen.history.code_diff import code_difference
from regimen.history.seen import Seen, see_dir
from whole_runs import add


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

    def run(self, run_id: str, **fields: Any) -> Seen:
        known, patch = facts.git(self.folder)
        folder = add(self.runs, run_id, **{"git": known, **fields})
        if patch:
            (folder / "code.patch").write_text(patch)
        return see_dir(folder)


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
    assert found.lines[0].startswith("commit ") and found.lines[1] == "changes not committed: none → 2 files"
    assert found.lines[-1] == "2 files changed, 2 insertions(+), 1 deletion(-)"
    assert repository.git("status", "--porcelain") == status
    assert sorted((repository.folder / ".git/objects").rglob("*")) == objects, "nothing is left in the repository"


def test_committing_what_was_a_change_makes_no_other_code(repository: Repository) -> None:
    repository.write("x = 2\n")
    a = repository.run("a", signature={"code": "s"})
    repository.write("x = 2\n", commit=True)
    found = code_difference(a, repository.run("b", signature={"code": "s"}), repository.folder)
    assert found.text == ""
    assert found.lines[-2:] == [
        "the files of the repository are the same",
        "the code that a run imports is the same (equal signatures)",
    ]


def test_modules_outside_of_the_repository(repository: Repository) -> None:
    a, b = repository.run("a", signature={"code": "s"}), repository.run("b", signature={"code": "t"})
    assert "modules outside of the repository" in code_difference(a, b, repository.folder).lines[-1]


def test_what_cannot_be_had_is_said(repository: Repository, tmp_path: Path) -> None:
    a = repository.run("a")
    b = repository.run("b", git={"commit": "1" * 40, "branch": "main", "dirty": False})
    assert "commit 1111111111 is not in this repository" in code_difference(a, b, repository.folder).lines[-1]
    assert "is in no git repository" in code_difference(a, b, tmp_path).lines[-1]
    (b.dir / "code.patch").write_text("# 9 bytes of changes left out\n")
    c = repository.run("c")
    (c.dir / "code.patch").write_text("# 9 bytes of changes left out\n")
    assert "does not apply" in code_difference(a, c, repository.folder).lines[-1]
