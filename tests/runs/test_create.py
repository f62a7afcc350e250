"""The first record of a run says what git did not read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from regimen.runs.create import create_run_dir
from regimen.runs.record import RunRecord, read_record


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    (folder / "code.py").write_text("x = 1234\n")
    return folder


def recorded(repository: Path, root: Path) -> tuple[RunRecord, str]:
    """The record of a new run, and its code.patch."""
    run = create_run_dir(root, {"choices": {"task": "reach"}}, [], [], repository=repository)
    record = read_record(run)
    assert record is not None
    return record, (run / "code.patch").read_text() if (run / "code.patch").exists() else ""


def test_a_repository_that_git_refuses_is_a_warning(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # it may trust every folder
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    record, patch = recorded(repository, tmp_path)
    assert record.git is None and patch == ""
    (warning,) = record.warnings
    assert "dubious ownership" in warning and str(repository) in warning


def test_a_missing_git_is_a_warning_in_a_repository_only(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    record, _ = recorded(repository, tmp_path)
    assert record.git is None and len(record.warnings) == 1
    assert recorded(tmp_path / "plain", tmp_path)[0].warnings == []


def test_a_failed_difference_is_a_warning_beside_the_commit(repository: Path, tmp_path: Path) -> None:
    assert "x = 1234" in recorded(repository, tmp_path)[1]
    (repository / ".git" / "info" / "attributes").write_text("*.py filter=broken\n")
    git(repository, "config", "filter.broken.clean", "false")
    git(repository, "config", "filter.broken.required", "true")
    record, patch = recorded(repository, tmp_path)
    assert record.git is not None and record.git.dirty and patch == ""
    (warning,) = record.warnings
    assert "git diff" in warning and "filter 'false'" in warning


def test_the_name_of_a_committed_module_hides_no_change(repository: Path, tmp_path: Path) -> None:
    (repository / "tokenizer.py").write_text("x = 1\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "two")
    (repository / "tokenizer.py").write_text("x = 4321\n")
    assert "x = 4321" in recorded(repository, tmp_path)[1]
