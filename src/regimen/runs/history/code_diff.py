"""The difference between the code of two runs: their commits with the changes that were not committed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from regimen.runs.history.run_view import RunView
from regimen.system.git import is_commit

HERE = Path(__file__).resolve().parent


class _NotThere(Exception):
    """A commit or a patch that cannot be had here; the message says which."""


@dataclass
class CodeDifference:
    """Difference between the code of two runs.

    Attributes:
        lines: for the screen; empty where there is no difference.
        text: the whole difference as `git diff` prints it, where it can be had.
    """

    lines: list[str]
    text: str = ""


def code_difference(a: RunView, b: RunView, repository: Path = HERE) -> CodeDifference:
    """Return how the code of `b` differs from that of `a`.

    Args:
        a: the first run.
        b: the second run.
        repository: any folder of the repository in which their commits are looked for.
    """
    lines = list(_states(a, b))
    same_signature = _same([_signature(a), _signature(b)])
    if not lines and same_signature is not False:
        return CodeDifference([])
    try:
        with _trees(repository, a, b) as (git, old, new):
            text = git("diff", old, new)
            stat = git("diff", "--stat=100", old, new).splitlines()
    except _NotThere as error:
        return CodeDifference([*lines, f"what changed in between is not known: {error}"])
    lines += [line.strip() for line in stat] or ["the files of the repository are the same"]
    if same_signature:
        lines.append("the code that a run imports is the same (equal signatures)")
    elif same_signature is False and not text:
        lines.append("modules outside of the repository, which the configuration names, differ (signatures)")
    return CodeDifference(lines, text)


def _states(a: RunView, b: RunView) -> Iterator[str]:
    """Yield commit and uncommitted changes of both, if they differ."""
    commits = [str(_commit(run))[:10] for run in (a, b)]
    if commits[0] != commits[1]:
        yield f"commit {commits[0]} → {commits[1]}"
    if a.patch != b.patch:
        counts = [sum(line.startswith(b"diff --git ") for line in run.patch.splitlines()) for run in (a, b)]
        changes = [f"{count} files" if run.patch else "none" for run, count in zip((a, b), counts, strict=True)]
        yield f"changes not committed: {changes[0]} → {changes[1]}"


def _signature(run: RunView) -> str | None:
    return run.record.signature.code


def _commit(run: RunView) -> str | None:
    return run.record.git.commit if run.record.git else None


def _same(values: list[str | None]) -> bool | None:
    return None if None in values else values[0] == values[1]


class _Git:
    """Git in a repository, which writes its objects and index into a folder of its own."""

    def __init__(self, top: Path, scratch: Path) -> None:
        objects = self._first_line(top, "rev-parse", "--path-format=absolute", "--git-path", "objects")
        self._top = top
        self._env = {
            **os.environ,
            "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
            "GIT_INDEX_FILE": str(scratch / "index"),
        }
        (scratch / "objects").mkdir()

    def __call__(self, *words: str, stdin: bytes = b"") -> str:
        command = ["git", "-c", "core.quotePath=off", *words]
        done = subprocess.run(command, cwd=self._top, env=self._env, input=stdin, capture_output=True, check=True)
        return done.stdout.decode(errors="replace")

    @staticmethod
    def _first_line(top: Path, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=top, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def tree(self, run: RunView) -> str:
        """Return the tree of a run's commit with its uncommitted changes.

        Raises:
            _NotThere: the commit is not in this repository, or the patch does not fit it.
        """
        commit = _commit(run)
        if not commit:
            raise _NotThere(f"run {run.id} recorded no commit")
        if not is_commit(commit):
            raise _NotThere(f"run {run.id} records `{commit}`, which is no hash of a commit")
        try:
            self("read-tree", "--end-of-options", commit)
        except subprocess.CalledProcessError:
            raise _NotThere(f"commit {str(commit)[:10]} is not in this repository; git fetch may bring it") from None
        if run.patch:
            try:
                self("apply", "--cached", "--whitespace=nowarn", stdin=run.patch)
            except subprocess.CalledProcessError:
                raise _NotThere(f"code.patch of {run.id} does not apply to its commit") from None
        return self("write-tree").strip()


@contextmanager
def _trees(repository: Path, a: RunView, b: RunView) -> Iterator[tuple[_Git, str, str]]:
    """Yield git and the trees of both runs; what is made for it is gone afterwards.

    Raises:
        _NotThere: there is no git, no repository, or one of the trees cannot be had.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            git = _Git(Path(_Git._first_line(repository, "rev-parse", "--show-toplevel")), Path(scratch))
        except (OSError, subprocess.CalledProcessError):
            raise _NotThere(f"{repository} is in no git repository") from None
        yield git, git.tree(a), git.tree(b)
