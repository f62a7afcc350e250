"""Registries of a `Runner`: name -> class, of rl_games or of the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regimen.agents.runner.components import BUILT_IN, name_problem, unknown_name
from regimen.agents.runner.library import unchanged_process
from regimen.config.targets import resolve
from regimen.system.errors import ConfigError

Builder = Callable[..., Any]
"""A class, or a function that returns an instance from the same arguments."""


class Registry:
    """The components of one kind.

    Attributes:
        kind: `algo`, `player`, `model` or `network`.
        own: the user's components, by name.
    """

    def __init__(self, kind: str) -> None:
        """Begin with the classes of rl_games."""
        self.kind = kind
        self.own: dict[str, Builder] = {}

    def register(self, name: str, builder: Builder | str) -> None:
        """Add a component.

        Args:
            name: by which a configuration names it.
            builder: class, function with the same arguments, or `pkg.mod:Class`.

        Raises:
            ConfigError: the name is taken, or the class does not exist.
        """
        if problem := name_problem(self.kind, name, self.own):
            raise ConfigError(problem[0].upper() + problem[1:])
        with unchanged_process():
            self.own[name] = resolve(builder) if isinstance(builder, str) else builder

    register_builder = register

    def names(self) -> list[str]:
        """Return all names, the user's last."""
        return [*BUILT_IN[self.kind], *self.own]

    def builder(self, name: str) -> Builder:
        """Return the class or function of a name.

        Raises:
            ConfigError: there is none, with the nearest names.
        """
        if problem := unknown_name(self.kind, name, self.own):
            raise ConfigError(problem[0].upper() + problem[1:])
        if name in self.own:
            return self.own[name]
        built_in: Builder = resolve(BUILT_IN[self.kind][name].target)
        return built_in

    def create(self, name: str, **arguments: Any) -> Any:
        """Return a new instance.

        Raises:
            ConfigError: there is no such name.
        """
        return self.builder(name)(**arguments)
