"""Constant errors between the angle of a joint, its encoder and its servo, for each env."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict


class JointErrors:
    """Errors of N robots with J joints; nothing is computed for an error that no event draws.

    `encoder_bias` is the angle that the encoder reads minus the true one. The servo reads the same encoder, so a target
    is an angle of the encoder: the joint rests at the target minus the bias, where the reading equals the target.
    `joint_offset` is an error of the servo alone, such as a zero pose that was assembled wrongly: the joint rests at
    the target plus the offset, and the reading shows it.
    """

    def __init__(self, joints: Sequence[str], num_envs: int, device: torch.device) -> None:
        """Begin without errors.

        Args:
            joints: names of the J joints.
            num_envs: N.
            device: of all tensors.
        """
        self._joints, self._shape, self._device = list(joints), (num_envs, len(joints)), device
        self._errors: dict[str, torch.Tensor] = {}

    def names_of(self, quantity: str) -> list[str]:
        """Return the names of the joints, which have every error."""
        return self._joints

    def nominal(self, quantity: str) -> torch.Tensor:
        """Return (J,) float64 zeros."""
        return torch.zeros(len(self._joints), dtype=torch.float64, device=self._device)

    def set_quantity(self, quantity: str, env_ids: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> None:
        """Set an error of the envs `env_ids` (n,): the columns (k,) of the joints to values (n, k) rad."""
        errors = self._errors.setdefault(quantity, torch.zeros(self._shape, device=self._device))
        errors[env_ids[:, None], columns] = values.to(errors)

    def measured(self, angles: torch.Tensor) -> torch.Tensor:
        """Return what the encoders read at true angles (N, J) rad."""
        bias = self._errors.get("encoder_bias")
        return angles if bias is None else angles + bias

    def reached(self, targets: torch.Tensor) -> torch.Tensor:
        """Return the true angles at which the servos rest for targets (N, J) rad."""
        bias, offset = self._errors.get("encoder_bias"), self._errors.get("joint_offset")
        targets = targets if bias is None else targets - bias
        return targets if offset is None else targets + offset

    def state_dict(self) -> StateDict:
        """Return the errors that were drawn, name -> (N, J) rad."""
        return {name: errors.clone() for name, errors in self._errors.items()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._errors = {name: errors.to(self._device, copy=True) for name, errors in state.items()}
