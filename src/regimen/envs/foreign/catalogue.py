"""Tasks of a library and their configurations for the launcher: read once by a process, cached by version.

Nothing here imports torch or the library. Its reader makes the documents in the interpreter that has it; they are kept
in its cache, by the versions installed there.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen.config.yaml_io import PlainSection
from regimen.envs.foreign.installed import versions
from regimen.envs.foreign.library import Library
from regimen.system.errors import ConfigError, PreflightError, did_you_mean

READ_S = 300.0
"""Time limit of a process that reads configurations: the first import of a library takes a minute on a slow disk."""

KINDS = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "list": (list,),
    "tuple": (list,),
    "dict": (dict,),
    "callable": (str,),
}
"""Kind of a leaf -> types of YAML values that it takes."""

NOUNS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "callable": "a function as module:name",
}

Node = dict[str, Any]


@dataclass
class TaskDescription:
    """A task's configuration.

    Attributes:
        library: whose task it is.
        kind: `manager`, `direct`, or another that Regimen does not open.
        presets: name -> paths of the configuration that it changes.
        tree: see `regimen.envs.foreign.description`.
        assets: files below an asset root that its scene is made of.
    """

    library: Library
    kind: str
    presets: dict[str, list[str]]
    tree: Node
    assets: list[str] = field(default_factory=list)

    def names(self, section: str) -> list[str]:
        """Return the names in a section, such as the terms of `events`; none if it does not have the section."""
        return list(self.tree["f"].get(section, {}).get("f", {}))

    def value(self, path: str, settings: PlainSection) -> Any:
        """Return the value of a leaf by the settings, else the task's own; None where it is switched off or absent.

        Args:
            path: such as `sim.dt`.
            settings: such as `env.isaac`, plain.
        """
        node, given = self.tree, settings
        for name in path.split("."):
            node = node.get("f", {}).get(name, {})
            given = given.get(name, {}) if isinstance(given, dict) else {}
            if given is None:
                return None
        return node.get("v") if given == {} else given

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the path and the value of each leaf of the configuration, as texts."""
        yield from _rows(self.tree, f"env.{self.library.settings}")

    def preset_problems(self, presets: Sequence[str]) -> Iterator[str]:
        """Yield a line for each preset that the task does not have."""
        for name in presets:
            if name not in self.presets:
                yield f"presets={name}: the task has no such preset. {did_you_mean(name, self.presets)}"

    def problems(self, settings: PlainSection) -> Iterator[str]:
        """Yield a line for each setting that the configuration does not have, or that has a wrong type.

        Args:
            settings: such as `env.isaac`, plain.
        """
        yield from self._problems(settings, self.tree, ())

    def _problems(self, settings: Any, node: Node, path: tuple[str, ...]) -> Iterator[str]:
        key = ".".join((self.library.settings, *path))
        if settings is None:
            if not node["n"]:
                yield f"{key}=null: it cannot be null."
        elif "f" not in node:
            yield from _leaf_problems(key, settings, node)
        elif not isinstance(settings, dict):
            inside = ", ".join(f"env.{key}.{name}" for name in list(node["f"])[:4])
            yield f"{key}={settings}: it holds keys ({inside}, …): set one of them, or null."
        else:
            for name, value in settings.items():
                yield from self._child_problems(str(name), value, node, path)

    def _child_problems(self, name: str, value: Any, node: Node, path: tuple[str, ...]) -> Iterator[str]:
        full, key = ".".join((*path, name)), ".".join((self.library.settings, *path, name))
        if full in self.library.elsewhere:
            yield f"{key}={value}: Regimen sets it{_instead(self.library.elsewhere[full])}."
        elif name in node["f"]:
            yield from self._problems(value, node["f"][name], (*path, name))
        elif node.get("open") is True or (isinstance(node.get("open"), list) and name in node["open"]):
            return
        else:
            known = [*node["f"], *(node["open"] if isinstance(node.get("open"), list) else ())]
            where = ".".join(("env", self.library.settings, *path))
            yield f"{key}={value}: there is no `{name}` in {where}. {self._nearest(name, known)}"

    def _nearest(self, name: str, known: list[str]) -> str:
        """Return the nearest name in the section, or the path of the same name elsewhere."""
        if not difflib.get_close_matches(name, known, n=1, cutoff=0.75):
            for path in paths_of(self.tree, name):
                return f"Did you mean `env.{self.library.settings}.{path}`?"
        return did_you_mean(name, known)


def _rows(node: Node, path: str) -> Iterator[tuple[str, str]]:
    for name, below in node["f"].items():
        if "f" in below:
            yield from _rows(below, f"{path}.{name}")
        else:
            yield f"{path}.{name}", "null" if below.get("v") is None else str(below["v"])


def _instead(key: str | None) -> str:
    """Return what to type for a field that Regimen sets: its key with a value, or the whole argument."""
    if key is None:
        return ""
    return f": type {key}" if "=" in key else f": type {key}=…"


