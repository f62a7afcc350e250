"""Base class of observers of a rollout."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import Obs
    from regimen.runs.run import Run


class RolloutObserver:
    """Base class of observers; a context manager that is open during the rollout. Each method does nothing.

    Attributes:
        last_step: minimum number of steps of the rollout, even if every first episode has ended earlier.
    """

    last_step = 0

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Observe the state before step `step`; `obs` is {group: (N, d)}."""

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Observe a completed step: action (N, A), others (N,); envs whose episode ended are already reset."""

    def results(self, run: Run) -> dict[str, Any]:
        """Record artifacts after the rollout; return entries for result.json."""
        return {}

    def __enter__(self) -> RolloutObserver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Release resources."""
