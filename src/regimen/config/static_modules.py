"""Locate and parse modules without importing them."""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from regimen.system.errors import ConfigError, did_you_mean
from regimen.system.moved_modules import current_name


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed module: its dotted name, file and top-level statements."""

    name: str
    path: Path
    body: tuple[ast.stmt, ...]

    def definition(self, name: str) -> ast.stmt | None:
        """Return the statement that binds `name` here, other than an import."""
        return next((s for s in reversed(self.body) if name in bound(s)), None)

    def imported(self, name: str) -> tuple[str, str] | None:
        """Return (module, name there) if `name` is bound by `from module import name`."""
        for statement in self.body:
            if isinstance(statement, ast.ImportFrom):
                for alias in statement.names:
                    if (alias.asname or alias.name) == name:
                        return self._absolute(statement), alias.name
        return None

    def module_of(self, dotted: str) -> str | None:
        """Return the module that `dotted` stands for here: `b` after `from a import b`, `a.b` after `import a.b`."""
        for statement in self.body:
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    if (alias.asname or alias.name) == dotted:
                        return alias.name
        elsewhere = self.imported(dotted)
        return submodule(*elsewhere) if elsewhere is not None else None

    def imported_modules(self) -> Iterator[str]:
        """Yield the dotted names of the modules that are imported anywhere in this one."""
        for node in (node for statement in self.body for node in ast.walk(statement)):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = self._absolute(node)
                yield package
                yield from filter(None, (submodule(package, alias.name) for alias in node.names))

    def origin(self, expression: ast.expr) -> tuple[str, str] | None:
        """Return (module, name) of what a name, or a name of an imported module, stands for; None for others."""
        if isinstance(expression, ast.Name):
            return self.name, expression.id
        if isinstance(expression, ast.Attribute) and (module := self.module_of(ast.unparse(expression.value))):
            return module, expression.attr
        return None

    def names(self) -> list[str]:
        """Return the public functions and classes of this module, with `import name as name` those of others.

        Of a package, all that it imports by name.
        """
        names = [s.name for s in self.body if isinstance(s, (ast.FunctionDef, ast.ClassDef))]
        imports = [s for s in self.body if isinstance(s, ast.ImportFrom) and s.module != "__future__"]
        aliases = [alias for s in imports for alias in s.names]
        if self.path.name != "__init__.py":
            aliases = [alias for alias in aliases if alias.asname == alias.name]
        names += [alias.asname or alias.name for alias in aliases]
        return sorted(n for n in names if not n.startswith("_"))

    def _absolute(self, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        up = statement.level - (self.path.name == "__init__.py")
        parts = self.name.split(".")[: len(self.name.split(".")) - up]
        return ".".join(parts + ([statement.module] if statement.module else []))


def use_current_folder() -> None:
    """Add the current directory to the import path, as a worker has it."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def split_target(target: str) -> tuple[str, str]:
    """Split `pkg.mod:name` or `pkg.mod.Class` into module and name; a module that has moved gets its present name.

    Raises:
        ConfigError: if it has neither form.
    """
    module, _, name = target.rpartition(":" if ":" in target else ".")
    if not module or not name:
        raise ConfigError(f"`{target}` names no module. Expected `pkg.mod:function` or `pkg.mod.Class`.")
    return current_name(module), name


def locate(module: str) -> Path:
    """Return the file of a module without importing any part of it.

    Raises:
        ConfigError: if it does not exist.
    """
    module = current_name(module)
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        where = "the current directory, PYTHONPATH or the installed packages"
        raise ConfigError(f"There is no module `{top}` in {where}.")
    folders = [Path(p) for p in spec.submodule_search_locations or []]
    if not rest and spec.origin and spec.has_location:  # a frozen module, such as abc, has no file
        return Path(spec.origin)
    for folder in folders:
        stem = folder.joinpath(*rest)
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if path.is_file():
                return path
    siblings = [p.stem for folder in folders for p in folder.joinpath(*rest[:-1]).glob("*.py") if p.stem != "__init__"]
    raise ConfigError(f"There is no module `{module}`. {did_you_mean(rest[-1] if rest else top, siblings)}")


def submodule(package: str, name: str) -> str | None:
    """Return the dotted name of a module in a package, None if there is no such module."""
    with suppress(ConfigError):
        locate(f"{package}.{name}")
        return f"{package}.{name}"
    return None


def read(module: str) -> Module:
    """Parse a module by dotted name; parsed once for each change of its file.

    Raises:
        ConfigError: if it does not exist or is not Python.
    """
    path = locate(module)
    return _parse(module, path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _parse(module: str, path: Path, changed_ns: int) -> Module:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}") from error
    return Module(module, path, tuple(_flat(tree.body)))


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield top-level statements, looking into `if` and `try`, where imports are often kept."""
    for statement in body:
        if isinstance(statement, (ast.If, ast.Try)):
            yield from _flat(statement.body)
        else:
            yield statement


def find(module: str, name: str) -> tuple[Module, ast.stmt]:
    """Return the module and statement that define `name`, following imports by name.

    Raises:
        ConfigError: listing names that the module defines.
    """
    source = read(module)
    statement = source.definition(name)
    if statement is not None:
        return source, statement
    elsewhere = source.imported(name)
    if elsewhere is not None and elsewhere != (module, name):  # a package may import a submodule from itself
        return find(*elsewhere)
    raise ConfigError(f"`{module}` defines no `{name}`. {did_you_mean(name, source.names())}")


def bound(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement binds, imports aside."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return {statement.target.id}
    if isinstance(statement, ast.Assign):
        return {t.id for t in statement.targets if isinstance(t, ast.Name)}
    return set()
