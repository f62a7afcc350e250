"""Gains and torque limits of motors that differ between robots: drawn values, their common factor, and faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict

GAINS = ("stiffness", "damping", "torque_limit")
"""Quantities of a motor that `randomize` draws by their own name."""

LIMIT = "torque_limit"

STRENGTH = "motor_strength"
"""Quantity that is a factor of all others of a motor."""


class MotorParameters:
    """Parameters of K motors in each of N robots, in float64, so that none of them is rounded twice.

    A parameter that acts is the motor's own value times its strength, in whatever order the two are drawn. A torque
    limit that is imposed takes the place of this product until it is removed.
    """

    def __init__(self, nominal: Mapping[str, torch.Tensor], num_envs: int) -> None:
        """Begin with the values of the model.

        Args:
            nominal: parameter -> (K,), one or more.
            num_envs: N.
        """
        self._own = {name: values.double().repeat(num_envs, 1) for name, values in nominal.items()}
        like = next(iter(self._own.values()))
        self._strength, self._imposed = torch.ones_like(like), torch.full_like(like, torch.nan)

    def set(self, quantity: str, at: tuple[torch.Tensor, ...], values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Set a parameter, or the strength.

        Args:
            quantity: a parameter, or `STRENGTH`; one that the motors lack is ignored.
            at: index of robots and motors.
            values: for this index.

        Returns:
            parameter -> what acts at the index, for each parameter that has changed.
        """
        if quantity == STRENGTH:
            self._strength[at] = values.double()
            return {name: self._acting(name, at) for name in self._own}
        if quantity not in self._own:
            return {}
        self._own[quantity][at] = values.double()
        return {quantity: self._acting(quantity, at)}

    def impose(self, at: tuple[torch.Tensor, ...], limits: torch.Tensor) -> dict[str, torch.Tensor]:
        """Impose torque limits, NaN for none; return what acts, see `set`."""
        if LIMIT not in self._own:
            return {}
        self._imposed[at] = limits.double()
        return {LIMIT: self._acting(LIMIT, at)}

    def _acting(self, name: str, at: tuple[torch.Tensor, ...]) -> torch.Tensor:
        product = self._own[name][at] * self._strength[at]
        if name != LIMIT:
            return product
        imposed = self._imposed[at]
        return torch.where(imposed.isnan(), product, imposed)

    def state_dict(self) -> StateDict:
        """Return all tensors."""
        return {name: values.clone() for name, values in self._tensors().items()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        for name, values in self._tensors().items():
            values.copy_(state[name])

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {**{f"own.{n}": v for n, v in self._own.items()}, "strength": self._strength, "imposed": self._imposed}
