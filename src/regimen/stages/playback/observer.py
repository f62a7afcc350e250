"""Base class of observers of a rollout."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import Obs
    from regimen.runs.run import Run


class RolloutObserver:
    """Looks on; a context that is open while the policy plays. This one sees and says nothing.

    Attributes:
        last_step: steps that are played for it, even if every first episode has ended.
    """

    last_step = 0

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Look at the state that `obs` {group: (N, d)} shows, before the policy acts on it."""

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Look at what came of it: action (N, A), and (N,) each; envs that ended have begun anew."""

    def results(self, run: Run) -> dict[str, Any]:
        """Name what was made, once all is played; return what belongs into result.json."""
        return {}

    def __enter__(self) -> RolloutObserver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let go of what is held."""
