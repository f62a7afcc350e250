"""The keys of an rl_games configuration, collected from the source text of what reads them.

rl_games has no schema: a key is read by `config['x']`, `config.get('x')` or `'x' in config`, and any other is accepted
and ignored. The same walk over a user's component, and its bases, finds the keys that it adds.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from regimen.agents.runner.components import BUILT_IN, KINDS, LIBRARY, ComponentsCfg, ancestry
from regimen.config.static_modules import Module, locate, read
from regimen.system.errors import ConfigError

SETTINGS = (
    "torch_runner", "common.a2c_common", "common.player", "common.diagnostics", "common.interval_summary_writer",
    "algos_torch.a2c_continuous", "algos_torch.a2c_discrete", "algos_torch.sac_agent", "algos_torch.players",
    "algos_torch.self_play_manager",
)  # fmt: skip
"""Modules of rl_games that read `params.config`."""

CENTRAL = ("algos_torch.central_value",)
OWN = "regimen"
NETWORKS = ("algos_torch.network_builder",)
CONDITIONAL = (
    ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.BoolOp, ast.Match, ast.FunctionDef, ast.ClassDef, ast.Lambda,
)  # fmt: skip
"""Nodes whose parts may not be evaluated."""

UNREAD_NETWORK_KEYS = {"name", "regularizer", "learn_sigma"}
"""Keys in public network sections that no class of rl_games 1.6.5 reads."""


@dataclass(frozen=True)
class Keys:
    """Names of keys.

    Attributes:
        config: of `params.config`.
        player: of `params.config.player`.
        central: of `params.config.central_value_config`.
        network: of `params.network`, at any depth.
        passed_on: of sections that a user's component unpacks, as `**params['x']`, whose keys are those of any class.
    """

    config: set[str] = field(default_factory=set)
    player: set[str] = field(default_factory=set)
    central: set[str] = field(default_factory=set)
    network: set[str] = field(default_factory=set)
    passed_on: set[str] = field(default_factory=set)


def keys_of(components: ComponentsCfg) -> Keys:
    """Return the keys that rl_games and a user's components read; without rl_games, empty sets.

    Args:
        components: the user's, of which those that cannot be read add nothing.
    """
    keys = Keys(*(set(names) for names in _library_keys()))
    for kind in KINDS:
        for target in components.of(kind).values():
            for source in _own_modules(target):
                names = _all_read([source])
                keys.network.update(names)
                keys.config.update(names)
                keys.player.update(names)
                keys.passed_on.update(_passed_on(source))
    return keys


def _own_modules(target: str) -> Iterator[Module]:
    """Yield the modules of a component and of its bases, and those that they import from their folder or package.

    Modules of rl_games are left out, and of this project those in other folders.
    """
    try:
        sources = {entry[1].name: entry[1] for entry in ancestry(target)}
    except ConfigError:
        return
    waiting = [source for name, source in sources.items() if name.partition(".")[0] != LIBRARY]
    found = {source.name for source in waiting}
    while waiting:
        source = waiting.pop()
        yield source
        top = source.name.partition(".")[0]
        for name in source.imported_modules():
            if name in found or name.partition(".")[0] in sys.stdlib_module_names:
                continue
            found.add(name)
            with suppress(ConfigError):
                near = locate(name).parent == source.path.parent
                if near or (name.partition(".")[0] == top and top != OWN):
                    waiting.append(read(name))


def _passed_on(module: Module) -> set[str]:
    """Return the keys of sections that a module unpacks: `**d['k']`, `**d.get('k', {})`."""
    keys: set[str] = set()
    for node in (node for statement in module.body for node in ast.walk(statement)):
        match node:
            case ast.keyword(arg=None, value=value):
                keys |= {key for _, key in _accesses([value])}
    return keys


@functools.cache
def _library_keys() -> tuple[set[str], set[str], set[str], set[str]]:
    try:
        settings, central, networks = (_modules(names) for names in (SETTINGS, CENTRAL, NETWORKS))
    except ConfigError:
        return set(), set(), set(), set()
    config = _read_by(settings, "config")
    player = _read_by(settings, "player_config") | {"env_config"}
    return config, player, _read_by(central, "config") | {"network", "model"}, _all_read(networks) | UNREAD_NETWORK_KEYS


def required_keys(algo: str) -> set[str]:
    """Return the keys of `params.config` without which an algorithm raises a KeyError.

    Of the library's classes those that constructors read; of a user's all that its methods read by `config['x']` and
    that its modules read in no place by `config.get('x')` or `'x' in config`.

    Args:
        algo: name of an algorithm of rl_games, or `pkg.mod:Class` of a user's.
    """
    built_in = BUILT_IN["algo"].get(algo)
    names: set[str] = set()
    try:
        chain = ancestry(built_in.target if built_in else algo)
    except ConfigError:
        return names
    for _, source, statement in chain:
        if source.name.partition(".")[0] != LIBRARY:
            continue
        for method in statement.body:
            if isinstance(method, ast.FunctionDef) and method.name in ("__init__", "base_init"):
                names |= {key for holder, key in _subscripts(_unconditional(method)) if holder == "config"}
    return names if built_in else names | _required_by_modules(algo)


def _required_by_modules(target: str) -> set[str]:
    """Return the keys of `params.config` that the methods of a user's class `pkg.mod:Class` cannot do without.

    They are read from `self.config` or `params['config']`, by a method of the class or of its bases, or by a function
    of the same module that one of these is given to. What else is called `config` may be anything.
    """
    nodes = [node for module in _own_modules(target) for statement in module.body for node in ast.walk(statement)]
    asked = {key for name, key in _accesses(n for n in nodes if not isinstance(n, ast.Subscript)) if name == "config"}
    read: set[str] = set()
    for _, source, statement in ancestry(target):
        if source.name.partition(".")[0] != LIBRARY:
            for method in statement.body:
                if isinstance(method, ast.FunctionDef):
                    read |= _required_by(method, source, frozenset(), ())
    return read - asked


def _required_by(
    function: ast.FunctionDef, module: Module, names: frozenset[str], above: tuple[ast.FunctionDef, ...]
) -> set[str]:
    """Return the keys that a function reads whatever the settings are, and those that it calls with them.

    Args:
        function: of `module`.
        module: where called functions are looked for.
        names: of its parameters that are `params.config`.
        above: the functions that call it.
    """
    nodes = list(_unconditional(function))
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_settings(value, names):
                names |= {name}
    keys: set[str] = set()
    for node in nodes:
        match node:
            case ast.Subscript(value=holder, slice=ast.Constant(value=str(key))) if _is_settings(holder, names):
                keys.add(key)
            case ast.Call(func=func, args=given, keywords=named):
                called, parameters = _called(module, func)
                passed = {name for name, value in zip(parameters, given, strict=False) if _is_settings(value, names)}
                passed |= {word.arg for word in named if word.arg and _is_settings(word.value, names)}
                if called is not None and passed and called not in above:
                    keys |= _required_by(called, module, frozenset(passed), (*above, function))
    return keys


def _is_settings(expression: ast.expr, names: frozenset[str]) -> bool:
    """Whether an expression is `params.config`: `self.config`, `params['config']`, or one of `names`."""
    match expression:
        case ast.Attribute(value=ast.Name(id="self"), attr="config"):
            return True
        case ast.Subscript(value=ast.Name(id="params"), slice=ast.Constant(value="config")):
            return True
        case ast.Name(id=name):
            return name in names
    return False


def _called(module: Module, expression: ast.expr) -> tuple[ast.FunctionDef | None, list[str]]:
    """Return the function of `module` that `f(…)`, `Class(…)` or `Class.f(…)` calls, and the names of its arguments."""
    match expression:
        case ast.Name(id=name):
            owner, name = None, name
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            pass
        case _:
            return None, []
    found = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    function = found.get(owner or name)
    bound = isinstance(function, ast.ClassDef)
    if isinstance(function, ast.ClassDef):
        wanted = name if owner else "__init__"
        methods = {node.name: node for node in function.body if isinstance(node, ast.FunctionDef)}
        function = methods.get(wanted)
    elif owner:
        return None, []
    if not isinstance(function, ast.FunctionDef):
        return None, []
    bound = bound and not any(ast.unparse(decorator) == "staticmethod" for decorator in function.decorator_list)
    return function, [argument.arg for argument in function.args.args][int(bound) :]


def _modules(names: Iterable[str]) -> list[Module]:
    return [read(f"{LIBRARY}.{name}") for name in names]


def _read_by(modules: Iterable[Module], holder: str) -> set[str]:
    nodes = (node for module in modules for statement in module.body for node in ast.walk(statement))
    return {key for name, key in _accesses(nodes) if name == holder}


def _all_read(modules: Iterable[Module]) -> set[str]:
    nodes = (node for module in modules for statement in module.body for node in ast.walk(statement))
    return {key for _, key in _accesses(nodes)}


def _accesses(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Yield (name of the dictionary, key) of every `d['k']`, `d.get('k')`, `d.pop('k')` and `'k' in d`."""
    for node in nodes:
        match node:
            case ast.Call(
                func=ast.Attribute(attr="get" | "pop", value=holder), args=[ast.Constant(value=str(key)), *_]
            ):
                yield _holder(holder), key
            case ast.Compare(left=ast.Constant(value=str(key)), ops=[ast.In() | ast.NotIn()], comparators=[holder]):
                yield _holder(holder), key
            case ast.Subscript():
                yield from _subscripts([node])


def _subscripts(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        match node:
            case ast.Subscript(value=holder, slice=ast.Constant(value=str(key))):
                yield _holder(holder), key


def _holder(expression: ast.expr) -> str:
    """Return the last name of an expression: `config` of `self.config` and of `params['config']`."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return ""


def _unconditional(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one that are evaluated whatever the settings are."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, CONDITIONAL):
            continue
        if not (isinstance(child, ast.Subscript) and isinstance(child.ctx, ast.Store)):
            yield child
        yield from _unconditional(child)
