"""Names of algorithms, players, models and networks, and the checks of a user's own, read from source.

A component is a class of rl_games under the name that its users have for it, or a class of the user, `pkg.mod:Class`,
that subclasses the base class of its kind.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

from regimen.config.static_modules import Module, find, split_target
from regimen.system.errors import ConfigError, did_you_mean

LIBRARY = "rl_games"


@dataclass(frozen=True)
class BuiltIn:
    """A class of rl_games.

    Attributes:
        target: `pkg.mod:Class`.
        description: one line.
    """

    target: str
    description: str


def _at(module: str, **classes: tuple[str, str]) -> dict[str, BuiltIn]:
    return {name: BuiltIn(f"{LIBRARY}.{module}:{target}", text) for name, (target, text) in classes.items()}


BUILT_IN: dict[str, dict[str, BuiltIn]] = {
    "algo": {
        **_at("algos_torch.a2c_continuous", a2c_continuous=("A2CAgent", "PPO with continuous actions")),
        **_at("algos_torch.a2c_discrete", a2c_discrete=("DiscreteA2CAgent", "PPO with discrete actions")),
        **_at("algos_torch.sac_agent", sac=("SACAgent", "soft actor-critic")),
    },
    "player": _at(
        "algos_torch.players",
        a2c_continuous=("PpoPlayerContinuous", "plays a policy of a2c_continuous"),
        a2c_discrete=("PpoPlayerDiscrete", "plays a policy of a2c_discrete"),
        sac=("SACPlayer", "plays a policy of sac"),
    ),
    "model": _at(
        "algos_torch.models",
        discrete_a2c=("ModelA2C", "one choice, categorical"),
        multi_discrete_a2c=("ModelA2CMultiDiscrete", "several choices, categorical"),
        continuous_a2c=("ModelA2CContinuous", "Gaussian, the network gives the standard deviation"),
        continuous_a2c_logstd=("ModelA2CContinuousLogStd", "Gaussian, the network gives the logarithm of it"),
        continuous_a2c_tanh=("ModelA2CContinuousTanh", "Gaussian through tanh"),
        central_value=("ModelCentralValue", "value function of its own observations"),
        soft_actor_critic=("ModelSACContinuous", "Gaussian through tanh and two critics"),
    ),
    "network": _at(
        "algos_torch.network_builder",
        actor_critic=("A2CBuilder", "layers of policy and value: mlp, rnn, cnn"),
        resnet_actor_critic=("A2CResnetBuilder", "residual convolutions for images"),
        rnd_curiosity=("RNDCuriosityBuilder", "random network distillation"),
        soft_actor_critic=("SACBuilder", "layers of actor and critics"),
    ),
}
"""Kind -> name -> class of rl_games 1.6.5."""

BASES = {
    "algo": "rl_games.interfaces.base_algorithm:BaseAlgorithm",
    "player": "rl_games.common.player:BasePlayer",
    "model": "rl_games.algos_torch.models:BaseModel",
    "network": "rl_games.algos_torch.network_builder:NetworkBuilder",
}
"""Kind -> class that a component must subclass."""


@dataclass
class ComponentsCfg:
    """A user's own classes: name -> `pkg.mod:Class`.

    Attributes:
        algo: learning algorithms, chosen by `params.algo.name`.
        player: loops that play a policy, chosen by `stage.player`.
        model: distributions and normalisers around a network, chosen by `params.model.name`.
        network: builders of layers, chosen by `params.network.name`.
    """

    algo: dict[str, str] = field(default_factory=dict)
    player: dict[str, str] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)
    network: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> dict[str, str]:
        """Return name -> class of one kind."""
        named: dict[str, str] = getattr(self, kind)
        return named


KINDS = tuple(f.name for f in fields(ComponentsCfg))


def name_problem(kind: str, name: str, registered: Mapping[str, object] | None = None) -> str | None:
    """Return why a name cannot be registered, None if it can.

    rl_games registers its own classes again whenever it builds a model: a user's class of the same name would be
    replaced without a message.

    Args:
        kind: one of `KINDS`.
        name: new name.
        registered: names that were registered before, beside those of rl_games.
    """
    if name in BUILT_IN[kind]:
        return f"`{name}` is a {kind} of rl_games, which replaces a class of the same name. Register `my_{name}`."
    if registered is not None and name in registered:
        return f"the {kind} `{name}` is registered already. Choose another name, such as `{name}_2`."
    return None


def unknown_name(kind: str, name: str, own: Mapping[str, object]) -> str | None:
    """Return that there is no component of a name, with the nearest ones; None if there is."""
    names = [*BUILT_IN[kind], *own]
    return None if name in names else f"there is no {kind} `{name}`. {did_you_mean(name, names)}"


def problems(components: ComponentsCfg) -> Iterator[str]:
    """Yield what is wrong with a user's components, each line beginning with its key below `agent`."""
    for kind in KINDS:
        for name, target in components.of(kind).items():
            problem = name_problem(kind, name) or class_problem(kind, target)
            if problem:
                yield f"components.{kind}.{name}={target}: {problem}"