def paths_of(tree: Node, name: str, above: str = "") -> Iterator[str]:
    """Yield the dotted paths of all fields with a name, outermost first."""
    fields = tree.get("f", {})
    if name in fields:
        yield f"{above}{name}"
    for key, node in fields.items():
        yield from paths_of(node, name, f"{above}{key}.")


def _leaf_problems(key: str, value: Any, node: Node) -> Iterator[str]:
    kinds = node["k"]
    if "any" in kinds:
        return
    taken = [t for kind in kinds for t in KINDS[kind]]
    fits = any(type(value) is kind for kind in taken)
    if fits and kinds == ["callable"] and ":" not in str(value):
        fits = False
    if not fits:
        now = "" if node.get("v") is None else f" It is {node['v']}."
        yield f"{key}={value}: expected {' or '.join(dict.fromkeys(NOUNS[k] for k in kinds))}.{now}"
    elif node.get("o") and isinstance(value, str) and value not in node["o"]:
        yield f"{key}={value}: expected one of {', '.join(node['o'])}. {did_you_mean(value, node['o'])}"
    elif "tuple" in kinds and isinstance(value, list) and len(value) != len(node.get("v") or value):
        yield f"{key}={value}: expected {len(node['v'])} values, as in {node['v']}."


class Catalogue:
    """The tasks of the library in an interpreter."""

    def __init__(self, library: Library, python: str, folder: Path | None = None) -> None:
        """Take an interpreter.

        Args:
            library: the library.
            python: path of the interpreter.
            folder: where documents are kept; by default in the library's cache.
        """
        self.library, self.python = library, python
        self.folder = folder or library.cache.expanduser() / "catalogue" / _key(library, python)

    def tasks(self) -> dict[str, Any]:
        """Return id -> `entry_point`, `agents` and, of a task with another name now, `deprecated`.

        Raises:
            PreflightError: the interpreter does not have the library, or it cannot be imported.
        """
        return dict(self._document("index", ["index"])["tasks"])

    def description(self, task: str, presets: Sequence[str] = ()) -> TaskDescription:
        """Return the configuration of a task.

        Args:
            task: its id; `module:Id` of a user's module is read each time.
            presets: chosen presets.

        Raises:
            ConfigError: there is no such task, or its configuration cannot be made; with the nearest id.
            PreflightError: see `tasks`.
        """
        if ":" not in task and task not in (known := self.tasks()):
            raise ConfigError(f"{self.library.title} has no such task. {did_you_mean(task, known)}")
        name = f"{task}{''.join(f'+{preset}' for preset in sorted(presets))}"
        data = self._document(name, ["config", task, *presets], kept=":" not in task)
        if "error" in data:
            raise ConfigError(f"its configuration cannot be made: {data['error']}")
        return TaskDescription(self.library, data["kind"], data["presets"], data["tree"], data["assets"])

    def agent(self, task: str, library: str) -> PlainSection:
        """Return a task's settings for an agent of a library, in its keys.

        Args:
            task: its id.
            library: such as `rsl_rl`.

        Raises:
            ConfigError: the task has none.
            PreflightError: see `tasks`.
        """
        offered = self.tasks().get(task, {"agents": [library]})["agents"]
        if library not in offered:
            raise ConfigError(f"{task} has no settings for {library}; it has those for {', '.join(offered) or 'none'}.")
        data = self._document(f"{task}@{library}", ["agent", task, library], kept=":" not in task)
        if "error" in data:
            raise ConfigError(f"its settings for {library} cannot be made: {data['error']}")
        return dict(data["settings"])

    def _document(self, name: str, arguments: list[str], kept: bool = True) -> Any:
        path = self.folder / f"{name}.json"
        if kept and path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        data = _read(self.library, self.python, arguments)
        if kept and "error" not in data:
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps(data), encoding="utf-8")
            unfinished.replace(path)
        return data


def _read(library: Library, python: str, arguments: list[str]) -> Any:
    """Return the document that a library's reader writes.

    Raises:
        PreflightError: see `Catalogue.tasks`.
    """
    source = str(Path(__file__).resolve().parents[3])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))}
    command = [python, "-W", "ignore", "-m", library.reader, *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=READ_S, check=False, env=env, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PreflightError(f"the tasks of {library.title} cannot be read: {error}") from error
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f"exit {done.returncode}")
        raise PreflightError(f"{library.title} cannot be imported in {python}: {last}")
    return json.loads(done.stdout)


def _key(library: Library, python: str) -> str:
    """Return a name for the versions in an interpreter: their hash."""
    found = {name: version for name, version in versions(python, library.versions).items() if version}
    text = json.dumps([os.path.abspath(python), found], sort_keys=True)
    return f"{found.get(library.versions[0], 'none')}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
