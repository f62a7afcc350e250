"""Actions of a human from the inputs of a device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from regimen.envs.controls.config import DISCARD, ControlsCfg
from regimen.system.errors import ConfigError


@dataclass(frozen=True)
class InputEvent:
    """A changed input.

    Attributes:
        name: key, stick, trigger or button.
        value: 0 or 1 of keys and buttons, 0 to 1 of triggers, -1 to 1 of sticks.
    """

    name: str
    value: float


class Controller:
    """The present state of the inputs as an action."""

    def __init__(self, cfg: ControlsCfg, actions: Sequence[str], clip: float | None) -> None:
        """Begin with all inputs at rest.

        Args:
            cfg: what the inputs do.
            actions: names of the A actions of the task.
            clip: bound of the actions; None counts as 1.

        Raises:
            ConfigError: an action has no input.
        """
        self._cfg, self._actions, self._bound = cfg, list(actions), cfg.speed * (clip or 1.0)
        self._values: dict[str, float] = {}
        self._effects: dict[str, tuple[int, float]] = {}
        for name, text in cfg.table.items():
            if text[:-1] in self._actions:
                self._effects[name] = self._actions.index(text[:-1]), -1.0 if text.endswith("-") else 1.0
        if missing := [a for i, a in enumerate(self._actions) if i not in {i for i, _ in self._effects.values()}]:
            table = "keyboard" if cfg.device == "keyboard" else "gamepad"
            raise ConfigError(
                f"No input moves {', '.join(missing)}: this task has the actions {', '.join(self._actions)}. Add them "
                f"to the table of the {table}, such as +controls.{table}.up={missing[0]}+ under the stage or agent."
            )
        self._discard = False

    def feed(self, events: Iterable[InputEvent]) -> None:
        """Take over changed inputs."""
        for event in events:
            self._values[event.name] = event.value if abs(event.value) > self._cfg.dead_zone else 0.0
            self._discard |= event.value > 0.5 and self._cfg.table.get(event.name) == DISCARD

    @property
    def active(self) -> bool:
        """Whether an input that moves something is not at rest."""
        return any(self._values.get(name) for name in self._effects)

    def action(self) -> np.ndarray:
        """Return the action (A,) float32; inputs of one action add up to its bound."""
        action = np.zeros(len(self._actions), np.float32)
        for name, (index, sign) in self._effects.items():
            action[index] += sign * self._values.get(name, 0.0)
        return np.clip(action, -1.0, 1.0) * np.float32(self._bound)

    def discarded(self) -> bool:
        """Return whether the episode is to be broken off since the last call."""
        discard, self._discard = self._discard, False
        return discard

    def release(self) -> None:
        """Let go of all inputs."""
        self._values.clear()