def class_problem(kind: str, target: str) -> str | None:
    """Return why a class cannot be a component, None if it can; its module is not imported.

    Args:
        kind: one of `KINDS`.
        target: `pkg.mod:Class`.
    """
    try:
        _, statement = find(*split_target(target))
        if not isinstance(statement, ast.ClassDef):
            return f"it is no class. Expected a subclass of {_short(BASES[kind])}."
        above = [name for name, _, _ in ancestry(target)]
    except ConfigError as error:
        return str(error)
    if BASES[kind] in above:
        return None
    others = [other for other, base in BASES.items() if base in above]
    hint = f" It is a {others[0]}: put it under components.{others[0]}." if others else ""
    return f"it does not subclass {_short(BASES[kind])}, which every {kind} does.{hint}"


def ancestry(target: str) -> list[tuple[str, Module, ast.ClassDef]]:
    """Return (name, module, statement) of a class and of its bases, as far as source text is found.

    Args:
        target: `pkg.mod:Class`.
    """
    source, statement = find(*split_target(target))
    if not isinstance(statement, ast.ClassDef):
        return []
    found = [(f"{source.name}:{statement.name}", source, statement)]
    for base in statement.bases:
        try:
            above = _named(source, base)
            if above.partition(".")[0].partition(":")[0] not in sys.stdlib_module_names:
                found += [entry for entry in ancestry(above) if entry[0] not in {f[0] for f in found}]
        except ConfigError:  # computed, or of a module that is not installed
            continue
    return found


def _named(source: Module, expression: ast.expr) -> str:
    """Return `pkg.mod:Class` of an expression in a module, such as `a2c_continuous.A2CAgent`.

    Raises:
        ConfigError: it is no name that an import or a definition binds.
    """
    *above, name = ast.unparse(expression).split(".")
    if not above:
        return ":".join(source.imported(name) or (source.name, name))
    elsewhere = source.imported(above[0])
    if elsewhere is not None:
        return f"{'.'.join((*elsewhere, *above[1:]))}:{name}"
    for statement in source.body:
        for alias in statement.names if isinstance(statement, ast.Import) else ():
            if alias.asname == above[0] and len(above) == 1:
                return f"{alias.name}:{name}"
            if alias.asname is None and alias.name == ".".join(above):
                return f"{alias.name}:{name}"
    raise ConfigError(f"`{ast.unparse(expression)}` is not imported in {source.name}.")


def _short(target: str) -> str:
    return target.replace(":", ".")


def table_rows(own: Mapping[str, ComponentsCfg]) -> Iterator[tuple[str, str, str]]:
    """Yield (kind, name, description) of all components.

    Args:
        own: option of an agent -> its components.
    """
    for kind in KINDS:
        for name, built_in in BUILT_IN[kind].items():
            yield kind, name, f"{built_in.description} ({_short(built_in.target).rpartition('.')[2]})"
        for option, components in own.items():
            for name, target in components.of(kind).items():
                yield kind, name, f"{first_line(target)} ({target}, agent={option})".lstrip()


def first_line(target: str) -> str:
    """Return the first line of a class's docstring, without its full stop; empty where there is none."""
    try:
        _, statement = find(*split_target(target))
    except ConfigError as error:
        return str(error)
    text = ast.get_docstring(statement) if isinstance(statement, ast.ClassDef) else None
    return (text or "").partition("\n")[0].rstrip(".")
