"""What all managers share: terms that were switched off, and terms that have a memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch


def enabled(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the terms that were switched off with null."""
    return {n: t for n, t in terms.items() if t is not None}


_PLAIN = (torch.Tensor, int, float, bool, type(None))


def term_state(term: object) -> dict[str, Any]:
    """Return the tensors and plain numbers a stateful term holds, by attribute name."""
    held = vars(term) if hasattr(term, "__dict__") else {}
    return {k: _copy(v) for k, v in held.items() if isinstance(v, _PLAIN)}


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


class Stateful:
    """Reset, save and restore of the terms that have a memory."""

    terms: dict[str, Any]

    def reset(self, env_ids: torch.Tensor) -> None:
        """Tell the terms that the episodes of `env_ids` (n,) begin anew."""
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
