"""Describe a configuration made of dataclasses as a tree of plain data, in the interpreter of its library.

A node is a dictionary with `f`, its fields by name; a leaf has `k`, the kinds of values that it takes, `v`, its value,
and `o`, its choices, where only some values are possible. Both have `n`: whether null is a value.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
import json
import os
import re
import sys
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PLAIN = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "tuple": tuple, "dict": dict}
ALIASES = {"Sequence": "list", "Literal": "str", "Callable": "callable", "Any": "any", "object": "any"}
WORDS = re.compile(r"[A-Za-z_]+")
AXES = ("x", "y", "z", "roll", "pitch", "yaw")
"""Keys of a range of poses or velocities."""

DEPTH = 12

Node = dict[str, Any]


def answer(argv: list[str], index: Callable[[], Node], config: Callable[..., Node], agent: Callable[..., Node]) -> int:
    """Write one JSON document to the file descriptor of the original stdout; what a library prints goes to stderr.

    Args:
        argv: `index`, `config <id> [<preset> ...]` or `agent <id> <library>`.
        index: returns id -> `entry_point` and `agents` of all tasks.
        config: id and list of presets -> `kind`, `presets`, `tree` and `assets` of a task.
        agent: id and library -> `settings` of the agent. An exception of the last two is returned as `error`.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with contextlib.redirect_stdout(sys.stderr):
        match argv[0]:
            case "index":
                document = index()
            case "config":
                document = _or_error(config, argv[1], argv[2:])
            case _:
                document = _or_error(agent, argv[1], argv[2])
    json.dump(document, out)
    out.close()
    return 0


def _or_error(make: Callable[..., Node], *arguments: Any) -> Node:
    try:
        return make(*arguments)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def without_null(value: Any) -> Any:
    """Return a nested value as plain data without what is null or was never set."""
    if isinstance(value, Mapping):
        named = ((str(k), v) for k, v in value.items())
        return {k: without_null(v) for k, v in named if v is not None and type(v).__name__ != "_MISSING_TYPE"}
    if isinstance(value, list | tuple):
        return [without_null(v) for v in value]
    return _plain(value)


def describe(value: Any, annotation: str = "", nullable: bool = False, depth: int = 0) -> Node:
    """Return the tree of a value.

    Args:
        value: a configuration, a container or a plain value.
        annotation: text of the type that its owner declares.
        nullable: whether null is a value, whatever the annotation.
        depth: number of owners.
    """
    nullable = nullable or value is None or "None" in annotation or "Optional" in annotation
    if depth > DEPTH:
        return {"k": ["any"], "n": True}
    if _is_cfg(value):
        return {"c": type(value).__name__, "n": nullable, "f": dict(_fields(value, depth))}
    if isinstance(value, Mapping):
        fields = {str(k): _member(v, "", v is None, depth) for k, v in value.items()}
        return {"n": nullable, "f": fields, "open": _takes_more(fields, annotation)}
    if isinstance(value, list | tuple) and any(_is_cfg(v) for v in value):
        return {"n": nullable, "f": {str(i): describe(v, "", False, depth + 1) for i, v in enumerate(value)}}
    leaf = {"k": _kinds(value, annotation), "v": _plain(value), "n": nullable}
    return leaf | ({"o": options} if (options := _choices(value, annotation)) else {})


def _is_cfg(value: Any) -> bool:
    return hasattr(value, "__dataclass_fields__") and not isinstance(value, type)


def _fields(cfg: Any, depth: int) -> Iterator[tuple[str, Node]]:
    """Yield name and tree of the fields of a configuration; each member of a scene may be null, and each term."""
    kinds = [base.__name__ for base in type(cfg).__mro__]
    annotations: dict[str, Any] = {}
    for base in reversed(type(cfg).__mro__):
        annotations |= inspect.get_annotations(base)
    for name, value in vars(cfg).items():
        if name.startswith("_"):
            continue
        annotation = annotations.get(name, "")
        text = annotation if isinstance(annotation, str) else _text(annotation)
        yield name, _member(value, text, "InteractiveSceneCfg" in kinds and _is_cfg(value), depth)


