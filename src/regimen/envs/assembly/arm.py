"""The arm of an assembly task, for the endpoints of a robot server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from regimen.envs.assembly.config import STEP_M, STEP_RAD
from regimen.envs.assembly.reading import to_quaternion
from regimen.envs.assembly.scene import NOMINAL_PLACE
from regimen.envs.robot_arm import RobotReading
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mujoco.batch import Batch

    from regimen.envs.assembly.reading import Reading
    from regimen.envs.assembly.scene import Scene

MOST_WIDTH_M = 0.08
STEP_WIDTH_M = 0.02

GAINS = {
    "translational_stiffness": (slice(0, 3), 1),
    "translational_damping": (slice(0, 3), 2),
    "rotational_stiffness": (slice(3, 6), 1),
    "rotational_damping": (slice(3, 6), 2),
}
"""Parameter of the controller -> actuators of panda.xml, and the column of their bias."""

WITHOUT_EFFECT = ("translational_Ki", "rotational_Ki", "translational_clip_", "rotational_clip_", "joint1_nullspace_")
"""Beginnings of the names of parameters that a Franka's controller has and this one has not."""


class ArmEnv(Protocol):
    """What the arm reads and moves: the part of `regimen.envs.assembly.env.AssemblyEnv`, with one env."""

    scene: Scene
    batch: Batch
    reading: Reading

    @property
    def targets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Targets of the controller: place (N, 3), rotation (N, 3), opening (N,)."""
        ...

    def advance(self, action: np.ndarray) -> np.ndarray:
        """Move the targets by actions (N, 7) within ±1 and advance the physics by one step."""
        ...

    def reset(self, seed: int | None = None) -> Any:
        """Begin an episode."""
        ...


class AssemblyArm:
    """The arm of env 0. See `regimen.envs.robot_arm.RobotArm`.

    A target moves towards a pose by 1 cm and 0.06 rad a step and within the safety box, as by the actions of the task.
    """

    def __init__(self, env: ArmEnv) -> None:
        """Take an env."""
        self._env = env
        self._hand = env.scene.model.body("hand").id

    def reading(self) -> RobotReading:
        """Return the present state."""
        measured, batch, only = self._env.reading, self._env.batch, np.zeros(1, dtype=np.int64)
        w, x, y, z = to_quaternion(measured.rotation[:1])[0]
        place = NOMINAL_PLACE + measured.position[:1]
        jacobian = np.concatenate(batch.jac(self._hand, place, ids=only), 1)[0, :, :7]
        return RobotReading(
            pose=[*place[0].tolist(), float(w), float(-z), float(y), float(-x)],  # half a turn about x, then `rotation`
            vel=measured.motion[0].tolist(),
            force=measured.wrench[0, :3].tolist(),
            torque=measured.wrench[0, 3:].tolist(),
            q=batch.bind("qpos")[0, :7].tolist(),
            dq=batch.bind("qvel")[0, :7].tolist(),
            jacobian=jacobian.tolist(),
            gripper_pos=float(measured.opening[0, 0] * 2 / MOST_WIDTH_M),
        )

    def move_to(self, pose: list[float]) -> None:
        """Move towards a pose for one step: position in m and quaternion x y z w."""
        x, y, z, w = pose[3:]
        turn = np.array([x, -w, z, -y], dtype=np.float64)  # from the pose that looks down, w first
        turn *= np.copysign(1.0, turn[0])
        size = np.linalg.norm(turn[1:])
        rotation = turn[1:] / max(float(size), 1e-12) * 2 * np.arctan2(size, turn[0])
        place, present, _ = self._env.targets
        move = (np.array(pose[:3]) - NOMINAL_PLACE - place[0]) / STEP_M
        self._advance([*move, *(rotation - present[0]) / STEP_RAD, 0.0])

    def move_gripper(self, width: float) -> None:
        """Set the distance between the fingers in m, at 2 cm a step."""
        width, action = min(max(width, 0.0), MOST_WIDTH_M), np.inf
        while abs(action) > 1.0:
            action = (width - 2 * float(self._env.targets[2][0])) / STEP_WIDTH_M
            self._advance([0.0] * 6 + [action])

    def reset(self) -> None:
        """Begin another episode."""
        self._env.reset()

    def set_impedance(self, parameters: dict[str, float]) -> None:
        """Set stiffness in N/m and N·m/rad, damping in N·s/m and N·m·s/rad; other names of a Franka have no effect.

        Raises:
            ConfigError: a name that the controller of a Franka does not have either.
        """
        known = {name for name in parameters if name in GAINS or name.startswith(WITHOUT_EFFECT)}
        if unknown := sorted(parameters.keys() - known):
            raise ConfigError(f"`{unknown[0]}` is no parameter of the controller. {did_you_mean(unknown[0], GAINS)}")
        for name in parameters.keys() & GAINS.keys():
            actuators, column = GAINS[name]
            self._env.batch.expand("actuator_biasprm")[0, actuators, column] = -parameters[name]
            if column == 1:
                self._env.batch.expand("actuator_gainprm")[0, actuators, 0] = parameters[name]

    def _advance(self, action: list[float]) -> None:
        self._env.advance(np.array([action]).clip(-1.0, 1.0))
