"""Quick answers of `inspect` about frames, for libraries that ask about a frame for each of their kernels."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def modules_by_name() -> Iterator[None]:
    """Let `inspect` take the module of a frame from its globals, within.

    `inspect.getmodule` compares the files of all loaded modules instead, and Genesis asks 1500 times while it is
    imported: a third of the time until its scene is built.
    """
    getmodule = inspect.getmodule

    def quick(object: Any, _filename: str | None = None) -> ModuleType | None:
        if inspect.isframe(object):
            return sys.modules.get(object.f_globals.get("__name__", ""))
        return getmodule(object, _filename)

    inspect.getmodule = quick
    try:
        yield
    finally:
        inspect.getmodule = getmodule
