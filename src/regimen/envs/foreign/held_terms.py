"""Commands and events of an environment built by managers, held at given values for an evaluation."""

from __future__ import annotations

from typing import Any

import torch

from regimen.system.errors import ConfigError, did_you_mean


class HeldTerms:
    """Base of an environment with `inner`, that of the library; `cfg.id`, its task; and `device`."""

    inner: Any
    cfg: Any
    device: torch.device
    _held: dict[str, torch.Tensor]
    _held_events: dict[str, dict[str, torch.Tensor]]

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Hold a command at `values` (N, k): whatever the task draws is replaced by them.

        Raises:
            ConfigError: there is no such command, it is computed at each reading, or has another width.
        """
        manager: Any = getattr(self.inner, "command_manager", None)
        names = manager.active_terms if manager is not None else []
        if name not in names:
            raise ConfigError(f"{self.cfg.id} has no command `{name}`. {did_you_mean(name, names)}")
        term = manager.get_term(name)
        command = term.command
        if term.command.data_ptr() != command.data_ptr() or tuple(values.shape) != tuple(command.shape):
            raise ConfigError(
                f"command `{name}` of {self.cfg.id} cannot be held at values of shape {tuple(values.shape)}: it has "
                f"{tuple(command.shape)}, and must be stored by its term."
            )
        if name not in self._held:
            for method in ("_update_command", "_resample_command"):
                setattr(term, method, self._then_hold(getattr(term, method), term, name))
        self._held[name] = values.to(self.device, term.command.dtype).clone()
        term.command.copy_(self._held[name])

    def _then_hold(self, method: Any, term: Any, name: str) -> Any:
        def call(*arguments: Any) -> None:
            method(*arguments)
            term.command.copy_(self._held[name])

        return call

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Hold an event at values (N,) each, from the next reset on: its class has a method `fix` that takes them.

        Raises:
            ConfigError: there is no such event, or it cannot be held.
        """
        manager: Any = getattr(self.inner, "event_manager", None)
        modes = manager.active_terms if manager is not None else {}
        names = [term for terms in modes.values() for term in terms]
        if name not in names:
            raise ConfigError(f"{self.cfg.id} has no event `{name}`. {did_you_mean(name, names)}")
        term = manager.get_term_cfg(name).func
        if not hasattr(term, "fix"):
            raise ConfigError(
                f"event `{name}` of {self.cfg.id} cannot be held: its function has no method `fix`, which a "
                "`ManagerTermBase` of yours may have."
            )
        term.fix(**values)
        self._held_events[name] = values

    def hold_events_again(self) -> None:
        """Hold the events again that were held: what they hold was part of a state that has been restored."""
        for name, values in self._held_events.items():
            self.fix_event(name, **values)
