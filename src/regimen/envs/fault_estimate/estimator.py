"""The protocol of fault estimators: which joint of the robot has failed, estimated while a policy acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict


class Estimate(NamedTuple):
    """Estimate for N robots after one observation.

    Attributes:
        probabilities: (N, 1 + J) of healthy and of each joint, in the order of `Estimator.classes`.
        verdict: (N,) int16, the class decided on, -1 while there is none.
        since: (N,) float s, age of the verdict, this step included; 0 while there is none.
    """

    probabilities: torch.Tensor
    verdict: torch.Tensor
    since: torch.Tensor


class Estimator(Protocol):
    """Estimates the faults of N robots from one observation of each at a time.

    Attributes:
        classes: `healthy` and J joints.
    """

    classes: tuple[str, ...]

    def update(self, obs: Obs, begun: torch.Tensor) -> Estimate:
        """Take the next observation.

        Args:
            obs: group -> (N, d).
            begun: (N,) bool, robots whose episode begins with this observation; their state is reset first.
        """
        ...

    def state_dict(self) -> StateDict:
        """Return everything that decides the next estimates."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        ...
