"""Marks of the tests that need the interpreter of another library."""

from __future__ import annotations

import pytest

from regimen.envs.foreign import installed
from regimen.envs.foreign.library import Library
from regimen.system import host


def needs(library: Library) -> list[pytest.MarkDecorator]:
    """Return the marks of slow tests of a library: in one process, and skipped where it is not installed."""
    python = host.made_interpreter(library.name)
    missing = python is None or bool(list(installed.problems(library, python)))
    reason = f"{library.title} is not installed: make {library.name}"
    return [pytest.mark.slow, pytest.mark.xdist_group(library.name), pytest.mark.skipif(missing, reason=reason)]
