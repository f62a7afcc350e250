"""Convert between plain data and config dataclasses."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import BooleanNode, FloatNode, IntegerNode, StringNode, ValidationError, ValueNode

from regimen.config import static_types
from regimen.config.schema import Config
from regimen.config.static_modules import find, split_target
from regimen.config.yaml_io import PlainConfig, PlainSection, read_yaml
from regimen.system.errors import ConfigError, did_you_mean

NODES = {"task": "env", "sim": "sim", "agent": "agent", "stage": "stage"}
"""Groups typed by the `_target_` of their option -> key of their section."""

SCALARS: dict[Any, tuple[Callable[..., ValueNode], str]] = {
    int: (IntegerNode, "a whole number"),
    float: (FloatNode, "a number"),
    bool: (BooleanNode, "true or false"),
    str: (StringNode, "text"),
}
"""Scalar type -> OmegaConf's node, which converts as Hydra does, and the name of such a value in messages."""

DEFAULT_TARGETS = {"env": "regimen.envs.manager_env.ManagerEnv"}


@functools.lru_cache(maxsize=512)
def field_types(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields; cached, because annotations are slow to evaluate."""
    return typing.get_type_hints(kind)


def strip_optional(kind: Any) -> tuple[Any, bool]:
    """Return a type without `| None`, and whether it was optional; other unions become Any."""
    members = union_members(kind)
    optional = members != [kind] and type(None) in typing.get_args(kind)
    return (members[0] if len(members) == 1 else Any), optional


def union_members(kind: Any) -> list[Any]:
    """Return the members of a union without None, of another type itself."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return [k for k in typing.get_args(kind) if k is not type(None)] if union else [kind]


def element_type(kind: Any, index: int) -> Any:
    """Return the type of an element of a list or tuple, Any if the type does not say."""
    inner = [k for k in typing.get_args(kind) if k is not Ellipsis]
    return inner[min(index, len(inner) - 1)] if inner else Any


def build(kind: Any, data: Any) -> Any:
    """Return `data` as an instance of `kind`, nested dataclasses included, with their defaults filled in.

    Raises:
        ConfigError: for a key that the dataclass does not have.
    """
    members = union_members(kind)
    if len(members) > 1:
        return _build_member(members, data)
    kind = members[0]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if data is None:
        return None
    if dataclasses.is_dataclass(kind) and isinstance(data, dict):
        types = field_types(typing.cast(Any, kind))
        for key in data:
            if key not in types:
                raise ConfigError(
                    f"`{getattr(kind, '__name__', kind)}` has no key `{key}`. {did_you_mean(str(key), types)}"
                )
        return typing.cast(Any, kind)(**{k: build(types[k], v) for k, v in data.items()})
    if origin is dict and isinstance(data, dict):
        return {k: build(args[1], v) for k, v in data.items()}
    if origin in (list, tuple) and isinstance(data, (list, tuple)):
        return origin(build(element_type(kind, i), v) for i, v in enumerate(data))
    return SCALARS[kind][0](value=data)._value() if kind in SCALARS else data


def _build_member(members: list[Any], data: Any) -> Any:
    """Return `data` as the member of a union whose type it has, else as the first one that it converts to.

    A number becomes text only if no other member takes it.
    """
    if data is None or type(data) in members:
        return data
    for member in sorted(members, key=lambda m: m is str):
        of_mapping = dataclasses.is_dataclass(member) or typing.get_origin(member) is dict
        of_list = typing.get_origin(member) in (list, tuple)
        if isinstance(data, dict) == of_mapping and isinstance(data, list | tuple) == of_list:
            with contextlib.suppress(ValidationError, ConfigError):
                return build(member, data)
    return data


def to_plain(value: Any) -> Any:
    """Return dataclasses as mappings and tuples as lists, as YAML holds them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {k: to_plain(v) for k, v in value.items()}
    return [to_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def defaults(kind: Any) -> PlainSection:
    """Return the defaults of a dataclass as plain data; `???` for a field without one."""
    values: PlainSection = {}
    for field in dataclasses.fields(kind):
        if field.default_factory is not dataclasses.MISSING:
            values[field.name] = to_plain(field.default_factory())
        else:
            values[field.name] = "???" if field.default is dataclasses.MISSING else to_plain(field.default)
    return values


def load_config(path: Path) -> Config:
    """Read a frozen configuration; `env`, `sim`, `agent` and `stage` become instances of their own dataclasses.

    Args:
        path: `config.yaml` of a run.

    Raises:
        ConfigError: if it does not match the present code.
    """
    return build_config(read_plain(path))


def read_plain(path: Path) -> PlainConfig:
    """Return a frozen configuration as plain data.

    Args:
        path: `config.yaml` of a run.
    """
    return typing.cast(PlainConfig, read_yaml(Path(path)))


def build_config(data: PlainConfig) -> Config:
    """Return a resolved plain configuration as typed objects; see `load_config`."""
    config: Config = build(Config, data)
    for node in NODES.values():
        value = data.get(node)
        if isinstance(value, dict):
            target = value.get("_target_", DEFAULT_TARGETS.get(node))
            setattr(config, node, build(_cfg_class(str(target)), value))
    config.logger = {name: build(_cfg_class(value["_target_"]), value) for name, value in config.logger.items()}
    return config


def _cfg_class(target: str) -> Any:
    """Return the dataclass of a class from its imported module, else from its source."""
    module, name = split_target(target)
    find(module, name)
    return getattr(importlib.import_module(module), f"{name}Cfg", None) or static_types.load_cfg_class(target)
