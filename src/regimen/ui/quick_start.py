"""Import of the web server without what takes time and is of no use to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from regimen.runs.index.index import without_garbage_collection

CLIENTS = ("aiohttp", "requests", "tornado")
"""Optional libraries of python-socketio, which takes a tenth of the start for each where it finds it."""


@contextmanager
def without_client_libraries() -> Iterator[None]:
    """Let imports within do without `CLIENTS`, and without looking for garbage; libraries loaded already stay."""
    hidden = [name for name in CLIENTS if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        with without_garbage_collection():
            yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
