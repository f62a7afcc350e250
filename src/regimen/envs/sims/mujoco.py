"""MuJoCo behind the World seam: one `mujoco.batch.Batch` for all robots of a process.

Batch state rows are float64 numpy arrays; `read` copies them once into float32 tensors. Derived quantities (sensors,
actuator forces) are one physics step behind the state, as after `mj_step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from regimen.envs.sims.mujoco_model import MujocoModelWorld

if TYPE_CHECKING:
    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.world import WorldState
    from regimen.envs.terrain.height_field import HeightField
    from regimen.runs.checkpoint_header import StateDict


@dataclass
class MujocoWorldCfg:
    """The embedded default simulator, on the CPU.

    Attributes:
        dt: physics step in seconds.
        render_size: width and height of an image in pixels.
    """

    MUJOCO: ClassVar[bool] = True
    TERRAIN: ClassVar[bool] = True
    RANDOMIZES: ClassVar[bool] = True
    TORQUES: ClassVar[bool] = True
    DETERMINISM: ClassVar[dict[str, str]] = {"cpu": "bit"}
    _target_: str = "regimen.envs.sims.mujoco.MujocoWorld"
    dt: float = field(default=0.005, metadata={"above": 0})
    render_size: tuple[int, int] = field(default=(640, 480), metadata={"least": 16, "most": 8192})

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of the batch: 16 arrays of float64 with a value for each degree of freedom.

        These are state, targets, forces, expanded fields and outputs of N robots.
        """
        return 8 * num_envs * (16 * (action + 6) + 30)


class MujocoWorld(MujocoModelWorld):
    """N copies of one robot in one `Batch`. See `regimen.envs.sims.world.World` for the meaning of each method."""

    def __init__(
        self,
        cfg: MujocoWorldCfg,
        robot: Robot,
        num_envs: int,
        threads: int,
        ground: HeightField | None = None,
        torque_joints: Sequence[str] = (),
    ) -> None:
        """Compile the robot's MJCF and allocate the batch.

        Args:
            cfg: the `sim` group.
            robot: names, gains and the MJCF.
            num_envs: N.
            threads: physics threads; results do not depend on it.
            ground: heights that take the place of the floor of the MJCF; None leaves it as it is.
            torque_joints: joints whose servo gives way to a motor that applies a torque.
        """
        from mujoco.batch import Batch

        super().__init__(cfg, robot, num_envs, ground, torque_joints)
        self.batch = Batch(self.model, num_envs, max(1, threads))
        bind = self.batch.bind
        self._qpos, self._qvel, self._ctrl = bind("qpos"), bind("qvel"), bind("ctrl")
        self._warmstart, self._time, self._wrench = bind("qacc_warmstart"), bind("time"), bind("xfrc_applied")
        self._qacc, self._force, self._sensors = bind("qacc"), bind("actuator_force"), bind("sensordata")
        self._joint_pos = torch.from_numpy(self._qpos[:, self._q0 :])
        self._joint_vel = torch.from_numpy(self._qvel[:, self._v0 :])
        # Derived fields bound after construction are zero until a call computes them.
        self.batch.forward()
        self._bind(_BatchFields(self.batch, num_envs))

    def read(self, env_ids: torch.Tensor | None = None) -> WorldState:
        """Return the present state of all robots or of `env_ids` (n,) as fresh float32 tensors."""
        rows = slice(None) if env_ids is None else env_ids.numpy()
        gravity = self._quantities.gravity
        return self._reading(
            qpos=_tensor(self._qpos[rows]),
            qvel=_tensor(self._qvel[rows]),
            qacc=_tensor(self._qacc[rows]),
            force=_tensor(self._force[rows]),
            sensors=_tensor(self._sensors[rows]),
            gravity=None if gravity is None else gravity[rows].float(),
        )

    def set_joint_targets(self, targets: torch.Tensor) -> None:
        """Set position targets (N, J) in rad."""
        self._ctrl[:, self._servos] = targets.numpy()[:, self._servos]

    def joint_state(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions (N, J) in rad and velocities (N, J) in rad/s, copied as float32."""
        return self._joint_pos.float(), self._joint_vel.float()

    def set_joint_torques(self, torques: torch.Tensor) -> None:
        """Set torques (N, K) in N·m of `torque_joints`."""
        self._ctrl[:, self._motors] = torques.numpy()

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all robots; return (N,) bool, true where MuJoCo met a bad number and reset the robot itself."""
        # Rows 3 to 6: bad position, velocity, acceleration, control; column 1 counts, and starts over when MuJoCo
        # resets a robot, so it is cleared before and read after.
        self._quantities.derive()
        self.batch.warning[:, 3:7] = 0
        self.batch.step(nstep=substeps)
        return torch.from_numpy(self.batch.warning[:, 3:7, 1].sum(axis=1) > 0)

    def reset(
        self,
        env_ids: torch.Tensor,
        root_pose: torch.Tensor,
        root_vel: torch.Tensor,
        joint_pos: torch.Tensor,
        joint_vel: torch.Tensor,
    ) -> None:
        """Put the robots `env_ids` (n,) into a state, with fresh sensors and no memory of the solver."""
        ids = env_ids.numpy()
        self._quantities.derive()
        if self._floating:
            self._qpos[ids, :7], self._qvel[ids, :6] = root_pose.numpy(), root_vel.numpy()
        self._qpos[ids, self._q0 :], self._qvel[ids, self._v0 :] = joint_pos.numpy(), joint_vel.numpy()
        self._ctrl[ids] = joint_pos.numpy()
        if self.torque_joints:
            self._ctrl[np.ix_(ids, np.arange(len(self.joints))[self._motors])] = 0.0
        self._warmstart[ids], self._time[ids], self._wrench[ids] = 0.0, 0.0, 0.0
        self.batch.forward(ids=ids)

    def add_wrench(self, env_ids: torch.Tensor, columns: torch.Tensor, wrench: torch.Tensor) -> None:
        """Add wrenches (n, k, 6) on bodies, the columns (k,) of `names_of("body_mass")`, of the robots `env_ids`."""
        bodies = columns.numpy() + 1  # the world is body 0
        self._wrench[np.ix_(env_ids.numpy(), bodies)] += wrench.numpy()

    def _push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        self._qvel[env_ids.numpy(), :6] += velocity.numpy()

    def _pose(self, env_id: int) -> np.ndarray:
        return self._qpos[env_id]

    def state_dict(self) -> StateDict:
        """Return state rows and changed model fields as tensors."""
        return {"rows": torch.from_numpy(self.batch.state.copy()), **self._quantities.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; fields expanded since then go back to the model's values.

        Derived outputs are not part of it: they hold the last call's until the next step, and the environment keeps the
        reading it made.
        """
        self._quantities.load_state_dict(state)
        self.batch.state[:] = state["rows"].numpy()


class _BatchFields:
    """The model fields of a batch as float64 tensors, without a copy. See `ModelFields`."""

    def __init__(self, batch: Any, num_envs: int) -> None:
        self.num_envs, self.device = num_envs, torch.device("cpu")
        self._batch = batch

    def expand(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self._batch.expand(name))

    def expanded(self, name: str) -> torch.Tensor | None:
        return None if self._batch.expanded(name) is None else self.expand(name)  # `expanded` is read-only

    def derive(self, changed: torch.Tensor) -> None:
        self._batch.set_const(changed.nonzero().squeeze(1).numpy())


def _tensor(array: np.ndarray) -> torch.Tensor:
    """Copy a float64 array, which may be read-only, into a float32 tensor."""
    return torch.from_numpy(array.astype(np.float32))
