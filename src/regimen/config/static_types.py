"""Read config dataclasses and signatures from source text, without importing torch.

A module is parsed, never imported. A config dataclass is created by executing only the statements that it depends on
(other dataclasses, constants, plain functions, imports of `LIGHT` modules) in a module of its own.
"""

from __future__ import annotations
import __future__

import ast
import dataclasses
import functools
import importlib
import sys
import types
import typing
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Optional, Union

from regimen.config.static_modules import Module, bound, find, read, split_target, submodule
from regimen.config.yaml_io import PlainSection
from regimen.system.errors import ConfigError

LIGHT = (
    "omegaconf",
    "regimen",
    "regimen.config.schema",
    "regimen.config.task_schema",
    "regimen.config.yaml_io",
    "regimen.system.errors",
    "regimen.envs.robots",
    "regimen.envs.robots.robot",
)
"""Modules that are imported instead of parsed, beside the standard library."""


@dataclass(frozen=True)
class Param:
    """One parameter of a function read from source.

    Attributes:
        name: its name; `*` or `**` marks the catch-all ones.
        required: whether it has no default.
        annotation: source text of its type, empty if it has none.
    """

    name: str
    required: bool
    annotation: str


def load_cfg_class(target: str) -> type[Any]:
    """Return the dataclass that configures a class, `XCfg` beside `X`, without importing its module.

    Args:
        target: `pkg.mod.Class`.

    Raises:
        ConfigError: if the class or its dataclass does not exist, or depends on modules that are not light.
    """
    module, name = split_target(target)
    find(module, name)
    kind = _execute(module, f"{name}Cfg")
    if not (isinstance(kind, type) and hasattr(kind, "__dataclass_fields__")):
        raise ConfigError(f"`{module}.{name}Cfg` must be a dataclass: it types the configuration of `{name}`.")
    _require_plain_fields(kind, f"{module}.{name}Cfg")
    return kind


@functools.lru_cache(maxsize=512)
def _require_plain_fields(cls: type[Any], name: str) -> None:
    """Raise unless field types and default factories need only what is bound, also of dataclasses within.

    Raises:
        ConfigError: naming the dataclass and what it lacks.
    """
    try:
        kinds = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if field.default_factory is not dataclasses.MISSING:
                field.default_factory()
    except Exception as error:
        raise ConfigError(f"`{name}` must be readable without importing its module. {error}") from error
    for kind in kinds.values():
        for part in (kind, *typing.get_args(kind)):
            if isinstance(part, type) and dataclasses.is_dataclass(part) and part is not cls:
                _require_plain_fields(part, f"{name}` with its part `{part.__name__}")


def class_variable(section: PlainSection, name: str) -> Any:
    """Return a class variable that the dataclass of a plain section declares.

    Args:
        section: with `_target_`, such as `env` or `agent` of a configuration.
        name: such as `MANAGER_BASED`.

    Returns:
        Its value; None if the dataclass does not declare it or cannot be read.
    """
    with suppress(ConfigError):
        return getattr(load_cfg_class(str(section.get("_target_"))), name, None)
    return None


def parameters(target: str) -> list[Param]:
    """Return the parameters of `pkg.mod:name`; of a class, those of its `__init__` after `self`.

    Raises:
        ConfigError: if there is no such function or class.
    """
    module, name = split_target(target)
    source, statement = find(module, name)
    if isinstance(statement, ast.FunctionDef):
        return _params(statement.args)
    if isinstance(statement, ast.ClassDef):
        return _init_params(source, statement)
    raise ConfigError(f"`{target}` is neither a function nor a class.")


def _init_params(source: Module, node: ast.ClassDef) -> list[Param]:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _params(statement.args)[1:]
    for origin in filter(None, map(source.origin, node.bases)):
        try:
            where, parent = find(*origin)
        except ConfigError:
            continue
        if isinstance(parent, ast.ClassDef):
            return _init_params(where, parent)
    return []


def methods(target: str) -> set[str]:
    """Return the names of the methods of `pkg.mod.Class` and of its bases.

    Raises:
        ConfigError: if there is no such class.
    """
    source, node = find(*split_target(target))
    if not isinstance(node, ast.ClassDef):
        raise ConfigError(f"`{target}` is not a class.")
    names = {s.name for s in node.body if isinstance(s, ast.FunctionDef)}
    for origin in filter(None, map(source.origin, node.bases)):
        with suppress(ConfigError):
            names |= methods(".".join(origin))
    return names


def _params(args: ast.arguments) -> list[Param]:
    positional = args.posonlyargs + args.args
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    pairs = list(zip(positional, defaults, strict=True)) + list(zip(args.kwonlyargs, args.kw_defaults, strict=True))
    params = [Param(a.arg, d is None, ast.unparse(a.annotation) if a.annotation else "") for a, d in pairs]
    if args.vararg:
        params.append(Param("*" + args.vararg.arg, False, ""))
    if args.kwarg:
        params.append(Param("**" + args.kwarg.arg, False, ""))
    return params


def library_fields(target: str) -> dict[str, tuple[str, str]]:
    """Return field -> (annotation, module of its class) of a library's dataclass and its bases.

    Args:
        target: `pkg.mod:Class`.
    """
    source, node = find(*split_target(target))
    fields: dict[str, tuple[str, str]] = {}
    if not isinstance(node, ast.ClassDef):
        raise ConfigError(f"`{target}` is not a class.")
    for base in node.bases:
        if isinstance(base, ast.Name) and (source.definition(base.id) or source.imported(base.id)):
            origin = (source.name, base.id) if source.definition(base.id) else source.imported(base.id)
            if origin and origin[0].split(".")[0] not in sys.stdlib_module_names:
                fields |= library_fields(":".join(origin))
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            fields[statement.target.id] = (ast.unparse(statement.annotation), source.name)
    return fields


