"""A copy of the code that a waiting run will need, so that an edit made meanwhile does not change it.

A git worktree or a wheel would not do: uncommitted changes count, and so do modules of the user outside any repository.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from regimen.display.console import say
from regimen.runs.user_files import MANIFEST, UserFiles
from regimen.system import files
from regimen.system.files import DATA_FOLDERS, PACKAGE
from regimen.system.moved_modules import first_name

LENGTH = 16

STORE = Path("outputs/.code")
"""Where copies are kept: one for each state of the code, shared by the runs that work from it."""


def take(config: dict[str, Any], store: Path = STORE) -> Path:
    """Copy this package and the user's files that a run of `config` may read; return the copy.

    Files and folders that are too large (see `user_files`) are linked; a line on the screen names them.

    Args:
        config: resolved plain configuration.
        store: folder of copies; a copy of the same content is used again.
    """
    user = UserFiles(config)
    copies = dict(_own_files())
    links: dict[str, Path] = {}
    places = _places(user)
    copies |= dict(_models_outside(user, places))
    for folder in user.folders:
        place = places[folder.root]
        copies |= {os.path.join(place, name): path for name, path in folder.files.items()}
        links |= {os.path.join(place, name): path for name, path in folder.links.items()}
        for name, size in folder.left_out.items():
            _say_once(f"not copied, read where it is: {folder.root / name} ({size / 2**20:.0f} MiB)")
    manifest = {
        "signature": _digest(_signed(user)),
        "paths": _import_paths(user, places),
        "folders": {place: str(root) for root, place in places.items()},
    }
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    digest.update(_digest(sorted(copies.items())).encode())
    digest.update(repr(sorted((name, str(path)) for name, path in links.items())).encode())
    target = store.resolve() / digest.hexdigest()[:LENGTH]
    while True:
        if not (target / MANIFEST).is_file():  # it is absent, or a removal of it was interrupted
            _copy(copies, _relinked(links, places), manifest, target)
        try:
            os.utime(target)  # a clean takes no copy that is young: a run is about to be made from this one
        except FileNotFoundError:  # a clean took it at this very moment
            continue
        except OSError:  # of another user
            pass
        return target


class SharedCopies:
    """The copies of the jobs of one sweep or pipeline; jobs of the same modules and files share one, taken once."""

    def __init__(self) -> None:
        self._taken: dict[tuple[frozenset[Path], ...], str] = {}

    def take(self, config: dict[str, Any]) -> str:
        """Return the copy for a job, see `take`."""
        user = UserFiles(config)
        key = (frozenset(user.modules), frozenset(user.models), frozenset(user.named))
        if key not in self._taken:
            self._taken[key] = str(take(config))
        return self._taken[key]


def signature(config: dict[str, Any], code: str | None = None) -> str:
    """Return a hash of the content of this package and of the user's modules, models and named files.

    Args:
        config: resolved plain configuration.
        code: copy that the run works from; None for the code as it is now.
    """
    if code is None:
        return _digest(sources(config))
    known = files.read_json(Path(code) / MANIFEST)
    return str(known["signature"]) if known else _digest(copied(Path(code)))  # a copy of version 0.1 has none


def environment(code: str | None, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables with which a process imports from the copy `code`; none where there is no copy.

    Without PYTHONSAFEPATH `python -m` would look into the working directory first, which holds the edited files.

    Args:
        code: folder that `take` returned.
        inherited: other variables of the process; folders of its PYTHONPATH come after those of the copy.
    """
    if code is None:
        return {}
    paths = (files.read_json(Path(code) / MANIFEST) or {}).get("paths", [""])
    own = [os.path.normpath(os.path.join(code, path)) for path in paths]
    return {"PYTHONPATH": os.pathsep.join(filter(None, [*own, inherited.get("PYTHONPATH")])), "PYTHONSAFEPATH": "1"}


def originals(code: str) -> dict[Path, Path]:
    """Return folder of the copy -> folder of the user that it was copied from.

    Args:
        code: folder that `take` returned.
    """
    known = (files.read_json(Path(code) / MANIFEST) or {}).get("folders", {})
    return {Path(os.path.normpath(os.path.join(code, place))): Path(root) for place, root in known.items()}


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
    """Return (name below the copy, file) of all code that decides the result of the run, in a fixed order.

    Args:
        config: resolved plain configuration.
    """
    return _signed(UserFiles(config))


def copied(code: Path) -> list[tuple[str, Path]]:
    """Return (name below it, file) of a copy, in the order of `sources`.

    Args:
        code: folder that `take` returned.
    """
    return sorted((str(file.relative_to(code)), file) for file in _files(code))


