"""Dataclasses for the objects of JSON files: unknown fields are kept and written back."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

JsonObject = dict[str, Any]
"""A JSON object: text -> JSON data."""

PLAIN = frozenset((str, int, float, bool, type(None)))


@dataclass
class JsonPart:
    """Base of dataclasses whose fields are the keys of a JSON object.

    Attributes:
        extra: keys that are no fields, as read; None without any.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset()
    """Fields that the JSON object lacks while they are None."""

    extra: JsonObject | None = field(default=None, kw_only=True, repr=False)

    @classmethod
    def from_dict(cls, data: JsonObject) -> Self:
        """Return the part that a JSON object describes.

        Args:
            data: object of a JSON file; keys that it lacks get their defaults.

        Raises:
            TypeError: it is no object, or lacks a field without default.
        """
        if not isinstance(data, dict):
            raise TypeError(f"expected a dictionary, found {type(data).__name__}")
        if data.keys() <= cls.__dataclass_fields__.keys() and "extra" not in data:  # most often: the index reads many
            return cls(**data)
        names = field_names(cls)
        known = {name: value for name, value in data.items() if name in names}
        return cls(**known, extra={name: value for name, value in data.items() if name not in names})

    def to_dict(self) -> JsonObject:
        """Return the JSON object."""
        data = {
            name: value if type(value) in PLAIN else to_json(value)
            for name, value in vars(self).items()
            if name != "extra" and (value is not None or name not in self.OPTIONAL)
        }
        return data if self.extra is None else data | self.extra


def field_names(kind: type[JsonPart]) -> list[str]:
    """Return the keys of a part in the order of its fields."""
    return [f.name for f in fields(kind) if f.name != "extra"]


def to_json(value: Any) -> Any:
    """Return a part, or parts in a list or dictionary, as JSON data; other values as they are."""
    if isinstance(value, JsonPart):
        return value.to_dict()
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    return value
