"""The arm of a task that is moved by poses of its tool, as a real one behind a robot server is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass
class RobotReading:
    """State of an arm with seven joints and a gripper.

    Attributes:
        pose: position in m and quaternion x y z w of the tool, in the base frame.
        vel: linear velocity in m/s and angular velocity in rad/s of the tool.
        force: N, at the wrist.
        torque: N·m, at the wrist.
        q: joint angles in rad.
        dq: joint velocities in rad/s.
        jacobian: (6, 7), of the tool.
        gripper_pos: opening of the gripper, 0 closed to 1 open.
    """

    pose: list[float]
    vel: list[float]
    force: list[float]
    torque: list[float]
    q: list[float]
    dq: list[float]
    jacobian: list[list[float]]
    gripper_pos: float


class RobotArm(Protocol):
    """The arm of an env. A call that moves it advances the simulation by whole control steps; no episode ends."""

    def reading(self) -> RobotReading:
        """Return the present state."""
        ...

    def move_to(self, pose: list[float]) -> None:
        """Move towards a pose for one control step.

        Args:
            pose: position in m and unit quaternion x y z w, in the base frame.
        """
        ...

    def move_gripper(self, width: float) -> None:
        """Set the distance between the fingers in m, in as many control steps as that takes."""
        ...

    def reset(self) -> None:
        """Begin another episode."""
        ...

    def set_impedance(self, parameters: dict[str, float]) -> None:
        """Change the controller.

        Args:
            parameters: such as `translational_stiffness` in N/m.

        Raises:
            ConfigError: a name that the controller does not have.
        """
        ...


class RobotServerTask(Protocol):
    """An environment whose arm the endpoints of a robot server move."""

    def robot_arm(self) -> RobotArm:
        """Return the arm of env 0."""
        ...
