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
Check: TypeAlias = Callable[[Any], bool]


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


class CheckedJsonData(JsonData):
    """JSON data of any origin: a value of another kind than its field has is an error."""

    @classmethod
    def from_dict(cls, data: Json) -> Self:
        """Return the instance that a JSON object describes; see `JsonData.from_dict`.

        Raises:
            TypeError: also for a value of another kind; the message names the field.
            ValueError: a value is none of its enum.
        """
        if isinstance(data, dict):
            for name, (fits, expected) in _checks(cast("Hashable", cls)).items():
                if name in data and not fits(data[name]):
                    raise TypeError(f"`{name}`: expected {expected}, found {_named(data[name])}")
        return super().from_dict(data)


@functools.cache  # type hints are evaluated once: an index is made of thousands of records
def _schema(kind: type[JsonData]) -> tuple[frozenset[str], tuple[tuple[str, Reader], ...]]:
    """Return the names of all fields, and the readers of those that do not hold JSON data as it is."""
    names = [field.name for field in fields(cast(Any, kind))]
    hints = get_type_hints(kind)
    readers = ((name, _reader(hints[name])) for name in names)
    return frozenset(names), tuple((name, reader) for name, reader in readers if reader is not None)


@functools.cache
def _checks(kind: type[JsonData]) -> dict[str, tuple[Check, str]]:
    """Return for each field with a known type the check of a value, and the type in words."""
    hints = get_type_hints(kind)
    checks = {field.name: (_check(hints[field.name]), hints[field.name]) for field in fields(cast(Any, kind))}
    return {name: (check, _in_words(hint)) for name, (check, hint) in checks.items() if check is not None}


def _check(kind: Any) -> Check | None:
    """Return the check whether JSON data can become a value of type `kind`; None if all can."""
    options, origin = get_args(kind), get_origin(kind)
    if origin in (types.UnionType, Union):
        checks = [_check(option) for option in options]
        known = [check for check in checks if check is not None]
        return (lambda value: any(check(value) for check in known)) if len(known) == len(checks) else None
    if origin in (list, dict):
        inner = _check(options[-1])
        if inner is None:
            return lambda value: isinstance(value, origin)
        if origin is list:
            return lambda value: isinstance(value, list) and all(map(inner, value))
        return lambda value: isinstance(value, dict) and all(map(inner, value.values()))
    if not isinstance(kind, type):
        return None
    if issubclass(kind, JsonData):
        return lambda value: isinstance(value, dict | kind)
    if issubclass(kind, enum.Enum):
        return lambda value: isinstance(value, str | int | kind)
    if kind is float:
        return lambda value: isinstance(value, int | float) and value is not True and value is not False
    if kind is int:
        return lambda value: isinstance(value, int) and value is not True and value is not False
    return (lambda value: isinstance(value, kind)) if kind in (str, bool, type(None)) else None


IN_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


def _in_words(kind: Any) -> str:
    options, origin = get_args(kind), get_origin(kind)
    if origin in (types.UnionType, Union):
        return " or ".join(map(_in_words, options))
    if origin in (list, dict):
        return f"a {'list' if origin is list else 'dictionary'} of {_in_words(options[-1])}"
    return IN_WORDS.get(kind, "a dictionary" if kind is not Any else "anything")


def _named(value: Any) -> str:
    """Return a value in words, for a message."""
    return (
        f"the {type(value).__name__} {str(value)[:40]!r}"
        if isinstance(value, str | int | float)
        else ("null" if value is None else "a list" if isinstance(value, list) else "a dictionary")
    )


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
