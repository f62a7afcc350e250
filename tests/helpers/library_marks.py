"""Marks of the tests that need the interpreter of another library, or a browser."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

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


def needs_browser(library: str = "nicegui") -> list[pytest.MarkDecorator]:
    """Return the marks of slow tests in a browser: in one process, and skipped where anything of it is missing."""
    missing = [name for name in (library, "playwright") if find_spec(name) is None]
    reasons = [f"{name} is not installed: make extras" for name in missing]
    if shutil.which("chromium") is None:
        reasons.append("there is no chromium: apt-get install chromium")
    skip = pytest.mark.skipif(bool(reasons), reason="; ".join(reasons) or "nothing is missing")
    return [pytest.mark.slow, pytest.mark.xdist_group("browser"), skip]
