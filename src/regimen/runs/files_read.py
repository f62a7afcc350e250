"""The user's files that a run opens, recorded with their checksums: code, models and data that no configuration names.

Python reports every `open` and every import to an audit hook. Files opened from C are not seen; of those, models are
part of the signature of the code (`model_files`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from regimen.runs import code_snapshot
from regimen.runs.run import Run
from regimen.runs.user_files import OUTPUT_FOLDERS, SKIPPED_FOLDERS, UserFiles
from regimen.system import json_lines
from regimen.system.files import PACKAGE, repository_root

FILE = "files_read.jsonl"
"""File of the run directory: one line for each file, with `path` and `sha256`."""

MAX_HASHED_BYTES = 2**30
"""A larger file is recorded with its size and modification time instead of its checksum."""


def record_files_read(run: Run) -> Callable[[], None]:
    """Record from now on which of the user's files this process opens for reading or imports.

    These are the files below the current folder and the folders of the user's modules, without outputs and inputs, and
    the files that the configuration names by path, wherever they lie. A file of a copy of the code is recorded under
    the name of its original.

    Args:
        run: the run of this process.

    Returns:
        A function that records what is opened from C, too: the models of robots, whose modules it imports, and the
        files that the configuration names.
    """
    recorder = _Recorder(run)
    sys.addaudithook(recorder.on_event)
    return recorder.record_models


def changed(folder: Path) -> Iterator[str]:
    """Yield what has changed of the files that a run read: `path has changed since`, or `path is gone`.

    Args:
        folder: directory of the run.
    """
    seen: dict[str, dict[str, Any]] = {}
    for row in json_lines.rows(folder / FILE):
        path = Path(row["path"])
        if row["path"] in seen:
            if seen[row["path"]] != row:
                yield f"{row['path']}, which it read, changed between its attempts"
            continue
        seen[row["path"]] = row
        if not path.is_file():
            yield f"{row['path']}, which it read, is gone"
        elif _state(path) != row:
            yield f"{row['path']}, which it read, has changed since"


def _state(path: Path, name: str | None = None) -> dict[str, Any]:
    """Return the line that describes the present content of a file."""
    shown = name or str(path)
    stat = path.stat()
    if stat.st_size > MAX_HASHED_BYTES:
        return {"path": shown, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    return {"path": shown, "sha256": code_snapshot.content(path)}


class _Recorder:
    """An audit hook; each path is looked at once, so that it costs little however often a file is opened."""

    def __init__(self, run: Run) -> None:
        self.config = run.config
        self.cwd = os.path.realpath(os.getcwd())
        code = run.record.code
        originals = {} if code is None else code_snapshot.originals(code)
        self.top = "" if code is None else os.path.realpath(code)
        self.copies = {str(k): str(originals[k]) for k in sorted(originals, key=lambda k: len(str(k)), reverse=True)}
        user = UserFiles(self.config)
        self.named = {os.path.realpath(path) for path in user.named}
        roots = {self.cwd, *map(str, user.roots if code is None else self.copies.values())}
        self.roots = sorted(roots - {str(repository_root())}, key=len, reverse=True)
        inputs = [os.path.realpath(entry.path) for entry in run.record.inputs.values()]
        self.excluded = (str(run.dir), str(PACKAGE), *inputs)
        self.known: set[str] = set()
        self.file = os.open(run.dir / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record a file that is opened for reading; never raise, which would prevent it from being opened."""
        if event != "open":
            return
        with suppress(Exception):
            path, _, flags = arguments
            name = os.fsdecode(path)  # a TypeError for a file descriptor
            if name in self.known:
                return
            if flags & (os.O_WRONLY | os.O_RDWR):
                self.known.add(name)  # its own output, also if it reads it later
                self.known.add(os.path.realpath(name))
                return
            self._record(name)

    def record_models(self) -> None:
        """Record the models of robots and the files that the configuration names."""
        user = UserFiles(self.config)
        for path in sorted(user.models | user.named):
            with suppress(OSError):
                self._record(str(path))

    def _record(self, name: str) -> None:
        source = name
        if name.endswith(".pyc"):
            source = importlib.util.source_from_cache(name)
        real = os.path.realpath(source)
        if real in self.known or not os.path.isfile(real):
            return
        self.known |= {name, source, real}  # before it is read here, which is an event again
        original = self._original(real)
        if original is not None:
            shown = os.path.relpath(original, self.cwd) if _below(original, self.cwd) else original
            line = _state(Path(real), shown)
            os.write(self.file, f"{json.dumps(line)}\n".encode())

    def _original(self, real: str) -> str | None:
        """Return the user's file that a file is or is a copy of; None for all others."""
        for copy, root in self.copies.items():
            if _below(real, copy):
                inner = os.path.relpath(real, copy)
                is_own = copy == self.top and inner.split(os.sep)[0] in (PACKAGE.name, "hydra_plugins")
                return None if is_own or _is_skipped(inner) else os.path.join(root, inner)
        if any(_below(real, folder) for folder in self.excluded):
            return None
        if real in self.named:
            return real
        owner = next((root for root in self.roots if _below(real, root)), None)
        return None if owner is None or _is_skipped(os.path.relpath(real, owner)) else real


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _is_skipped(inner: str) -> bool:
    """Whether a path below a root is hidden, an output, or belongs to an environment."""
    parts = inner.split(os.sep)
    return parts[0] in OUTPUT_FOLDERS or any(part.startswith(".") or part in SKIPPED_FOLDERS for part in parts)
