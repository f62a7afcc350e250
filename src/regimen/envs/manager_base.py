"""Base of all managers: disabled terms, and the state of stateful terms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch


def enabled(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms that are not null."""
    return {n: t for n, t in terms.items() if t is not None}


_PLAIN = (torch.Tensor, int, float, bool, type(None))


def term_state(term: object) -> dict[str, Any]:
    """Return the tensors and plain numbers a stateful term holds, by attribute name."""
    held = vars(term) if hasattr(term, "__dict__") else {}
    return {k: _copy(v) for k, v in held.items() if isinstance(v, _PLAIN)}


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


class Stateful:
    """Resets, saves and restores stateful terms."""

    terms: dict[str, Any]

    def reset(self, env_ids: torch.Tensor) -> None:
        """Reset the state of the terms for the envs `env_ids` (n,)."""
        for term in self.terms.values():
            if hasattr(term, "reset"):
                term.reset(env_ids)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return term -> attribute -> value."""
        return {n: s for n, t in self.terms.items() if not isinstance(t, partial) and (s := term_state(t))}

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Restore `state_dict`."""
        for name, held in state.items():
            for attribute, value in held.items():
                setattr(self.terms[name], attribute, _copy(value))
