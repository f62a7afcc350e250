"""Provenance of configuration values: the file or argument that set each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from regimen.config.hydra_adapter import text_override
from regimen.config.yaml_io import PlainConfig, as_written, element, key_lines, read_text


@dataclass(frozen=True)
class ValueSource:
    """Source of a value.

    Attributes:
        kind: `schema` (default of a dataclass), `base` (config.yaml or a group option), `experiment` or `argument`.
        label: the argument as typed, or the file's name as shown to the user.
        file: the YAML file, if it is one.
        package: key under which the file's content stands, empty for the top level.
    """

    kind: str
    label: str
    file: Path | None = None
    package: str = ""

    def location(self, path: str) -> str:
        """Return the label, with the line on which the file sets `path` if there is one."""
        if self.file is None:
            return f"argument `{self.label}`" if self.kind == "argument" else self.label
        keys = path.split(".")[len(self.package.split(".")) if self.package else 0 :]
        line = _line_of(self.file, keys)
        return f"{self.label}:{line}" if line else self.label

    def written(self, path: str) -> Any:
        """Return what sets `path`, every leaf as the text that was written; None if nothing does."""
        if self.kind == "argument":
            override = text_override(self.label)
            node, above = override.value(), override.key_or_group
        elif self.file is not None:
            node, above = as_written(read_text(self.file)), self.package
        else:
            return None
        return element(node, path.split(".")[len(above.split(".")) if above else 0 :])


CHANGES = ("experiment", "argument")
"""Kinds of sources that change defaults."""

SCHEMA = ValueSource("schema", "default of its type")


ABSENT = object()
"""Default of a key that no type and no base file has."""

REMOVED = object()
"""Value in the history of a key that an argument removes."""


@dataclass
class ProvenanceTree:
    """Nested values merged layer by layer, with the history of (source, value) of each path.

    Attributes:
        data: the values.
        history: dotted path -> its sources and values, the last one last.
        defaults: path that an experiment or an argument sets -> value before, or `ABSENT`.
    """

    data: PlainConfig = field(default_factory=dict)
    history: dict[str, list[tuple[ValueSource, Any]]] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> ProvenanceTree:
        """Return a copy that can be changed independently."""
        history = {path: list(notes) for path, notes in self.history.items()}
        return ProvenanceTree(_copied(self.data), history, dict(self.defaults))

    def merge(self, data: dict[Any, Any], source: ValueSource, path: tuple[str, ...] = ()) -> None:
        """Merge `data` into the tree: mappings are merged, other values replaced."""
        for key, value in data.items():
            self.assign((*path, str(key)), value, source)

    def assign(self, path: tuple[str, ...], value: Any, source: ValueSource) -> None:
        """Set one path, given as keys because a key may hold dots; a mapping is merged into a mapping."""
        if source.kind in CHANGES and not isinstance(value, dict):
            self._keep_default(path)
        node: Any = self.data
        for depth, key in enumerate(path[:-1]):
            below = element(node, [key])
            if not isinstance(below, (dict, list)):
                below = {}
                self._note(path[: depth + 1], below, source)
                _put(node, key, below)
            node = below
        if isinstance(value, dict):
            if not isinstance(element(node, path[-1:]), dict):
                if source.kind in CHANGES:
                    self._keep_default(path)
                _put(node, path[-1], {})
                self._note(path, {}, source)
            self.merge(value, source, path)
        else:
            _put(node, path[-1], value)
            self._note(path, value, source)

    def remove(self, path: str, source: ValueSource) -> bool:
        """Delete a dotted path, with the history of what is below it; return whether it existed.

        Args:
            path: of a key of a mapping.
            source: what removes it.
        """
        keys = path.split(".")
        node = element(self.data, keys[:-1])
        if not isinstance(node, dict) or keys[-1] not in node:
            return False
        if source.kind in CHANGES:
            self._keep_default(tuple(keys))
        for notes in (self.history, self.defaults):
            for below in [p for p in notes if p.startswith(path + ".")]:
                del notes[below]
        self.history.pop(path, None)
        del node[keys[-1]]
        self._note(tuple(keys), REMOVED, source)
        return True

    def has(self, path: str) -> bool:
        """Whether a dotted path exists, null included."""
        above, _, last = path.rpartition(".")
        node = self.get(above) if above else self.data
        return last in node if isinstance(node, dict) else element(node, [last]) is not None

    def get(self, path: str) -> Any:
        """Return the value at a path, None if it does not exist."""
        return element(self.data, path.split("."))

    def was_set(self, path: str) -> bool:
        """Whether a value other than null was ever set at the path."""
        return any(value is not None for _, value in self.history.get(path, []))

    def source_of(self, path: str) -> ValueSource:
        """Return the last source of the path itself, else of a path below it, else of the nearest path above."""
        if path in self.history:
            return self.history[path][-1][0]
        below = [h[-1][0] for p, h in self.history.items() if p.startswith(path + ".")]
        if below:
            return below[-1]
        return self.source_of(path.rpartition(".")[0]) if "." in path else SCHEMA

    def keep_text(self, path: str) -> None:
        """Replace a number or a boolean by the text that was written for it, such as 12e5 or True.

        Args:
            path: dotted path of a leaf whose type is text; an element of a list by its number.
        """
        noted = next((p for p in _prefixes(path) if p in self.history), None)
        if noted is None or isinstance(self.get(path), str):
            return
        source = self.history[noted][-1][0]
        text = source.written(path)
        if isinstance(text, str):
            *above, last = path.split(".")
            _put(element(self.data, above), last, text)
            self.history[noted][-1] = source, self.get(noted)

    def changed(self) -> Iterator[tuple[str, Any, ValueSource, Any]]:
        """Yield (path, value, source, default or `ABSENT`) for each leaf set by an experiment or an argument.

        The value of a key that an argument removes is `REMOVED`.
        """
        for path, notes in self.history.items():
            source, value = notes[-1]
            if source.kind in CHANGES and not isinstance(value, dict):
                default = self.defaults.get(path, ABSENT)
                if default != value and (default, value) != (ABSENT, REMOVED):
                    yield path, value, source, default

    def _keep_default(self, keys: tuple[str, ...]) -> None:
        """Keep the value of a path before the first experiment or argument sets it."""
        path = ".".join(keys)
        if path in self.defaults:
            return
        above = next((n for n in range(len(keys) - 1, 0, -1) if ".".join(keys[:n]) in self.defaults), 0)
        node = self.defaults[".".join(keys[:above])] if above else self.data
        for key in keys[above:]:
            if isinstance(node, list):
                node = node[int(key)] if key.isdigit() and int(key) < len(node) else ABSENT
            elif isinstance(node, dict):
                node = node.get(key, ABSENT)
        node = _copied(node)
        for below in [p for p in self.defaults if p.startswith(path + ".")]:
            *parents, last = below[len(path) + 1 :].split(".")
            _restore(element(node, parents), last, self.defaults[below])
        self.defaults[path] = node

    def _note(self, path: tuple[str, ...], value: Any, source: ValueSource) -> None:
        self.history.setdefault(".".join(path), []).append((source, value))


def _copied(node: Any) -> Any:
    """Return copies of nested mappings and lists; their leaves are never changed in place."""
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    return [_copied(value) for value in node] if isinstance(node, list) else node


def _put(node: Any, key: str, value: Any) -> None:
    if isinstance(node, list):
        if key.isdigit() and int(key) < len(node):
            node[int(key)] = value
    else:
        node[key] = value


def _restore(node: Any, key: str, default: Any) -> None:
    """Set one key of a mapping, or an element of a list, to its default; without a default the key is removed."""
    if isinstance(node, dict) and default is ABSENT:
        node.pop(key, None)
    elif isinstance(node, dict | list):
        _put(node, key, _copied(default))


def _line_of(file: Path, keys: list[str]) -> int | None:
    """Return the line, from 1, of the deepest of the nested `keys` that is in the file."""
    try:
        lines = key_lines(file)
    except (OSError, yaml.YAMLError):
        return None
    prefixes = (tuple(keys[:length]) for length in range(len(keys), 0, -1))
    return next((lines[prefix] for prefix in prefixes if prefix in lines), None)


def _prefixes(path: str) -> Iterator[str]:
    """Yield a dotted path and those above it, the nearest first."""
    while path:
        yield path
        path = path.rpartition(".")[0]
