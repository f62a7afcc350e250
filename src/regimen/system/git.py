"""Commit, branch and uncommitted changes of a git repository."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from regimen.system.json_data import CheckedJsonData
from regimen.system.secrets import CONTENT, is_secret_file

PLAIN_DIFF = (
    "--binary",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-renames",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
"""Options of `git diff` that make its output valid for `git apply` with any user settings."""

CODE_SUFFIXES = frozenset(
    (
        *(".py", ".pyi", ".pyx", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".json", ".xml", ".mjcf", ".urdf", ".xacro"),
        *(".usda", ".sh", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".csv", ".txt", ".md"),
    )
)
"""Suffixes of code, options and models: a run is made of no other untracked text."""

MAX_UNTRACKED_BYTES = 256 * 1024
MAX_PATCH_BYTES = 8 * 1024 * 1024
TIMEOUT_S = 20.0


@dataclass
class GitState(CheckedJsonData):
    """The commit that code is taken from.

    Attributes:
        commit: its hash, None before the first one.
        branch: name of the branch.
        dirty: whether there are uncommitted changes; `code.patch` of a run holds them.
    """

    commit: str | None = None
    branch: str | None = None
    dirty: bool = False


@dataclass
class Repository:
    """What a run records of the repository of its code.

    Attributes:
        state: the commit, None outside of a repository and where git does not read it.
        patch: uncommitted changes, for `git apply`.
        warnings: what git did not read, and its own message, one line each.
    """

    state: GitState | None = None
    patch: str = ""
    warnings: list[str] = field(default_factory=list)


class GitError(Exception):
    """A command of git that failed; the message is one line."""


def is_commit(text: object) -> bool:
    """Return whether a recorded value is a commit's hash, and no option or path that git would take it for."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{7,64}", text) is not None


def repository_state(folder: Path) -> Repository:
    """Return commit and uncommitted changes of the repository around `folder`, empty outside of one.

    The patch is the difference to the commit, followed by the untracked files of code and options. Files that may hold
    secrets are left out and named in its first line. Neither the index nor the objects of the repository change.

    Args:
        folder: any folder of the repository.
    """
    top = next((p for p in (folder, *folder.parents) if (p / ".git").exists()), None)
    try:
        status = _git(top or folder, "status", "--porcelain=v2", "--branch", "--untracked-files=all", "-z")
    except GitError as error:
        return Repository(warnings=[f"the commit of the code is not recorded: {error}"] if top else [])
    top = top or folder
    lines = status.split("\0")
    head = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    commit = head.get("branch.oid", "(initial)")
    changed = [line for line in lines if line and not line.startswith("#")]
    state = GitState(None if commit == "(initial)" else commit, head.get("branch.head"), bool(changed))
    untracked = [line[2:] for line in changed if line.startswith("? ")]
    patch = ""
    secret: list[str] = []
    warnings: list[str] = []
    if len(changed) > len(untracked) and state.commit:
        try:
            patch, secret = _tracked_patch(top)
        except GitError as error:
            warnings.append(f"code.patch is without the changes to tracked files: {error}")
    if len(patch) > MAX_PATCH_BYTES:
        patch = f"# {len(patch)} bytes of changes to tracked files left out\n"
    code, hidden = _untracked_code(top, untracked)
    secret += hidden
    left_out = f"# left out, because they may hold secrets: {', '.join(map(repr, secret))}\n" if secret else ""
    try:
        added = _untracked_patch(top, code)
    except GitError as error:
        added = ""
        warnings.append(f"code.patch is without untracked files: {error}")
    return Repository(state, left_out + patch + added, warnings)


def _tracked_patch(top: Path) -> tuple[str, list[str]]:
    """Return the difference to the commit, and the changed files left out as secrets."""
    listed = _git(top, "diff", "HEAD", "--name-only", "--no-renames", "-z")
    names = [name for name in listed.split("\0") if name]
    secret = [name for name in names if _is_secret_change(top / name)]
    patch = _difference(top, ":/", *(f":(top,exclude,literal){name}" for name in secret))
    if len(patch) <= MAX_PATCH_BYTES and _has_token(patch):  # such as one that a change removes
        rest = [name for name in names if name not in secret]
        secret += [name for name in rest if _has_token(_difference(top, f":(top,literal){name}"))]
        patch = _difference(top, ":/", *(f":(top,exclude,literal){name}" for name in secret))
    return patch, secret


def _is_secret_change(path: Path) -> bool:
    """Return whether a tracked file may hold secrets; of a module such as `tokenizer.py` the content alone decides."""
    content = _start(path)
    return CONTENT.search(content) is not None if path.suffix == ".py" else is_secret_file(path.name, content)


def _difference(top: Path, *paths: str) -> str:
    return _git(top, "diff", "HEAD", *PLAIN_DIFF, "--", *paths)


def _has_token(patch: str) -> bool:
    return CONTENT.search(patch.encode(errors="surrogateescape")) is not None


def _start(path: Path) -> bytes:
    """Return the first bytes of a file, none of a link, a folder or a file that is gone."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(MAX_PATCH_BYTES)
    except OSError:
        return b""


def _untracked_code(top: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """Return the untracked files of a patch, up to its size limit, and the files left out as secrets."""
    total, code, secret = 0, [], []
    for name in names:
        try:
            found = (top / name).lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_UNTRACKED_BYTES:
                continue
            data = (top / name).read_bytes()
            data.decode()
        except (OSError, UnicodeDecodeError):
            continue
        if is_secret_file(Path(name).name, data) or (found.st_mode & 0o077 == 0 and not _umask_hides()):
            secret.append(name)
        elif Path(name).suffix.lower() in CODE_SUFFIXES and b"\0" not in data and total <= MAX_PATCH_BYTES:
            total += len(data)
            code.append(name)
    return code, secret


def _umask_hides() -> bool:
    """Return whether every new file of this user is hidden from others, so that a hidden one is none of its own."""
    mask = os.umask(0)
    os.umask(mask)
    return mask & 0o077 == 0o077


def _untracked_patch(top: Path, names: list[str]) -> str:
    """Return a patch that adds the files, computed with a temporary index in which they are marked as added."""
    if not names:
        return ""
    options = ("-c", "core.splitIndex=false", "-c", "core.safecrlf=false", "--literal-pathspecs")
    listed = "\0".join(names).encode(errors="surrogateescape")
    add = ("add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul")
    with tempfile.TemporaryDirectory() as scratch:
        own = {"GIT_INDEX_FILE": f"{scratch}/index", "GIT_OBJECT_DIRECTORY": scratch}
        _git(top, *options, *add, stdin=listed, variables=own)
        return _git(top, *options, "diff", *PLAIN_DIFF, variables=own)


def _git(top: Path, *args: str, stdin: bytes = b"", variables: dict[str, str] | None = None) -> str:
    """Return the output of a command of git.

    Raises:
        GitError: it failed, took too long, or there is no git.
    """
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", **(variables or {})}
    command = "git " + next(word for word in args if word in ("status", "diff", "add"))
    try:
        done = subprocess.run(["git", *args], cwd=top, env=env, input=stdin, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise GitError(f"{command}: no answer within {TIMEOUT_S:g} s") from None
    except OSError as error:
        raise GitError(f"{command}: {error.strerror or error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise GitError(f"{command}: {lines[0]}")
    return done.stdout.decode(errors="surrogateescape")
