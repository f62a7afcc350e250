"""A system without `/proc`, `/sys` and the calls of Linux, for this project's own code: `pytest --without-linux`.

Python imports this file at its start, also in processes that tests start. Libraries read `/proc` as before: psutil and
torch have code of their own for each system, and choose it by `sys.platform`.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = ((os, "sched_getaffinity"), (os, "sched_setaffinity"), (os, "posix_fallocate"), (time, "CLOCK_BOOTTIME"))
FOLDERS = ("/proc", "/sys")
READERS = (
    (builtins, "open"),
    (io, "open"),
    *((os, name) for name in ("open", "stat", "listdir", "scandir", "readlink")),
)
ROOT = str(Path(__file__).resolve().parents[3])
STANDARD = ("pathlib", "os", "io", "posixpath", "genericpath", "glob", "fnmatch", "contextlib", __name__)
"""Modules between the code that reads a file and the call that does."""


def _is_of_linux(path: Any) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    name = os.fsdecode(path)
    return name.startswith(tuple(f"{folder}/" for folder in FOLDERS)) or name in FOLDERS


def _asked_by_the_project() -> bool:
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in STANDARD:
        frame = frame.f_back
    file = frame.f_code.co_filename
    return file.startswith(ROOT) and "/.venv" not in file


def _without(call: Callable[..., Any]) -> Callable[..., Any]:
    def called(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        if _is_of_linux(path) and _asked_by_the_project():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path))
        return call(path, *args, **kwargs)

    return called


for _module, _name in CALLS:
    if hasattr(_module, _name):
        delattr(_module, _name)
for _module, _name in READERS:
    _call = getattr(_module, _name)
    _hidden = _without(_call)
    for _calls in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
        if _call in _calls:
            _calls.add(_hidden)
    setattr(_module, _name, _hidden)
