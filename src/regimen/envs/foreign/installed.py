"""Versions of a library's packages in an interpreter, without importing them."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from regimen.envs.foreign.library import Library

ASK = (
    "import sys, json; from importlib import metadata\n"
    "found = {}\n"
    "for name in sys.argv[1:]:\n"
    "    try: found[name] = metadata.version(name)\n"
    "    except metadata.PackageNotFoundError: found[name] = ''\n"
    "print(json.dumps(found))"
)


def versions(python: str, names: Sequence[str]) -> dict[str, str]:
    """Return distribution -> version in an interpreter, empty where it is missing.

    Args:
        python: path of the interpreter; one that cannot be started has nothing.
        names: distributions.
    """
    if Path(python).absolute() == Path(sys.executable).absolute():
        return {name: _own(name) for name in names}
    return _of_folder(python, tuple(names)) or _asked(python, tuple(names))


def _own(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


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
    import json

    try:
        done = subprocess.run(
            [python, "-I", "-c", ASK, *names], capture_output=True, text=True, timeout=60, check=False
        )
        return dict(json.loads(done.stdout)) if done.returncode == 0 else dict.fromkeys(names, "")
    except (OSError, subprocess.TimeoutExpired):
        return dict.fromkeys(names, "")


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
