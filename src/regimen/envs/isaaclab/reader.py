"""Describe Isaac Lab's tasks as JSON, in the interpreter that has Isaac Lab: `python -m regimen.envs.isaaclab.reader`.

A configuration becomes a tree. A node is a dictionary with `f`, its fields by name; a leaf has `k`, the kinds of values
that it takes, and `v`, its value. Both have `n`: whether null is a value.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import sys
import traceback
import typing
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

PLACEHOLDER = "/ISAACSIM_ASSET_ROOT"
"""Asset root while configurations are read, so that the tree does not depend on this machine's."""

PLAIN = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "tuple": tuple, "dict": dict}
ALIASES = {"Sequence": "list", "Literal": "str", "Callable": "callable", "Any": "any", "object": "any"}
WORDS = re.compile(r"[A-Za-z_]+")
AXES = ("x", "y", "z", "roll", "pitch", "yaw")
"""Keys of a range of poses or velocities."""

DEPTH = 12

Node = dict[str, Any]


def main(argv: list[str]) -> int:
    """Write one JSON document to the file descriptor of the original stdout.

    Args:
        argv: `index`, `config <id> [<preset> ...]` or `agent <id> <library>`.
    """
    os.environ["ISAACSIM_ASSET_ROOT"] = PLACEHOLDER
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Isaac Lab prints
    with contextlib.redirect_stdout(sys.stderr):
        match argv[0]:
            case "index":
                answer = index()
            case "config":
                answer = configuration(argv[1], argv[2:])
            case _:
                answer = agent(argv[1], argv[2])
    json.dump(answer, out)
    out.close()
    return 0


def index() -> Node:
    """Return id -> kind and agent configurations of all tasks, and the versions they are from."""
    from regimen.envs.isaaclab.task_cfg import AGENT_CFG, ENV_CFG, registered

    tasks = {}
    for name, spec in sorted(registered().items()):
        agents = sorted(k.removesuffix(AGENT_CFG) for k in spec.kwargs if k.endswith(AGENT_CFG) and k != ENV_CFG)
        tasks[name] = {"entry_point": str(spec.entry_point), "agents": agents}
        if spec.kwargs.get("deprecated"):
            tasks[name]["deprecated"] = str(spec.kwargs["deprecated"].get("alias", ""))
    return {"isaaclab": metadata.version("isaaclab"), "tasks": tasks}


def configuration(task: str, presets: list[str]) -> Node:
    """Return the tree of a task's configuration, its presets, and the files that its scene needs.

    A configuration that cannot be made, for example because a package is missing, is returned as `error`.
    """
    from regimen.envs.isaaclab.task_cfg import ENV_CFG, load_cfg, registered

    try:
        registered(task)
        from isaaclab_tasks.utils.hydra import collect_presets
        from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

        offered: dict[str, list[str]] = {}
        for path, names in collect_presets(load_cfg_from_registry(task.rpartition(":")[2], ENV_CFG)).items():
            for name in names:
                offered.setdefault(name, []).append(path)
        cfg = load_cfg(task, presets)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    tree = describe(cfg)
    return {
        "presets": {name: sorted(set(paths)) for name, paths in sorted(offered.items()) if name != "default"},
        "kind": kind_of(cfg),
        "tree": tree,
        "assets": sorted(set(_assets(tree))),
    }


def agent(task: str, library: str) -> Node:
    """Return the settings of a task for a library's agent, without those that are null; else `error`."""
    from regimen.envs.isaaclab.task_cfg import AGENT_CFG, registered

    try:
        registered(task)
        from isaaclab_tasks.utils.hydra import resolve_presets
        from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

        cfg = load_cfg_from_registry(task.rpartition(":")[2], f"{library}{AGENT_CFG}")
        if library == "rsl_rl":
            from isaaclab_rl.rsl_rl import handle_deprecated_rsl_rl_cfg

            cfg = handle_deprecated_rsl_rl_cfg(resolve_presets(cfg), metadata.version("rsl-rl-lib"))
        plain = cfg if isinstance(cfg, dict) else cfg.to_dict()
        return {"settings": _without_null(plain)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        named = ((str(k), v) for k, v in value.items())
        return {k: _without_null(v) for k, v in named if v is not None and type(v).__name__ != "_MISSING_TYPE"}
    if isinstance(value, list | tuple):
        return [_without_null(v) for v in value]
    return _plain(value)


def kind_of(cfg: Any) -> str:
    """Return `manager`, `direct`, or the name of another base class of a configuration."""
    names = [base.__name__ for base in type(cfg).__mro__]
    known = {"ManagerBasedRLEnvCfg": "manager", "DirectRLEnvCfg": "direct", "DirectMARLEnvCfg": "multi-agent"}
    return next((kind for name, kind in known.items() if name in names), names[0])


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
    if hasattr(value, "__dataclass_fields__"):
        return {"c": type(value).__name__, "n": nullable, "f": dict(_fields(value, depth))}
    if isinstance(value, Mapping):
        fields = {str(k): describe(v, "", v is None, depth + 1) for k, v in value.items()}
        return {"n": nullable, "f": fields, "open": _takes_more(fields, annotation)}
    if isinstance(value, list | tuple) and any(hasattr(v, "__dataclass_fields__") for v in value):
        return {"n": nullable, "f": {str(i): describe(v, "", False, depth + 1) for i, v in enumerate(value)}}
    return {"k": _kinds(value, annotation), "v": _plain(value), "n": nullable}


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
        term = any(base.__name__ in TERMS for base in type(value).__mro__)
        nullable = term or ("InteractiveSceneCfg" in kinds and hasattr(value, "__dataclass_fields__"))
        tree = describe(value, text, nullable, depth + 1)
        if term and isinstance(getattr(value, "params", None), Mapping):
            _add_parameters(tree, value)
        yield name, tree


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
    return not any("f" in node for node in fields.values())


def _kinds(value: Any, annotation: str) -> list[str]:
    """Return the kinds of values that a leaf takes: those of its annotation, else that of its value."""
    text = annotation if isinstance(annotation, str) else str(annotation)
    words = [ALIASES.get(w, w) for w in WORDS.findall(re.sub(r"\[.*\]", "", text))]
    kinds = [w for w in words if w in PLAIN or w in ("callable", "any")]
    if type(value).__name__ == "ResolvableString" or callable(value):
        return ["callable"]
    own = next((name for name, kind in PLAIN.items() if type(value) is kind), None)
    if own and own not in kinds and not (own == "int" and "float" in kinds):
        kinds.append(own)
    return list(dict.fromkeys(kinds)) or ["any"]


def _plain(value: Any) -> Any:
    """Return a value for JSON; of one that JSON has not, its text."""
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


def _assets(tree: Node, path: str = "") -> Iterator[str]:
    """Yield the files below the asset root that are spawned: `usd_path`, but not those of markers."""
    for name, node in tree.get("f", {}).items():
        if "visualizer" in name or name == "markers":
            continue
        value = node.get("v")
        if name == "usd_path" and isinstance(value, str) and value.startswith(PLACEHOLDER):
            yield value.removeprefix(PLACEHOLDER).lstrip("/")
        yield from _assets(node, f"{path}.{name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
