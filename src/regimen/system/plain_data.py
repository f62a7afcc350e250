"""Dataclasses that are stored as JSON or as attributes of a file."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeAlias

from regimen.system.files import plain

Json: TypeAlias = dict[str, Any]
"""Object of JSON with keys that are defined elsewhere: entries of a result, attributes of a file, a user's values."""


class PlainData:
    """Base of dataclasses with a plain form; nested ones are dataclasses of this kind, in lists and mappings too."""

    def to_dict(self) -> Json:
        """Return plain data, as JSON holds it."""
        fields = dataclasses.fields(typing.cast(Any, self))
        return {field.name: plain(getattr(self, field.name)) for field in fields}

    @classmethod
    def from_dict(cls, data: Json) -> typing.Self:
        """Return the instance of `data`; unknown keys are ignored, absent ones keep their defaults."""
        kinds = typing.get_type_hints(cls)
        return cls(**{name: _typed(kinds[name], value) for name, value in data.items() if name in kinds})


def _typed(kind: Any, value: Any) -> Any:
    """Return plain `value` as `kind`: an instance of `PlainData`, or a list or mapping of such."""
    options, origin = typing.get_args(kind), typing.get_origin(kind)
    if value is None or isinstance(value, PlainData):
        return value
    if origin in (types.UnionType, typing.Union):
        return _typed(options[0], value)
    if origin is list:
        return [_typed(options[0], item) for item in value]
    if origin is dict:
        return {key: _typed(options[1], item) for key, item in value.items()}
    return kind.from_dict(value) if isinstance(kind, type) and issubclass(kind, PlainData) else value
