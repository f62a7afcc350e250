"""Dataclasses that are stored as objects of JSON files or as attributes of other files."""

from __future__ import annotations

import enum
import functools
import types
from collections.abc import Callable, Hashable
from dataclasses import fields
from typing import Any, ClassVar, Self, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from regimen.system.files import UNCHANGED, plain

Json: TypeAlias = dict[str, Any]
"""A JSON object: text -> JSON data."""

Reader: TypeAlias = Callable[[Any], Any]


class JsonData:
    """Base of dataclasses whose fields are the keys of a JSON object.

    Fields hold JSON data, arrays, enums, other dataclasses of this kind, and lists and dictionaries of such.

    Attributes:
        extra: keys that are no fields, as read; `to_dict` includes them. None without any.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset()
    """Fields that the JSON object lacks while they are None."""

    extra: ClassVar[Json | None] = None  # a class variable, so that it is no field; `from_dict` sets it on an instance

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Return the instance that a JSON object describes.

        Args:
            data: keys that it lacks get their defaults.

        Raises:
            TypeError: it is no object, or lacks a field without default.
            ValueError: a value is none of its enum.
        """
        if not isinstance(data, dict):
            raise TypeError(f"expected a dictionary, found {type(data).__name__}")
        names, nested = _schema(cast("Hashable", cls))
        if data.keys() <= names:  # most often: the index reads many
            made = cls(**data)
        else:
            made = cls(**{name: value for name, value in data.items() if name in names})
            vars(made)["extra"] = {name: value for name, value in data.items() if name not in names}
        return made.with_nested() if nested else made

    def with_nested(self) -> Self:
        """Return this instance, with enums and dataclasses made of the fields that hold their JSON data."""
        values = vars(self)
        for name, read in _schema(cast("Hashable", type(self)))[1]:
            value = values[name]
            if value is not None and not isinstance(value, JsonData):  # a default is an instance already
                values[name] = read(value)
        return self

    def to_dict(self) -> Json:
        """Return the JSON object."""
        data = {
            name: value if type(value) in UNCHANGED else plain(value)
            for name, value in vars(self).items()
            if name != "extra" and (value is not None or name not in self.OPTIONAL)
        }
        return data if self.extra is None else data | self.extra


@functools.cache  # type hints are evaluated once: an index is made of thousands of records
def _schema(kind: type[JsonData]) -> tuple[frozenset[str], tuple[tuple[str, Reader], ...]]:
    """Return the names of all fields, and the readers of those that do not hold JSON data as it is."""
    names = [field.name for field in fields(cast(Any, kind))]
    hints = get_type_hints(kind)
    readers = ((name, _reader(hints[name])) for name in names)
    return frozenset(names), tuple((name, reader) for name, reader in readers if reader is not None)


def _reader(kind: Any) -> Reader | None:
    """Return the function that makes a value of type `kind` of JSON data, None where it is that already."""
    options, origin = get_args(kind), get_origin(kind)
    if origin in (types.UnionType, Union):
        return _reader(options[0])
    if origin in (list, dict):
        read = _reader(options[-1])
        if read is None:
            return None
        return (
            (lambda items: [read(item) for item in items])
            if origin is list
            else (lambda items: {name: read(item) for name, item in items.items()})
        )
    if not isinstance(kind, type):
        return None
    return kind.from_dict if issubclass(kind, JsonData) else kind if issubclass(kind, enum.Enum) else None
