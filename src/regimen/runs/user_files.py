"""The user's own code and data that a run may read: modules, models of robots, and the folders in which they lie.

Nothing but a module's name is known before the run, and a module may read any file near it. So the whole folder belongs
to a copy of the code, while the signature of the code counts the modules, the models, and the files that the
configuration names, wherever they lie; `files_read` records what else a run opens.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from regimen.config.targets import resolve
from regimen.runs.model_files import MODELS, model_files
from regimen.runs.record import FILE
from regimen.system.files import PACKAGE, repository_root

TARGET_KEYS = ("_target_", "func", "robot", "class_name")
"""Keys of a configuration whose value names a module: `pkg.mod.Class` or `pkg.mod:name`; others only the latter."""

COLON_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w./-]*")
"""Value of any key that names a module, such as `module:Name-v0` of Gymnasium."""

SECTIONS = ("env", "sim", "agent", "stage")
"""Sections of a configuration whose paths decide the result; inputs have their own checksums."""

CREDENTIALS = ("token", "certificate", "tls_certificate", "tls_key")
"""Keys in these sections whose files give access to a server, and change no result."""

PROJECT_FILES = (".git", "pyproject.toml", "setup.py")
"""Files that lie in the root of a project."""

OUTPUT_FOLDERS = ("outputs", "multirun", "mlruns", "wandb")
"""Folders in which runs and loggers write, below the root of a project or the current folder."""

MANIFEST = ".code.json"
"""File of a copy of the code: signature, import paths, and the original of each copied folder."""

SKIPPED_FOLDERS = ("__pycache__", "site-packages", "node_modules")

MAX_FILE_BYTES = 32 * 2**20
MAX_FOLDER_BYTES = 128 * 2**20
MAX_FILES = 5000
"""What is larger is not copied: the copy has a symbolic link to the original."""


NETWORK_FILE = "network_file"
"""Parameter of an actuator that names the file of a network."""


def without_inputs_of_task(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without the files of its task that are inputs, which have their own checksums.

    These are `env.low_level.policy` and the networks of `env.actuators`.
    """
    env = dict(config.get("env") or {})
    if (env.get("low_level") or {}).get("policy"):
        env["low_level"] = {**env["low_level"], "policy": None}
    if files_of_actuators(config):
        env["actuators"] = {name: _without_network(actuator) for name, actuator in env["actuators"].items()}
    return config if env == (config.get("env") or {}) else {**config, "env": env}


def files_of_actuators(config: dict[str, Any]) -> dict[str, str]:
    """Return key -> file of each network of an actuator.

    Args:
        config: resolved plain configuration.
    """
    actuators = (config.get("env") or {}).get("actuators") or {}
    return {
        f"env.actuators.{name}.params.{NETWORK_FILE}": str(actuator["params"][NETWORK_FILE])
        for name, actuator in actuators.items()
        if actuator and (actuator.get("params") or {}).get(NETWORK_FILE)
    }


def _without_network(actuator: dict[str, Any] | None) -> dict[str, Any] | None:
    if not actuator or not (actuator.get("params") or {}).get(NETWORK_FILE):
        return actuator
    return {**actuator, "params": {**actuator["params"], NETWORK_FILE: None}}


@dataclass
class Folder:
    """The content of a folder of the user, as it is copied.

    Attributes:
        root: the folder.
        files: path below it -> file to copy.
        links: path below it -> file or folder that the copy links to.
        left_out: path below it -> size in bytes of what is linked because it is too large.
    """

    root: Path
    files: dict[str, Path] = field(default_factory=dict)
    links: dict[str, Path] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


