"""Git: commit and branch of a repository, and its uncommitted changes as a patch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

PLAIN_DIFF = (
    *("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
"""A difference that `git apply` takes, whatever the user's settings make of `git diff`."""

MAX_UNTRACKED_BYTES = 256 * 1024
MAX_PATCH_BYTES = 8 * 1024 * 1024


def repository_state(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """Return ({commit, branch, dirty}, patch) of the repository around `folder`; (None, "") outside of one.

    The patch is the difference to the commit, followed by the untracked text files, and can be applied with
    `git apply`.

    Args:
        folder: any folder of the repository.
    """
    status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=all", "-z")
    if status is None:
        return None, ""
    lines = status.split("\0")
    head = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    commit = head.get("branch.oid", "(initial)")
    changed = [line for line in lines if line and not line.startswith("#")]
    facts = {
        "commit": None if commit == "(initial)" else commit,
        "branch": head.get("branch.head"),
        "dirty": bool(changed),
    }
    untracked = [line[2:] for line in changed if line.startswith("? ")]
    tracked = len(changed) > len(untracked) and facts["commit"]
    patch = (_git(folder, *PLAIN_DIFF) or "") if tracked else ""
    if len(patch) > MAX_PATCH_BYTES:
        patch = f"# {len(patch)} bytes of changes to tracked files left out\n"
    return facts, patch + _untracked_patch(_top(folder), untracked)


def _untracked_patch(top: Path, names: list[str]) -> str:
    parts: list[str] = []
    for name in names:
        try:
            path = top / name
            if path.stat().st_size > MAX_UNTRACKED_BYTES or sum(map(len, parts)) > MAX_PATCH_BYTES:
                continue
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        if "\0" not in text:
            parts.append(_new_file_patch(name, text))
    return "".join(parts)


def _new_file_patch(name: str, text: str) -> str:
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    if not text:
        return head
    lines = text.removesuffix("\n").split("\n")
    body = "".join(f"+{line}\n" for line in lines)
    end = "" if text.endswith("\n") else "\\ No newline at end of file\n"
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{body}{end}"


def _top(folder: Path) -> Path:
    return next((p for p in (folder, *folder.parents) if (p / ".git").exists()), folder)


def _git(folder: Path, *args: str) -> str | None:
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(["git", *args], cwd=_top(folder), env=env, capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="surrogateescape")
