"""What a trained agent looks like to evaluate and collect: plain, recurrent and in-context policies alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import Obs


class Policy(Protocol):
    """Acts; the memory it needs between steps is handed to and fro."""

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the action (N, A) for the observations and the state after it; the first state is None."""
        ...

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        """Return `state` without what it remembers of the envs `env_ids` (n,), whose episodes begin anew."""
        ...