class UserFiles:
    """The files of the user that belong to the code of a run.

    Attributes:
        modules: files of top-level modules and folders of packages that the configuration names, not installed ones.
        roots: folders that are copied: the projects of these modules; none lies in another.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        """Args: config: resolved plain configuration."""
        self.config = config = without_inputs_of_task(config)
        names = {text.replace(":", ".").partition(".")[0] for text in _targets(config)} - {"regimen"}
        self.modules = sorted({path for name in names for path in _local(name)})
        self.roots = _outermost({_project(path.parent) for path in self.modules})

    @cached_property
    def models(self) -> set[Path]:
        """The models of the robots that the configuration names, and what they consist of."""
        found: set[Path] = set()
        for value in _values(self.config, "robot"):
            with suppress(Exception):  # a module that cannot be imported is an error of preflight
                found |= model_files(Path(resolve(value).mjcf).absolute())
        return {path for path in found if path.is_file() and not path.is_relative_to(PACKAGE)}

    @cached_property
    def outside(self) -> list[Path]:
        """The models that lie outside of the roots and of any installation."""
        models = {Path(os.path.realpath(path)) for path in self.models}
        found = (path for path in models if not any(path.is_relative_to(root) for root in self.roots))
        return sorted(path for path in found if not _is_installed(path))

    @cached_property
    def named(self) -> set[Path]:
        """The files that the configuration names by path, and what those of them that are models consist of."""
        texts = _texts([self.config.get(section) for section in SECTIONS], CREDENTIALS)
        return {path for text in texts if (file := _file(text)) is not None for path in model_files(file)}

    @cached_property
    def folders(self) -> list[Folder]:
        """The content of the roots."""
        near = {path for path in self.named if any(path.is_relative_to(root) for root in (*self.roots, Path.cwd()))}
        wanted = {path.resolve() for path in self.models | near}
        return [_Scan(root, self.roots, wanted).folder for root in self.roots]

    def signed(self) -> Iterator[tuple[str, Path]]:
        """Yield (name, file) of what the signature of the code counts."""
        counted = set(self.models | self.named)
        for folder in self.folders:
            beside = {path.parent for path in self.modules if path.is_relative_to(folder.root)}
            packages = {path for path in self.modules if path.is_dir()}
            packages |= {init.parent for place in beside for init in place.glob("*/__init__.py")}
            for file in folder.files.values():
                models = file.suffix.lower() in MODELS and any(file.is_relative_to(place) for place in beside)
                if models:
                    counted |= model_files(file)
                elif (file.suffix == ".py" and file.parent in beside) or any(
                    file.is_relative_to(package) for package in packages
                ):
                    counted.add(file)
        for file in counted:
            yield self.name_of(file), file

    def name_of(self, file: Path) -> str:
        """Return the path of a file below its root with the root's name, elsewhere its absolute path."""
        for root in self.roots:
            if file.is_relative_to(root):
                return str(file.relative_to(root))
        return str(file)


class _Scan:
    """Reads one folder of the user, and decides what of it is copied."""

    def __init__(self, root: Path, roots: list[Path], wanted: set[Path]) -> None:
        self.roots, self.wanted = roots, wanted
        self.holds_wanted = {parent for path in wanted for parent in path.parents}
        self.seen: set[Path] = set()
        self.folder = Folder(root)
        self._add(self._read(root))

    def _read(self, path: Path) -> _Part:
        """Return a folder with its content, the largest parts of which are links where it is too large."""
        self.seen.add(path.resolve())
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError:
            return _Part(path, link=True)
        if len(entries) > MAX_FILES and path != self.folder.root and path.resolve() not in self.holds_wanted:
            return _Part(path, link=True, bytes=sum(e.stat(follow_symlinks=False).st_size for e in entries))
        parts = [part for entry in entries if (part := self._entry(entry)) is not None]
        loose = [part for part in parts if not part.link and not self._is_wanted(part.path)]
        excess = sum(part.copied for part in parts) - MAX_FOLDER_BYTES
        for part in sorted(loose, key=lambda part: part.copied, reverse=True):
            if excess > 0:
                excess -= part.copied
                part.link = True
        excess = sum(part.entries for part in parts) - MAX_FILES
        for part in sorted(loose, key=lambda part: part.entries, reverse=True):
            if excess > 0 and part.entries > 1:
                excess -= part.entries - 1
                part.link = True
        return _Part(path, parts=parts, bytes=sum(p.copied for p in parts), files=sum(p.entries for p in parts))

    def _entry(self, entry: os.DirEntry[str]) -> _Part | None:
        path = Path(entry.path)
        if entry.is_symlink():
            return self._symlink(path)
        if entry.is_dir(follow_symlinks=False):
            return None if self._is_skipped(path) else self._read(path)
        if not entry.is_file(follow_symlinks=False) or entry.name.startswith(".") or path.suffix == ".pyc":
            return None
        return self._file(path)

    def _symlink(self, path: Path) -> _Part | None:
        """Return a link within the copied folders as a link, another one as what it leads to."""
        target = path.resolve()
        if path.name.startswith(".") or not target.exists():
            return None
        if any(target.is_relative_to(root) for root in self.roots):
            return _Part(path, link=True)
        if target.is_file():
            return self._file(path)
        return self._read(path) if target not in self.seen and not self._is_skipped(path) else _Part(path, link=True)

    def _file(self, path: Path) -> _Part:
        size = path.stat().st_size
        largest = MAX_FOLDER_BYTES if self._is_wanted(path) else MAX_FILE_BYTES
        return _Part(path, link=size > largest, bytes=size)

    def _is_wanted(self, path: Path) -> bool:
        """Whether a path is a file that the configuration or a model names, or a folder that holds one."""
        return bool(self.wanted) and path.resolve() in self.wanted | self.holds_wanted

    def _is_skipped(self, path: Path) -> bool:
        """Whether a folder holds no code and no data: environments, runs, what is hidden, and Regimen itself."""
        return (
            path.name.startswith(".")
            or path.name in SKIPPED_FOLDERS
            or path.resolve() in (PACKAGE, PACKAGE.parent / "hydra_plugins", repository_root())
            or (path.name in OUTPUT_FOLDERS and path.parent in (self.folder.root, Path.cwd()))
            or any((path / name).exists() for name in ("pyvenv.cfg", MANIFEST))
            or ((path / FILE).exists() and (path / "config.yaml").exists())
        )

    def _add(self, part: _Part) -> None:
        name = str(part.path.relative_to(self.folder.root))
        if part.link:
            self.folder.links[name] = part.path.resolve()
            if part.bytes:
                self.folder.left_out[name] = part.bytes
        elif part.parts is None:
            self.folder.files[name] = part.path
        else:
            for inner in part.parts:
                self._add(inner)


