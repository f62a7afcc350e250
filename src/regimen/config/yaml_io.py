"""Read YAML with the C parser if available: values, the line of each key, and values by dotted key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

PlainConfig = dict[str, Any]
"""A whole resolved configuration as YAML holds it; it is frozen to config.yaml and hashed."""

PlainSection = dict[str, Any]
"""A part of one, such as `env` or `env.rewards`."""

Keys = tuple[str, ...]
"""Nested keys, outermost first; elements of a list by their number."""


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file as plain data, None for an empty one.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: it is not valid YAML.
    """
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """Return YAML text as plain data.

    Raises:
        yaml.YAMLError: it is not valid YAML.
    """
    return yaml.load(text, Loader=LOADER)


def key_lines(path: Path) -> dict[Keys, int]:
    """Return the line of every key and every list element of a YAML file, counted from 1; of the whole file under `()`.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: it is not valid YAML.
    """
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    return {} if node is None else {(): node.start_mark.line + 1, **dict(_lines(node, ()))}


def _lines(node: yaml.Node, above: Keys) -> Iterator[tuple[Keys, int]]:
    if isinstance(node, yaml.MappingNode):
        below = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        below = [(str(number), value, value) for number, value in enumerate(node.value)]
    else:
        return
    for name, at, value in below:
        yield (*above, name), at.start_mark.line + 1
        yield from _lines(value, (*above, name))


def flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every leaf; lists of plain values are leaves.

    Args:
        node: nested dicts and lists.
        prefix: dotted key of `node` itself.
    """
    if isinstance(node, dict) and node:
        items = node.items()
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        items = dict(enumerate(node)).items()
    else:
        yield prefix, node
        return
    for key, value in items:
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
