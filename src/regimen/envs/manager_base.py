"""Base of all managers: disabled terms, and the state of stateful terms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from regimen.envs.term_env import ResettableTerm

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict


Term = Any
"""A bound term: a partial function, or an instance of a class with the protocols of `regimen.envs.term_env`."""

T = TypeVar("T")


def enabled(terms: Mapping[str, T | None]) -> dict[str, T]:
    """Return the terms that are not null."""
    return {n: t for n, t in terms.items() if t is not None}


_PLAIN = (torch.Tensor, int, float, bool, type(None))


def term_state(term: object) -> StateDict:
    """Return the tensors and plain numbers a stateful term holds, by attribute name."""
    held = vars(term) if hasattr(term, "__dict__") else {}
    return {k: _copy(v) for k, v in held.items() if isinstance(v, _PLAIN)}


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


class Stateful:
    """Resets, saves and restores stateful terms."""

    terms: dict[str, Term]

    @cached_property
    def _resettable(self) -> list[ResettableTerm]:
        return [term for term in self.terms.values() if isinstance(term, ResettableTerm)]

    def reset(self, env_ids: torch.Tensor) -> None:
        """Reset the state of the terms for the envs `env_ids` (n,)."""
        for term in self._resettable:
            term.reset(env_ids)

    def state_dict(self) -> dict[str, StateDict]:
        """Return term -> attribute -> value."""
        return {n: s for n, t in self.terms.items() if not isinstance(t, partial) and (s := term_state(t))}

    def load_state_dict(self, state: dict[str, StateDict]) -> None:
        """Restore `state_dict`."""
        for name, held in state.items():
            for attribute, value in held.items():
                setattr(self.terms[name], attribute, _copy(value))