PLAIN_TYPES: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "str": str, "None": None, "list": list, "tuple": tuple, "dict": dict,
    "Any": Any, "List": list, "Tuple": tuple, "Dict": dict, "Optional": Optional, "Union": Union,
}  # fmt: skip


@functools.cache
def plain_type(annotation: str) -> Any:
    """Return the type that an annotation names: `float | list[int]`; Any if it names other types than plain ones."""
    try:
        return eval(annotation.replace("typing.", ""), {"__builtins__": {}}, PLAIN_TYPES) if annotation else Any
    except (NameError, TypeError, SyntaxError, AttributeError):
        return Any


def _execute(module: str, name: str) -> Any:
    """Return the object bound to `name`, executing only the statements it depends on."""
    if _is_light(module):
        return getattr(importlib.import_module(module), name)
    source, _ = find(module, name)
    if source.name != module:
        elsewhere = read(module).imported(name)
        assert elsewhere is not None  # find() followed it
        return _execute(*elsewhere)
    return _execute_from(source, name)


def _execute_from(source: Module, name: str) -> Any:
    """Return the object, from the cache unless its module or one of its dependencies has changed."""
    value, dependencies = _executed.get((source, name), (None, None))
    if dependencies is None or not _is_current(dependencies):
        dependencies = {}
        value = _execute_statements(source, name, dependencies)
        _executed[source, name] = value, dependencies
    return value


Dependencies = dict[tuple[str, str], Any]
"""(module, name) -> object imported from there."""

_executed: dict[tuple[Module, str], tuple[Any, Dependencies]] = {}


def _is_current(dependencies: Dependencies) -> bool:
    try:
        return all(_execute(*where) is value for where, value in dependencies.items())
    except (ConfigError, AttributeError):
        return False


def _execute_statements(source: Module, name: str, dependencies: Dependencies) -> Any:
    shadow = types.ModuleType(f"_static.{source.name}.{name}")
    shadow.__file__ = str(source.path)
    sys.modules[shadow.__name__] = shadow  # dataclasses and get_type_hints look the module up by name
    flags = __future__.annotations.compiler_flag if source.imported("annotations") else 0
    problems: list[str] = []
    names = _required_names(source, name)
    for required in names:
        _bind_import(source, required, shadow, dependencies, problems)
    for statement in source.body:
        if bound(statement) & names:
            code = compile(ast.Module([statement], []), str(source.path), "exec", flags, dont_inherit=True)
            try:
                exec(code, shadow.__dict__)
            except Exception as error:
                problems.append(f"{', '.join(bound(statement))}: {error}")
    if not hasattr(shadow, name):
        why = "; ".join(problems)
        raise ConfigError(f"`{source.name}.{name}` must be readable without importing its module. {why}")
    return getattr(shadow, name)


def _required_names(source: Module, name: str) -> set[str]:
    """Return the names that `name` depends on through top-level definitions of the module."""
    names, pending = set(), [name]
    while pending:
        current = pending.pop()
        if current in names:
            continue
        names.add(current)
        statement = source.definition(current)
        if statement is not None:
            pending += [n.id for n in ast.walk(statement) if isinstance(n, ast.Name)]
    return names


def _bind_import(
    source: Module, name: str, shadow: types.ModuleType, dependencies: Dependencies, problems: list[str]
) -> None:
    elsewhere = source.imported(name)
    try:
        if elsewhere is not None and (module := _own_module(source, elsewhere)) is not None:
            setattr(shadow, name, _ParsedModule(module, dependencies))
        elif elsewhere is not None:
            dependencies[elsewhere] = _execute(*elsewhere)
            setattr(shadow, name, dependencies[elsewhere])
        else:
            for alias in (a for s in source.body if isinstance(s, ast.Import) for a in s.names):
                if (alias.asname or alias.name.split(".")[0]) == name and _is_light(alias.name):
                    imported = importlib.import_module(alias.name)
                    setattr(shadow, name, imported if alias.asname else sys.modules[name])
    except (ConfigError, AttributeError) as error:
        problems.append(f"{name}: {error}")


def _own_module(source: Module, elsewhere: tuple[str, str]) -> str | None:
    """Return the parsed module that `from package import name` binds, of the package of `source` or of Regimen.

    Args:
        source: where the import is.
        elsewhere: package, and name there.
    """
    package, name = elsewhere
    if package.split(".")[0] not in {source.name.split(".")[0], "regimen"} or _is_light(package):
        return None
    at = read(package)
    if at.definition(name) is not None or at.imported(name) not in (None, elsewhere):
        return None
    return submodule(package, name)


class _ParsedModule(types.ModuleType):
    """A submodule that is imported by `from package import name`: its attributes are executed when they are used."""

    def __init__(self, module: str, dependencies: Dependencies) -> None:
        super().__init__(module)
        self.__dict__["_dependencies"] = dependencies

    def __getattr__(self, name: str) -> Any:
        try:
            value = self.__dict__["_dependencies"][self.__name__, name] = _execute(self.__name__, name)
        except ConfigError as error:
            raise AttributeError(str(error)) from error
        return value


def _is_light(module: str) -> bool:
    return module in LIGHT or module.split(".")[0] in (sys.stdlib_module_names | {"omegaconf"})
