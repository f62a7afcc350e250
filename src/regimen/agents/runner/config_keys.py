"""The keys of an rl_games configuration, collected from the source text of what reads them.

rl_games has no schema: a key is read by `config['x']`, `config.get('x')` or `'x' in config`, and any other is accepted
and ignored. The same walk over a user's component, and its bases, finds the keys that it adds.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from regimen.agents.runner.components import BUILT_IN, KINDS, LIBRARY, ComponentsCfg, ancestry
from regimen.config.static_modules import Module, read
from regimen.system.errors import ConfigError

SETTINGS = (
    "torch_runner", "common.a2c_common", "common.player", "common.diagnostics", "common.interval_summary_writer",
    "algos_torch.a2c_continuous", "algos_torch.a2c_discrete", "algos_torch.sac_agent", "algos_torch.players",
    "algos_torch.self_play_manager",
)  # fmt: skip
"""Modules of rl_games that read `params.config`."""

CENTRAL = ("algos_torch.central_value",)
NETWORKS = ("algos_torch.network_builder",)
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
    """

    config: set[str] = field(default_factory=set)
    player: set[str] = field(default_factory=set)
    central: set[str] = field(default_factory=set)
    network: set[str] = field(default_factory=set)


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
    return keys


def _own_modules(target: str) -> Iterator[Module]:
    """Yield the modules of a component and of its bases, without those of rl_games."""
    try:
        sources = {entry[1].name: entry[1] for entry in ancestry(target)}
    except ConfigError:
        return
    yield from (source for name, source in sources.items() if name.partition(".")[0] != LIBRARY)


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

    Of the library's classes those that constructors read; of a user's modules all that are read by `config['x']` and
    in no place by `config.get('x')` or `'x' in config`.

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
    """Return the keys of `config` that the modules of a user's class `pkg.mod:Class` cannot do without."""
    modules = list(_own_modules(target))
    nodes = [node for module in modules for statement in module.body for node in ast.walk(statement)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    read = {key for f in functions for name, key in _subscripts(_unconditional(f)) if name == "config"}
    asked = {key for name, key in _accesses(n for n in nodes if not isinstance(n, ast.Subscript)) if name == "config"}
    return read - asked


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
        if isinstance(child, ast.If | ast.IfExp | ast.For | ast.FunctionDef | ast.Lambda):
            continue
        if not (isinstance(child, ast.Subscript) and isinstance(child.ctx, ast.Store)):
            yield child
        yield from _unconditional(child)