def content(path: Path) -> str:
    """Return the SHA-256 of a file, cached by path, size and modification time.

    Args:
        path: a file.
    """
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size)
    if key not in _contents:
        _contents[key] = files.sha256(path)
    return _contents[key]


_contents: dict[tuple[str, int, int], str] = {}


def _signed(user: UserFiles) -> list[tuple[str, Path]]:
    return sorted([*_own_files(), *user.signed()])


def _digest(rows: list[tuple[str, Path]]) -> str:
    """Return a hash of names and contents."""
    digest = hashlib.sha256()
    for name, path in rows:
        digest.update(f"{name}\0{content(path)}\0".encode())
    return digest.hexdigest()[:LENGTH]


def _own_files() -> Iterator[tuple[str, Path]]:
    """Yield (name below the copy, file) of Regimen itself."""
    for root in (PACKAGE, PACKAGE.parent / "hydra_plugins"):
        yield from ((str(file.relative_to(root.parent)), file) for file in _files(root))


def _files(root: Path) -> Iterator[Path]:
    """Yield the files of a package without what was compiled, and of Regimen without its data."""
    for folder, names, found in os.walk(root):
        skipped = ("__pycache__", *(DATA_FOLDERS if folder == str(PACKAGE) else ()))
        names[:] = [n for n in names if n not in skipped and not n.startswith(".")]
        yield from (Path(folder) / f for f in found if not f.startswith(".") and not f.endswith(".pyc"))


def _places(user: UserFiles) -> dict[Path, str]:
    """Return folder of the user -> place in the copy: the first one with modules in it at the top, others below.

    A folder from which a model is named that lies outside has a place with room for the model beside it.
    """
    places: dict[Path, str] = {}
    for number, root in enumerate(user.roots):
        common = Path(os.path.commonpath([root, *user.outside]))
        on_path = any(module.parent == root for module in user.modules)
        clashes = any((root / name).exists() for name in (PACKAGE.name, "hydra_plugins"))
        at_top = on_path and not clashes and "" not in places.values() and common == root
        places[root] = "" if at_top else os.path.normpath(f"{common.name}.{number}/{root.relative_to(common)}")
    return places


def _models_outside(user: UserFiles, places: dict[Path, str]) -> Iterator[tuple[str, Path]]:
    """Yield (name below the copy, file) of models outside of the folders, as they lie relative to each folder."""
    for root, place in places.items():
        for path in user.outside:
            yield os.path.normpath(os.path.join(place, os.path.relpath(path, root))), path


def _import_paths(user: UserFiles, places: dict[Path, str]) -> list[str]:
    """Return the folders below a copy from which a process imports, in the order of `sys.path`."""
    order = [os.path.realpath(path) for path in sys.path]
    folders = {str(module.parent) for module in user.modules}
    known = sorted(folders, key=lambda folder: (order.index(folder) if folder in order else len(order), folder))
    return list(dict.fromkeys(["", *(_place(Path(folder), places) or "" for folder in known)]))


def _place(path: Path, places: dict[Path, str]) -> str | None:
    """Return where the copy has a file or folder of the user, None if it lies in none of the copied folders."""
    for root, place in places.items():
        if path.is_relative_to(root):
            return os.path.normpath(os.path.join(place, path.relative_to(root)))
    return None


def _relinked(links: dict[str, Path], places: dict[Path, str]) -> dict[str, tuple[str, str | None]]:
    """Return name -> (original that a link leads to, its place in the copy)."""
    return {name: (str(path), _place(path, places)) for name, path in links.items()}


def _copy(
    copies: dict[str, Path], links: dict[str, tuple[str, str | None]], manifest: dict[str, Any], target: Path
) -> None:
    """Copy under another name first, so that a copy is whole or absent; two processes may do so at once."""
    part, half = (target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(2)}") for _ in range(2))
    for name, path in copies.items():
        place = part / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    for name, (original, inside) in links.items():
        place = part / name
        place.parent.mkdir(parents=True, exist_ok=True)
        is_copied = inside not in (None, name) and (part / str(inside)).exists()
        place.symlink_to(os.path.relpath(part / str(inside), place.parent) if is_copied else original)
    files.write_json(part / MANIFEST, manifest)
    if not (target / MANIFEST).is_file():
        with suppress(FileNotFoundError):
            target.rename(half)
    try:
        part.rename(target)
    except OSError:
        if not target.exists():
            raise
    finally:  # of two processes, the second removes its own
        for rest in (part, half):
            shutil.rmtree(rest, ignore_errors=True)


def _say_once(line: str) -> None:
    if line not in _said:
        _said.add(line)
        say(line)


_said: set[str] = set()
