"""Versions of a library's packages in an interpreter, without importing them."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from regimen.envs.foreign.library import Library
from regimen.system.host import is_this_interpreter, versions_in


def versions(python: str, names: Sequence[str]) -> dict[str, str]:
    """Return distribution -> version in an interpreter, empty where it is missing.

    Args:
        python: path of the interpreter; one that cannot be started has nothing.
        names: distributions.
    """
    if not is_this_interpreter(python) and (found := _of_folder(python, tuple(names))):
        return found
    found = _asked(python, tuple(names))
    return {name: found.get(name, "") for name in names}


def _of_folder(python: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions by the folders of a virtual environment; nothing if `python` belongs to none."""
    if not (Path(python).parents[1] / "pyvenv.cfg").exists():
        return {}
    wanted = {_normal(name): name for name in names}
    found = dict.fromkeys(names, "")
    for folder in (Path(python).parents[1] / "lib").glob("python3*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        if _normal(name) in wanted:
            found[wanted[_normal(name)]] = version
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def _asked(python: str, names: tuple[str, ...]) -> dict[str, str]:
    return versions_in(python, names)


def problems(library: Library, python: str) -> Iterator[str]:
    """Yield a line if an interpreter lacks a package of a library, or has one of a version that does not fit."""
    needed = library.needed
    found = versions(python, list(needed))
    missing = [name for name in needed if not found[name]]
    wrong = [f"{name} {found[name]} ({begin}.x fits)" for name, begin in needed.items() if _other(found[name], begin)]
    if missing:
        yield f"{python} has no {', '.join(missing)}. {library.install}"
    if wrong:
        yield f"{python} has {', '.join(wrong)}. {library.install}"


def _other(version: str, begin: str) -> bool:
    return bool(version) and not f"{version}.".startswith(f"{begin}.")


def print_versions(library: Library) -> int:
    """Print the versions of this interpreter; return 1 if something is missing."""
    wrong = list(problems(library, sys.executable))
    found = versions(sys.executable, list(library.needed))
    print(f"{library.name}: " + (" ".join(wrong) if wrong else ", ".join(f"{name} {v}" for name, v in found.items())))
    return int(bool(wrong))
