"""Read and write YAML: values, the line and the text of each key, and values by dotted key."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from regimen.system.errors import ConfigErrors
from regimen.system.files import display_path

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # begins with that of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
"""First bytes of a text file -> its encoding; editors on Windows write them."""

MAX_DEPTH = 200
BRACKETS = re.compile(r"[\[\]{}]")
DEEP_LINE = re.compile(rf"^(?: {{{4 * MAX_DEPTH}}}|(?:[-?] +){{{MAX_DEPTH}}})", re.MULTILINE)
"""A line of block style that is indented or begun by so many lists."""

PlainConfig = dict[str, Any]
"""A whole resolved configuration as YAML holds it; it is frozen to config.yaml and hashed."""

PlainSection = dict[str, Any]
"""A part of one, such as `env` or `env.rewards`."""

Keys = tuple[str, ...]
"""Nested keys, outermost first; elements of a list by their number."""


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file that Regimen wrote as plain data, None for an empty one.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: it is not valid YAML.
    """
    return parse_yaml(path.read_text(encoding="utf-8"))


def read_text(path: Path) -> str:
    """Return the text of a YAML file, without byte order mark and with LF at the ends of lines.

    Args:
        path: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    Raises:
        ConfigErrors: it has another encoding; the message names the line.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
        start = data.find(b"\0") if encoding.startswith("utf-8") else -1
    except UnicodeDecodeError as error:
        text, start = "", error.start
    if start >= 0:
        line = len(re.findall(rb"\r\n|\r|\n", data[:start])) + 1
        what = f"the byte 0x{data[start]:02x} is no text in {encoding.removesuffix('-sig').upper()}"
        raise ConfigErrors([f"{display_path(path)}:{line}: {what}. Save the file with the encoding UTF-8."])
    return re.sub(r"\r\n?", "\n", text)


def parse_yaml(text: str, loader: Any = LOADER) -> Any:
    """Return YAML text as plain data.

    Args:
        text: one document.
        loader: class of PyYAML whose rules apply.

    Raises:
        yaml.YAMLError: it is not valid YAML.
    """
    _require_shallow(text)
    return yaml.load(text, Loader=loader)


def _require_shallow(text: str) -> None:
    """Raise for text that is nested so deeply that the C parser overflows its stack.

    Raises:
        yaml.YAMLError: it is.
    """
    depth = 0
    for bracket in BRACKETS.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} deep")
    if DEEP_LINE.search(text):
        raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} deep")


def key_lines(path: Path) -> dict[Keys, int]:
    """Return the line of every key and every list element of a YAML file, counted from 1; of the whole file under `()`.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: it is not valid YAML.
    """
    node = yaml.compose(read_text(path), Loader=yaml.SafeLoader)
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


def as_written(text: str) -> Any:
    """Return YAML text as nested mappings and lists whose leaves are the text in the file: `1e3`, not 1000.0.

    Raises:
        yaml.YAMLError: it is not valid YAML.
    """
    return _written(yaml.compose(text, Loader=LOADER))


def parse_exactly(text: str, loader: Any = LOADER) -> Any:
    """Return YAML text as plain data, in which a number that Python writes differently is its text: 2026_11, 1e-4.

    Args:
        text: one document.
        loader: class of PyYAML.

    Raises:
        yaml.YAMLError: it is not valid YAML.
    """
    return _exact(parse_yaml(text, loader), as_written(text))


def _exact(value: Any, written: Any) -> Any:
    if isinstance(value, dict) and isinstance(written, dict):
        return {key: _exact(below, written.get(str(key))) for key, below in value.items()}
    if isinstance(value, list) and isinstance(written, list):
        return [_exact(below, text) for below, text in zip(value, written, strict=True)]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return written if is_number and isinstance(written, str) and str(value) != written else value


def _written(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        merged = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
        parts = [
            part for value in merged for part in (value.value if isinstance(value, yaml.SequenceNode) else [value])
        ]
        above = {key: text for part in reversed(parts) for key, text in _written(part).items()}
        return above | {str(key.value): _written(value) for key, value in node.value if value not in merged}
    if isinstance(node, yaml.SequenceNode):
        return [_written(value) for value in node.value]
    return node.value if isinstance(node, yaml.ScalarNode) else None


def element(node: Any, keys: Sequence[str]) -> Any:
    """Return the part of nested mappings and lists under `keys`, None if there is none."""
    for key in keys:
        if isinstance(node, list):
            node = node[int(key)] if key.isdigit() and int(key) < len(node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else None
    return node


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes text that OmegaConf reads as a number although YAML 1.1 does not, such as 12e5."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9_]+(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def as_yaml(data: Any) -> str:
    """Return plain data as YAML, keys in their order; YAML and OmegaConf read the same values back."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