@dataclass(eq=False)
class _Part:
    """A file or folder of a `_Scan`.

    Attributes:
        path: where it is.
        parts: content of a folder.
        link: whether the copy has a symbolic link to it.
        bytes: size of the file, or of what is copied of the folder.
        files: number of files of a folder.
    """

    path: Path
    parts: list[_Part] | None = None
    link: bool = False
    bytes: int = 0
    files: int = 1

    @property
    def copied(self) -> int:
        """Bytes that are copied."""
        return 0 if self.link else self.bytes

    @property
    def entries(self) -> int:
        """Number of files and links in the copy."""
        return 1 if self.link else self.files


def _project(folder: Path) -> Path:
    """Return the project that a folder of modules belongs to: the outermost of it, its repository, the current folder.

    The home folder, what holds it, and Regimen's own checkout are no projects of the user.
    """
    candidates = [folder]
    candidates += [p for p in (folder, *folder.parents) if any((p / name).exists() for name in PROJECT_FILES)][:1]
    candidates += [here for here in [Path.cwd()] if folder.is_relative_to(here)]
    home = Path.home().resolve()
    fit = [p for p in candidates if p == folder or not (home.is_relative_to(p) or p == repository_root())]
    return min(fit, key=lambda path: len(path.parts))


def _outermost(folders: set[Path]) -> list[Path]:
    """Return the folders that lie in no other one, in order."""
    return [p for p in sorted(folders) if not any(p != other and p.is_relative_to(other) for other in folders)]


def _local(name: str) -> Iterator[Path]:
    """Yield the file or folder of a top-level module, and what it is a symbolic link to, unless it is installed."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
        if spec is None:
            return
        origin = Path(spec.origin or "")
        path = origin.parent if origin.name == "__init__.py" else origin
        if spec.origin is None and spec.submodule_search_locations:
            path = Path(next(iter(spec.submodule_search_locations)))
        if path.exists() and not _is_installed(path.resolve()):
            yield from dict.fromkeys((path.parent.resolve() / path.name, path.resolve()))


def _is_installed(path: Path) -> bool:
    places = [sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")]
    return any(path.is_relative_to(Path(place).resolve()) for place in places) or "site-packages" in path.parts


def _targets(config: dict[str, Any]) -> Iterator[str]:
    """Yield every text of a configuration that names a module's attribute."""
    for key in TARGET_KEYS:
        yield from (text for text in _values(config, key) if "." in text or ":" in text)
    yield from (text for text in _texts(config) if COLON_TARGET.fullmatch(text))


def _values(node: Any, key: str) -> Iterator[str]:
    """Yield the texts that are values of `key` anywhere in a configuration."""
    if isinstance(node, dict):
        if isinstance(node.get(key), str):
            yield node[key]
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _values(value, key)


def _texts(node: Any, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every text of a configuration, apart from the values of the keys `without`."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        values = (v for k, v in node.items() if k not in without) if isinstance(node, dict) else node
        for value in values:
            yield from _texts(value, without)


def _file(text: str) -> Path | None:
    """Return the file whose path a text is, with the home folder for `~`; None if it is no path of a file."""
    with suppress(OSError, ValueError, RuntimeError):  # RuntimeError: `~name` of an unknown user
        path = Path(text).expanduser()
        if ("/" in text or "." in text) and path.is_file():
            return path.absolute()
    return None
