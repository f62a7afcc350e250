"""Check plain configuration data against dataclasses, signatures and library configs, and report all problems."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import ValidationError

from regimen.config import static_types, structured
from regimen.config.static_modules import split_target
from regimen.config.structured import SCALARS, build, element_type, strip_optional, union_members
from regimen.config.task_schema import EventTermCfg, TermCfg
from regimen.config.yaml_io import PlainSection
from regimen.system.errors import ConfigError, did_you_mean

EVENT_MODES = ("startup", "reset", "interval")
RANGE = tuple[float, float]
"""Annotation of a parameter that is a range: lowest and highest value."""

SUPPLIED = ("env", "env_ids", "tile", "difficulty", "group")
"""Leading parameters of a term, a kind of ground or an actuator that are not in the configuration."""


@dataclass(frozen=True)
class Problem:
    """A problem of a configuration.

    Attributes:
        path: its dotted key; empty if it is about no key.
        message: the error, the expected value, and what to type.
    """

    path: str
    message: str


class Checker:
    """Compares data with its type recursively.

    Args:
        was_set: returns whether a path ever had a value other than null, which a null then switches off.

    Attributes:
        numbers: paths of text that holds a number or a boolean, because YAML or Hydra read one.
    """

    def __init__(self, was_set: Callable[[str], bool]) -> None:
        self.was_set = was_set
        self.numbers: list[str] = []

    def check(self, kind: Any, data: Any, path: str) -> Iterator[Problem]:
        """Yield the problems of `data` at `path` as a `kind`."""
        members = union_members(kind)
        kind, optional = strip_optional(kind)
        origin = typing.get_origin(kind)
        if data is None:
            if not optional and Any not in members:
                yield Problem(path, f"`{path}` cannot be null.")
        elif isinstance(data, str) and "${" in data:
            return  # checked again once resolved
        elif data == "???":
            yield Problem(path, f"`{path}` has no value: set it with `{path}=...`.")
        elif len(members) > 1:
            yield from self._union(members, data, path)
        elif dataclasses.is_dataclass(kind):
            yield from self._node(kind, data, path)
        elif origin is dict:
            yield from self._mapping(typing.get_args(kind)[1], data, path)
        elif origin in (list, tuple):
            yield from self._sequence(kind, data, path)
        elif kind in SCALARS:
            if kind is str and isinstance(data, int | float):
                self.numbers.append(path)
            yield from scalar(kind, data, path)

    def field(self, field: dataclasses.Field[Any], kind: Any, value: Any, path: str) -> Iterator[Problem]:
        """Yield the problems of the value of a field, as a `kind`, and of its numbers by the bounds of the field."""
        problems = list(self.check(kind, value, path))
        yield from problems or _bounds(field.metadata, kind, value, path)

    def _node(self, kind: Any, data: Any, path: str) -> Iterator[Problem]:
        if not isinstance(data, dict):
            yield Problem(path, f"`{path}` holds keys, not the value `{data}`. {_keys(kind, path)}")
            return
        hints = structured.field_types(kind)
        fields = {f.name: f for f in dataclasses.fields(kind)}
        for key, value in data.items():
            here = f"{path}.{key}" if path else str(key)
            if key not in fields:
                moved = getattr(kind, "MOVED", {}).get(key)
                yield Problem(here, f"There is no key `{key}` in `{path}`. {moved or did_you_mean(str(key), fields)}")
                continue
            yield from self.field(fields[key], hints[key], value, here)
            if "library" in fields[key].metadata and isinstance(value, dict):
                yield from self._library(fields[key].metadata, value, here)
            if "built" in fields[key].metadata and isinstance(value, dict):
                yield from self._constructed(fields[key].metadata["built"], value, here)
        for name, field in fields.items():
            if field.default == "???" and name not in data:
                yield Problem(f"{path}.{name}", f"`{path}.{name}` has no value. Set it to {_expected(hints[name])}.")
        if issubclass(kind, TermCfg) and isinstance(data.get("func"), str):
            yield from self._term(kind, data, path)

    def _union(self, members: list[Any], data: Any, path: str) -> Iterator[Problem]:
        """Yield a problem if the value fits no member, or what is wrong within it if it has the form of one alone."""
        tried = [list(Checker(self.was_set).check(member, data, path)) for member in members]
        if all(tried):
            within = [problems for problems in tried if all(problem.path != path for problem in problems)]
            expected = " or ".join(map(_expected, members))
            whole = [Problem(path, f"`{path}` must be {expected}, not `{data}`.")]
            yield from within[0] if len(within) == 1 else whole

    def _mapping(self, kind: Any, data: Any, path: str) -> Iterator[Problem]:
        if not isinstance(data, dict):
            yield Problem(path, f"`{path}` must be a mapping of keys, not `{data}`.")
            return
        real = [k for k, v in data.items() if self.was_set(f"{path}.{k}") and (not _is_term(kind) or _has_func(v))]
        for key, value in data.items():
            here = f"{path}.{key}"
            if value is None and kind is not Any and not self.was_set(here):
                yield Problem(here, f"There is no {_noun(path)} `{key}` to switch off. {did_you_mean(key, real)}")
            elif _is_term(kind) and isinstance(value, dict) and not _has_func(value):
                what = f"There is no {_noun(path)} `{key}`. {did_you_mean(key, real)}"
                yield Problem(here, f"{what} A new one needs `func`.")
            else:
                yield from self.check(kind, value, here)

    def _sequence(self, kind: Any, data: Any, path: str) -> Iterator[Problem]:
        if not isinstance(data, (list, tuple)):
            yield Problem(path, f"`{path}` must be a list, not `{data}`: write `{path}=[...]`.")
            return
        inner = typing.get_args(kind)
        if typing.get_origin(kind) is tuple and Ellipsis not in inner and len(inner) != len(data):
            yield Problem(path, f"`{path}` must have {len(inner)} values, not {len(data)}.")
            return
        for i, value in enumerate(data):
            yield from self.check(element_type(kind, i), value, f"{path}.{i}")

    def _term(self, kind: Any, data: PlainSection, path: str) -> Iterator[Problem]:
        """Yield the problems of one term: its function, its parameters and, for an event, its mode."""
        func, params = data["func"], data.get("params") or {}
        group = path.split(".")[1]
        module, name = split_target(func) if ":" in func or "." in func else (f"regimen.envs.terms.{group}", func)
        try:
            accepted = [
                p for i, p in enumerate(static_types.parameters(f"{module}:{name}")) if i > 1 or p.name not in SUPPLIED
            ]
        except ConfigError as error:
            yield Problem(f"{path}.func", f"`{func}` is no {_noun(group)} function. {error}")
            return
        if isinstance(params, dict):
            yield from self._params(func, accepted, params, f"{path}.params")
        if issubclass(kind, EventTermCfg) and data.get("mode") not in (*EVENT_MODES, None, "???"):
            yield Problem(
                f"{path}.mode", f"`{data['mode']}` is no event mode. {did_you_mean(data['mode'], EVENT_MODES)}"
            )
        if issubclass(kind, EventTermCfg) and data.get("mode") == "interval" and not data.get("interval_range_s"):
            yield Problem(path, f"`{path}` has mode `interval` and needs `interval_range_s: [shortest, longest]`.")

    def _params(
        self, func: str, accepted: list[static_types.Param], params: PlainSection, path: str
    ) -> Iterator[Problem]:
        params_by_name = {p.name: p for p in accepted if not p.name.startswith("*")}
        anything = any(p.name.startswith("**") for p in accepted)
        for name, value in params.items():
            if name not in params_by_name and not anything:
                yield Problem(
                    f"{path}.{name}", f"`{func}` has no parameter `{name}`. {did_you_mean(name, params_by_name)}"
                )
            elif name in params_by_name and value is not None:
                yield from self._annotation(params_by_name[name].annotation, value, f"{path}.{name}")
        for name, param in params_by_name.items():
            if param.required and name not in params:
                yield Problem(path, f"`{func}` needs the parameter `{name}`: set `{path}.{name}`.")

    def _library(self, metadata: typing.Mapping[str, Any], data: PlainSection, path: str) -> Iterator[Problem]:
        """Yield the keys of a library's own configuration that its dataclasses do not have, and wrong scalars.

        Args:
            metadata: of the field: `library` lists `pkg.mod:Class` names, `extra` further keys that are accepted.
            data: the values.
            path: their dotted key.
        """
        fields: dict[str, tuple[str, str]] = {}
        for target in metadata["library"]:
            fields |= static_types.library_fields(target)
        keys = set(fields) | set(metadata.get("extra", ()))
        for key, value in data.items():
            annotation, module = fields.get(key, ("", ""))
            if key not in keys:
                what = f"`{key}` is no setting of {metadata['library'][0].rpartition(':')[2]}."
                yield Problem(f"{path}.{key}", f"{what} {did_you_mean(str(key), keys)}")
            elif isinstance(value, dict) and annotation.isidentifier() and annotation not in ("dict", "Any"):
                yield from self._library({"library": [f"{module}:{annotation}"]}, value, f"{path}.{key}")
            elif value is not None:
                yield from self._annotation(annotation, value, f"{path}.{key}")

    def _constructed(self, metadata: typing.Mapping[str, Any], data: PlainSection, path: str) -> Iterator[Problem]:
        """Yield the keys of a section that are no parameters of the library's class it configures, and wrong scalars.

        Args:
            metadata: of the field: `package` of the class that the key `class_name` names, or the class itself as
                `target`; `supplied` lists parameters that are filled in, `extra` further keys, `sections` sections
                within this one.
            data: the values.
            path: their dotted key.
        """
        name, extra, sections = data.get("class_name"), metadata.get("extra", ()), metadata.get("sections", {})
        if "target" not in metadata and not isinstance(name, str):
            yield Problem(f"{path}.class_name", f"`{path}` needs `class_name`, a class of {metadata['package']}.")
            return
        own = ":" in str(name) or "." in str(name)
        target = str(metadata["target"] if "target" in metadata else name if own else f"{metadata['package']}:{name}")
        try:
            accepted = [p for p in static_types.parameters(target) if p.name not in metadata["supplied"]]
        except ConfigError as error:
            yield Problem(f"{path}.class_name", f"`{name}` is no class for `{path}`. {error}")
            return
        arguments = {k: v for k, v in data.items() if k not in ("class_name", *extra)}
        yield from self._params(target.rpartition(":")[2], accepted, arguments, path)
        for key, section in sections.items():
            if isinstance(arguments.get(key), dict):
                yield from self._constructed(section, arguments[key], f"{path}.{key}")

    def _annotation(self, annotation: str, value: Any, path: str) -> Iterator[Problem]:
        """Yield a problem if the value has none of the plain types that an annotation, given as text, allows.

        Args:
            annotation: such as `float | dict[str, float]`; one that names other types allows everything, and
                `tuple[float, float]` is a range.
            value: the value.
            path: its dotted key.
        """
        if isinstance(value, str) and ("${" in value or value == "???"):
            return
        members = union_members(static_types.plain_type(annotation))
        if len(members) == 1:
            problems = list(self.check(members[0], value, path))
            yield from problems or _unordered(members[0], value, path)
        else:
            yield from self._union(members, value, path)


def _unordered(kind: Any, value: Any, path: str) -> Iterator[Problem]:
    """Yield a problem for each range whose lowest value is above its highest."""
    if kind == RANGE and value[0] > value[1]:
        yield Problem(path, f"`{path}={value}`: expected [lowest, highest].")
    elif typing.get_origin(kind) is dict and isinstance(value, dict):
        for key, below in value.items():
            yield from _unordered(typing.get_args(kind)[1], below, f"{path}.{key}")


def scalar(kind: Any, data: Any, path: str) -> Iterator[Problem]:
    """Yield a problem unless `data` converts to the scalar type as Hydra would convert it."""
    node, expected = SCALARS[kind]
    try:
        if isinstance(data, (dict, list)):
            raise ValidationError
        value = node(value=data)._value()
        if isinstance(data, str) and isinstance(value, float):
            yield from not_finite(value, path)
    except ValidationError:
        actual = "a mapping" if isinstance(data, dict) else "a list" if isinstance(data, list) else f"`{data}`"
        hint = ""
        if path == "env.num_envs" and data == "auto":
            hint = " It is measured as an argument of one run: python launch.py … env.num_envs=auto."
        yield Problem(path, f"`{path}` must be {expected}, not {actual}.{hint}")


def not_finite(value: Any, path: str) -> Iterator[Problem]:
    """Yield a problem for each number in a value, which may be a list, that is NaN or infinite."""
    if isinstance(value, list | tuple):
        for i, element in enumerate(value):
            yield from not_finite(element, f"{path}.{i}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(path, f"`{path}={value}`: expected a finite number.")


def _bounds(metadata: typing.Mapping[str, Any], kind: Any, data: Any, path: str) -> Iterator[Problem]:
    """Yield a problem if a number, or one of a list, is outside the bounds that its field declares.

    Args:
        metadata: of the field: `least` and `most` bound each number, `above` is less than each; `ordered` is
            set if they must not decrease.
        kind: type of the field.
        data: the number or the list, which fit it; a number may be text, such as of an environment variable.
        path: its dotted key.
    """
    if not metadata.keys() & {"least", "most", "above", "ordered"}:
        return
    values = build(kind, data)
    numbers = values if isinstance(values, list | tuple) else [values]
    if not all(isinstance(n, int | float) for n in numbers):
        return
    least, most, ordered = metadata.get("least", -math.inf), metadata.get("most", math.inf), metadata.get("ordered")
    above = metadata.get("above", -math.inf)
    if not all(above < n and least <= n <= most for n in numbers) or (ordered and sorted(numbers) != list(numbers)):
        several = "[lowest, highest], each " if ordered else "numbers, each "
        lower, upper = (f"more than {above:g}", "") if "above" in metadata else (f"{least:g}", " or more")
        bounds = lower + (f" to {most:.10g}" if most < math.inf else upper)
        yield Problem(path, f"`{path}={data}`: expected {several if numbers is values else ''}{bounds}.")


def _is_term(kind: Any) -> bool:
    kind = strip_optional(kind)[0]
    return isinstance(kind, type) and issubclass(kind, TermCfg)


def _has_func(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and value.get("func") not in (None, "???"))


def _noun(path: str) -> str:
    """Return the noun for an entry of this group: `env.rewards` -> `reward`."""
    return path.rpartition(".")[2].removesuffix("s")


def _keys(kind: Any, path: str) -> str:
    return f"Its keys: {', '.join(f'`{path}.{f.name}`' for f in dataclasses.fields(kind)[:6])}."


def _expected(kind: Any) -> str:
    kind = strip_optional(kind)[0]
    names = {list: "a list", tuple: "a list", dict: "a mapping"}
    return SCALARS[kind][1] if kind in SCALARS else names.get(typing.get_origin(kind) or kind, "a value")
