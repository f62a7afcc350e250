"""`JointGroup` and `Actuator`: what the model of an actuator gets, and what it has to offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from regimen.envs.actuators.settings import numbers

if TYPE_CHECKING:
    from regimen.envs.robots.robot import Robot


@dataclass(frozen=True)
class JointGroup:
    """The joints of an actuator, K of them, in each of N robots.

    Attributes:
        joints: names, in the robot's order.
        num_envs: N.
        device: torch device of every tensor.
        dt: physics step in seconds.
        robot: gains and limits of its joints are the defaults of an actuator.
    """

    joints: tuple[str, ...]
    num_envs: int
    device: torch.device
    dt: float
    robot: Robot

    def rows(self, name: str, given: float | Mapping[str, float] | None) -> torch.Tensor:
        """Return a parameter with one number for each joint as (N, K) float32, a row for each robot.

        Args:
            name: one of `regimen.envs.actuators.settings.NUMBERS`.
            given: a number, or numbers by regular expression of the joint's name; what is not given is the robot's.

        Raises:
            ConfigError: see `regimen.envs.actuators.settings.numbers`.
        """
        return torch.tensor(numbers(name, given, self.joints, self.robot), device=self.device).repeat(self.num_envs, 1)


class Actuator(Protocol):
    """A model of the motors of a group of joints. A class `X` is made by `X(group, **params)`, of the task's `params`.

    Tensors and plain numbers that it holds as attributes are saved and restored with the environment. Random numbers
    are not drawn: the delay of targets is a setting of every actuator.

    Attributes:
        quantities: (N, K) by name, changed in place by events: `stiffness`, `damping` and `torque_limit` are those of
            `regimen.envs.sims.quantities`; `motor_strength` is a factor of all of them. They are saved, too.
    """

    quantities: dict[str, torch.Tensor]

    def torque(self, target: torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Return the torque (N, K) in N·m for the next physics step, within the limits; called once for each.

        Args:
            target: (N, K) rad, after the delay.
            position: (N, K) rad, at the beginning of the physics step.
            velocity: (N, K) rad/s, likewise.
        """
        ...

    def reset(self, env_ids: torch.Tensor) -> None:
        """Set back the state of the robots `env_ids` (n,), whose next episode begins."""
        ...
