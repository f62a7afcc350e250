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

from regimen.envs.robots.model_check import compile_model
from regimen.envs.sims.mujoco_quantities import MujocoQuantities
from regimen.envs.sims.world import WorldState
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import mujoco

    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.pose_renderer import PoseRenderer
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
    dt: float = 0.005
    render_size: tuple[int, int] = field(default=(640, 480), metadata={"least": 16, "most": 8192})

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of the batch: 16 arrays of float64 with a value for each degree of freedom.

        These are state, targets, forces, expanded fields and outputs of N robots.
        """
        return 8 * num_envs * (16 * (action + 6) + 30)


class MujocoWorld:
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

        self.cfg, self.num_envs, self.device, self.dt = cfg, num_envs, torch.device("cpu"), cfg.dt
        self.model = compile_model(robot, cfg.dt, ground)
        self.joints, self.torque_joints = list(robot.joints), list(torque_joints)
        motors = [self.joints.index(joint) for joint in self.torque_joints]
        make_motors(self.model, motors)
        self.batch = Batch(self.model, num_envs, max(1, threads))
        self.bodies = [n.removeprefix("contact_") for n in sensor_names(self.model, "contact_")]
        self.sites = [n.removeprefix("pos_") for n in sensor_names(self.model, "pos_")]
        self._base = self.model.body(robot.base_body).id
        self._floating = robot.floating_base
        self._q0, self._v0 = (7, 6) if self._floating else (0, 0)
        self._joint_ids = np.arange(self.model.njnt)[-len(self.joints) :]
        self.joint_range = torch.from_numpy(self.model.jnt_range[self._joint_ids].copy()).float()
        servos = [column for column in range(len(self.joints)) if column not in motors]
        self._motors, self._servos = (as_columns(columns) for columns in (motors, servos))
        self._bind()
        self._quantities = MujocoQuantities(
            self.model, _BatchFields(self.batch, num_envs), self.joints, self._joint_ids, servos
        )
        self._robot, self._ground = robot, ground
        self._renderer: PoseRenderer | None = None

    def _bind(self) -> None:
        bind = self.batch.bind
        self._qpos, self._qvel, self._ctrl = bind("qpos"), bind("qvel"), bind("ctrl")
        self._warmstart, self._time, self._wrench = bind("qacc_warmstart"), bind("time"), bind("xfrc_applied")
        self._qacc, self._force, self._sensors = bind("qacc"), bind("actuator_force"), bind("sensordata")
        self._contact_columns = sensor_columns(self.model, [f"contact_{b}" for b in self.bodies])
        self._pos_columns = sensor_columns(self.model, [f"pos_{s}" for s in self.sites])
        self._vel_columns = sensor_columns(self.model, [f"vel_{s}" for s in self.sites])
        self._joint_pos = torch.from_numpy(self._qpos[:, self._q0 :])
        self._joint_vel = torch.from_numpy(self._qvel[:, self._v0 :])
        # Derived fields bound after construction are zero until a call computes them.
        self.batch.forward()

    def read(self, env_ids: torch.Tensor | None = None) -> WorldState:
        """Return the present state of all robots or of `env_ids` (n,) as fresh float32 tensors."""
        rows = slice(None) if env_ids is None else env_ids.numpy()
        qpos, qvel, sensors = _tensor(self._qpos[rows]), _tensor(self._qvel[rows]), _tensor(self._sensors[rows])
        n, sites = len(qpos), len(self.sites)
        contact = sensors[:, self._contact_columns].reshape(n, len(self.bodies), 4)
        q0, v0 = self._q0, self._v0
        root = (qpos[:, :3], qpos[:, 3:7], qvel[:, :3], qvel[:, 3:6]) if self._floating else _fixed_root(n)
        return WorldState(
            joint_pos=qpos[:, q0:],
            joint_vel=qvel[:, v0:],
            joint_acc=_tensor(self._qacc[rows])[:, v0:],
            joint_torque=_tensor(self._force[rows]),
            root_pos=root[0],
            root_quat=root[1],
            root_lin_vel=root[2],
            root_ang_vel=root[3],
            # Contact sensors report (found, force xyz); without contact the force is zero.
            contact_force=torch.linalg.vector_norm(contact[..., 1:], dim=-1),
            site_pos=sensors[:, self._pos_columns].reshape(n, sites, 3),
            site_vel=sensors[:, self._vel_columns].reshape(n, sites, 3),
            gravity=None if self._quantities.gravity is None else self._quantities.gravity[rows].float(),
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

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Set the largest absolute torque (n, J) in N·m."""
        self._quantities.set_servos("torque_limit", env_ids, limits)

    def set_gains(self, env_ids: torch.Tensor, stiffness: torch.Tensor, damping: torch.Tensor) -> None:
        """Set position gains (n, J) in N·m/rad and velocity gains (n, J) in N·m·s/rad."""
        self._quantities.set_servos("stiffness", env_ids, stiffness)
        self._quantities.set_servos("damping", env_ids, damping)

    def set_joint_ranges(self, env_ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Set the joint ranges (n, J, 2) in rad."""
        self.batch.expand("jnt_range")[np.ix_(env_ids.numpy(), self._joint_ids)] = ranges.numpy()

    def add_base_mass(self, env_ids: torch.Tensor, delta: torch.Tensor) -> None:
        """Set the mass of the base to nominal plus `delta` (n,) kg, its inertia scaled alike."""
        mass = float(self.model.body_mass[self._base]) + delta.double()
        self._quantities.set("body_mass", env_ids, torch.tensor([self._base - 1]), mass[:, None])

    def set_friction(self, env_ids: torch.Tensor, friction: torch.Tensor) -> None:
        """Set the sliding friction (n,) of floor and robot: a contact takes the larger of the two."""
        self._quantities.set_friction(env_ids, slice(None), friction[:, None])

    def names_of(self, quantity: str) -> list[str]:
        """Return the names of the bodies, joints or shapes that have a quantity."""
        return self._quantities.names(quantity)

    def nominal(self, quantity: str) -> torch.Tensor:
        """Return the values of a quantity in the model, (K,) float64 in the order of `names_of`."""
        return self._quantities.nominal(quantity)

    def set_quantity(self, quantity: str, env_ids: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> None:
        """Set a quantity of the robots `env_ids` (n,): the columns (k,) of `names_of` to values (n, k)."""
        self._quantities.set(quantity, env_ids, columns, values)

    def add_wrench(self, env_ids: torch.Tensor, columns: torch.Tensor, wrench: torch.Tensor) -> None:
        """Add wrenches (n, k, 6) on bodies, the columns (k,) of `names_of("body_mass")`, of the robots `env_ids`."""
        bodies = columns.numpy() + 1  # the world is body 0
        self._wrench[np.ix_(env_ids.numpy(), bodies)] += wrench.numpy()

    def push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        """Add (n, 6) to the base velocity."""
        if not self._floating:
            raise ConfigError("push_by_setting_velocity: this robot's base is fixed; switch the event off with null.")
        self._qvel[env_ids.numpy(), :6] += velocity.numpy()

    def render(self, env_id: int) -> np.ndarray:
        """Return an image (H, W, 3) uint8 of one robot."""
        from regimen.envs.sims.pose_renderer import PoseRenderer

        if self._renderer is None:
            self._renderer = PoseRenderer(self._robot, self.model, self.cfg.render_size, self._ground)
        return self._renderer.render(self._qpos[env_id])

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

    def close(self) -> None:
        """Free the renderer; the batch is freed with the object."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


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


def make_motors(model: mujoco.MjModel, actuators: list[int]) -> None:
    """Turn position servos of a model into motors: the control is a torque in N·m, which nothing cuts off."""
    import mujoco

    model.actuator_gainprm[actuators, 0] = 1.0
    model.actuator_biastype[actuators] = mujoco.mjtBias.mjBIAS_NONE
    model.actuator_biasprm[actuators] = 0.0
    model.actuator_ctrllimited[actuators] = False
    model.actuator_forcelimited[actuators] = False
    model.jnt_actfrclimited[model.actuator_trnid[actuators, 0]] = False


def as_columns(columns: list[int]) -> slice | np.ndarray:
    """Return an index of columns: a slice, which is a view, where they are consecutive."""
    if not columns:
        return slice(0, 0)
    consecutive = columns == list(range(columns[0], columns[-1] + 1))
    return slice(columns[0], columns[-1] + 1) if consecutive else np.array(columns)


def _tensor(array: np.ndarray) -> torch.Tensor:
    """Copy a float64 array, which may be read-only, into a float32 tensor."""
    return torch.from_numpy(array.astype(np.float32))


def sensor_names(model: mujoco.MjModel, prefix: str) -> list[str]:
    """Return the names of the sensors that begin with `prefix`, in the order of the model."""
    names = [model.sensor(i).name for i in range(model.nsensor)]
    return [n for n in names if n.startswith(prefix)]


def sensor_columns(model: mujoco.MjModel, names: list[str]) -> torch.Tensor | slice:
    """Return the columns of `sensordata` that hold the named sensors, in order; a slice, so a view, if they adjoin."""
    spans = [(int(model.sensor(n).adr[0]), int(model.sensor(n).dim[0])) for n in names]
    columns = [c for start, size in spans for c in range(start, start + size)]
    if columns and columns == list(range(columns[0], columns[-1] + 1)):
        return slice(columns[0], columns[-1] + 1)
    return torch.tensor(columns, dtype=torch.long)


def _fixed_root(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    quat = torch.zeros(n, 4)
    quat[:, 0] = 1.0
    return torch.zeros(n, 3), quat, torch.zeros(n, 3), torch.zeros(n, 3)
