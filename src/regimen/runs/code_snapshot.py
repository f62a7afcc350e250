"""A copy of the code that a waiting run will need, so that an edit made meanwhile does not change it.

A git worktree or a wheel would not do: uncommitted changes count, and so do modules of the user outside any repository.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from regimen.system.files import DATA_FOLDERS, PACKAGE
from regimen.system.moved_modules import first_name

STORE = Path("outputs/.code")
"""Where copies are kept: one for each state of the code, shared by the runs that work from it."""

TARGET_KEYS = ("_target_", "func", "robot")
"""Keys of a configuration whose value names a module: `pkg.mod.Class` or `pkg.mod:name`."""


def take(config: dict[str, Any], store: Path = STORE) -> Path:
    """Copy this package and the user's modules that `config` names; return the folder to put on PYTHONPATH.

    Args:
        config: resolved plain configuration.
        store: folder of copies; a copy of the same content is used again.
    """
    files = sources(config)
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    target = store.resolve() / digest.hexdigest()[:16]
    if not target.exists():
        _copy(files, target)
    with suppress(OSError):
        os.utime(target)  # a clean takes no copy that is young: a run is about to be made from this one
    return target


def environment(code: str | None) -> dict[str, str]:
    """Return the variables with which a process imports from the copy `code`; none where there is no copy.

    Without PYTHONSAFEPATH `python -m` would look into the working directory first, which holds the edited files.

    Args:
        code: folder that `take` returned.
    """
    if code is None:
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [code, os.environ.get("PYTHONPATH")])), "PYTHONSAFEPATH": "1"}


def module_name(code: str | None, module: str) -> str:
    """Return the name by which a process starts `module` from the copy `code`; copies of version 0.1 have other names.

    Args:
        code: folder that `take` returned, None for the present code.
        module: present dotted name.
    """
    if code is None or Path(code, *module.split(".")).with_suffix(".py").exists():
        return module
    return first_name(module)


def sources(config: dict[str, Any]) -> list[tuple[str, Path]]:
    """Return (name below the copy, file) of all code that the run is made of, in a fixed order.

    Args:
        config: resolved plain configuration.
    """
    roots = [PACKAGE, PACKAGE.parent / "hydra_plugins", *sorted(_user_modules(config))]
    found = {str(file.relative_to(root.parent)): file for root in roots for file in _files(root)}
    return sorted(found.items())


def copied(code: Path) -> list[tuple[str, Path]]:
    """Return the same of a copy: (name below it, file), in the order of `sources`.

    Args:
        code: folder that `take` returned.
    """
    return sorted((str(file.relative_to(code)), file) for file in _files(code))


def _files(root: Path) -> Iterator[Path]:
    """Yield a module, or the files of a package without what was compiled, and of Regimen without its data."""
    if root.is_file():
        yield root
        return
    for folder, names, files in os.walk(root):
        skipped = ("__pycache__", *(DATA_FOLDERS if folder == str(PACKAGE) else ()))
        names[:] = [n for n in names if n not in skipped and not n.startswith(".")]
        yield from (Path(folder) / f for f in files if not f.startswith(".") and not f.endswith(".pyc"))


def _user_modules(config: dict[str, Any]) -> set[Path]:
    """Return the modules and packages named in the configuration that lie outside of any installation.

    What such a module imports from its own folder comes with it.
    """
    found: set[Path] = set()
    for name in {text.replace(":", ".").partition(".")[0] for text in _targets(config)} - {"regimen"}:
        path = _local(name)
        if path is not None:
            found |= {path, *_siblings(path)}
    return found


def _local(name: str) -> Path | None:
    """Return the file or folder of a top-level module, None if it is installed, built in, or not to be found."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
        if spec is not None:
            origin = Path(spec.origin or "")
            path = origin.parent if origin.name == "__init__.py" else origin
            if spec.origin is None and spec.submodule_search_locations:
                path = Path(next(iter(spec.submodule_search_locations)))
            if path.exists() and not _is_installed(path.resolve()):
                return path.resolve()
    return None


def _siblings(path: Path) -> set[Path]:
    """Return the modules, packages and robot models beside one of the user's modules, which it may use."""
    packages = {p.parent for p in path.parent.glob("*/__init__.py")}
    return {p.resolve() for p in {*path.parent.glob("*.py"), *path.parent.glob("*.xml"), *packages}}


def _is_installed(path: Path) -> bool:
    places = [sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")]
    return any(path.is_relative_to(Path(place).resolve()) for place in places) or "site-packages" in path.parts


def _targets(node: Any) -> Iterator[str]:
    """Yield every text of a configuration that names a module's attribute."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in TARGET_KEYS and isinstance(value, str) and ("." in value or ":" in value):
                yield value
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _copy(files: list[tuple[str, Path]], target: Path) -> None:
    """Copy under another name first, so that a copy is whole or absent; two processes may do so at once."""
    part = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(2)}")
    for name, path in files:
        place = part / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    with suppress(OSError):  # another process was first
        part.rename(target)
    shutil.rmtree(part, ignore_errors=True)