def _member(value: Any, annotation: str, nullable: bool, depth: int) -> Node:
    """Return the tree of a field or of an item of a dictionary; a term may be null, and has its parameters."""
    term = any(base.__name__ in TERMS for base in type(value).__mro__)
    tree = describe(value, annotation, term or nullable, depth + 1)
    if term and isinstance(getattr(value, "params", None), Mapping):
        _add_parameters(tree, value)
    return tree


TERMS = ("ManagerTermBaseCfg", "CommandTermCfg", "ActionTermCfg", "RecorderTermCfg", "ObservationGroupCfg")
"""Bases of the configurations of terms, which null switches off."""


def _text(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)


def _add_parameters(tree: Node, term: Any) -> None:
    """Add the parameters of a term's function that have a default and are not set."""
    func = term.func
    tree["f"]["params"]["open"] = False
    try:
        func = func._resolve() if type(func).__name__ == "ResolvableString" else func
        called = func.__call__ if inspect.isclass(func) else func
        signature = inspect.signature(called)
    except Exception:  # without a signature only the parameters that are set are known
        tree["f"]["params"]["open"] = True
        return
    fields = tree["f"]["params"]["f"]
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            tree["f"]["params"]["open"] = True
        elif name not in fields and parameter.default is not parameter.empty:
            text = "" if parameter.annotation is parameter.empty else str(parameter.annotation)
            fields[name] = describe(parameter.default, text, False, DEPTH)


def _takes_more(fields: dict[str, Node], annotation: str) -> bool | list[str]:
    """Return whether a dictionary takes other keys than it has, or a list of all keys that it takes."""
    if fields and set(fields) <= set(AXES):
        return list(AXES)
    if not fields and "Cfg" in annotation:
        return False
    return not any("f" in node for node in fields.values())


def _kinds(value: Any, annotation: str) -> list[str]:
    """Return the kinds of values that a leaf takes: those of its annotation, else that of its value."""
    text = annotation if isinstance(annotation, str) else str(annotation)
    words = [ALIASES.get(w, w) for w in WORDS.findall(re.sub(r"\[.*\]", "", text))]
    kinds = [w for w in words if w in PLAIN or w in ("callable", "any")]
    if type(value).__name__ == "ResolvableString" or callable(value):
        return ["callable"]
    if isinstance(value, enum.Enum):
        return ["str"]
    own = next((name for name, kind in PLAIN.items() if type(value) is kind), None)
    if own and own not in kinds and not (own == "int" and "float" in kinds):
        kinds.append(own)
    if "tuple" in kinds and _any_length(value, text):
        kinds = ["list" if kind == "tuple" else kind for kind in kinds]
    return list(dict.fromkeys(kinds)) or ["any"]


def _any_length(value: Any, text: str) -> bool:
    """Return whether a tuple may have another length: by its annotation, or as a tuple of names without one."""
    if "tuple" in text or "Tuple" in text:
        return "..." in text
    return bool(value) and all(isinstance(v, str) for v in value)


def _choices(value: Any, annotation: str) -> list[str]:
    """Return the texts that a leaf takes, where its annotation or its value is one of several; else nothing."""
    if isinstance(value, enum.Enum):
        return [member.name for member in type(value)]
    found = re.fullmatch(r"(?:typing\.)?(?:Optional\[)?Literal\[([^\[\]]*)\]\]?(?: \| None)?", annotation)
    texts = re.findall(r"""['"]([^'"]*)['"]""", found[1]) if found else []
    return texts if found and len(texts) == found[1].count(",") + 1 else []


def _plain(value: Any) -> Any:
    """Return a value for JSON; of one that JSON has not, its text."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    return repr(value)[:200]
