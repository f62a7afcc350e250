"""Apply settings by path to a configuration made of dataclasses, converted to the types that it has."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Mapping, MutableMapping
from typing import Any

from regimen.config.yaml_io import PlainSection
from regimen.system.errors import ConfigError


def apply(cfg: Any, settings: PlainSection, path: str) -> None:
    """Set values of a configuration.

    Args:
        cfg: the configuration; changed in place.
        settings: nested values, as the catalogue accepts them.
        path: key of `settings`, for messages, such as env.isaac.

    Raises:
        ConfigError: a function that cannot be imported.
    """
    for name, value in settings.items():
        key = f"{path}.{name}"
        now = _get(cfg, name)
        if isinstance(value, dict) and _has_fields(now):
            apply(now, value, key)
        else:
            _put(cfg, name, converted(now, value, key))


def _has_fields(value: Any) -> bool:
    return (
        hasattr(value, "__dataclass_fields__")
        or isinstance(value, Mapping)
        or (isinstance(value, list | tuple) and any(hasattr(v, "__dataclass_fields__") for v in value))
    )


def _get(owner: Any, name: str) -> Any:
    if isinstance(owner, Mapping):
        return owner.get(_key(owner, name))
    return owner[int(name)] if isinstance(owner, list | tuple) else getattr(owner, name)


def _put(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, MutableMapping):
        owner[_key(owner, name)] = value
    elif isinstance(owner, list):
        owner[int(name)] = value
    else:
        setattr(owner, name, value)


def _key(owner: Mapping[Any, Any], name: str) -> Any:
    """Return the key with a name; a mapping may have numbers as keys."""
    return next((key for key in owner if str(key) == name), name)


def converted(now: Any, value: Any, key: str) -> Any:
    """Return `value` in the type of the present value.

    Raises:
        ConfigError: see `apply`.
    """
    if isinstance(value, list):
        return tuple(value) if isinstance(now, tuple) or now is None else value
    if isinstance(now, float) and type(value) is int:
        return float(value)
    if isinstance(value, str) and isinstance(now, enum.Enum):
        return type(now)[value]
    if isinstance(value, str) and (callable(now) or type(now).__name__ == "ResolvableString"):
        return _function(value, key)
    return value


def _function(text: str, key: str) -> Any:
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}={text}: {error}. Name a function as module:function.") from error
