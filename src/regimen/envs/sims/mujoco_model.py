"""Base class of simulators of a compiled MuJoCo model: names, readings, quantities that differ per robot, pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from regimen.envs.robots.model_check import compile_model
from regimen.envs.sims.mujoco_quantities import ModelFields, MujocoQuantities
from regimen.envs.sims.world import WorldState
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import mujoco

    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.pose_renderer import PoseRenderer
    from regimen.envs.terrain.height_field import HeightField


class ModelWorldCfg(Protocol):
    """Settings of a simulator of a MuJoCo model: physics step in s, width and height of an image in pixels."""

    dt: float
    render_size: tuple[int, int]


class MujocoModelWorld(ABC):
    """N copies of one robot by its MuJoCo model. See `regimen.envs.sims.world.World` for the meaning of each method.

    A simulator opens its copies after `__init__` and hands them to `_bind`.

    Attributes:
        model: compiled, with motors in place of the servos of `torque_joints`.
    """

    def __init__(
        self,
        cfg: ModelWorldCfg,
        robot: Robot,
        num_envs: int,
        ground: HeightField | None,
        torque_joints: Sequence[str],
    ) -> None:
        """Compile the robot's MJCF; the arguments are those of the simulator."""
        self.num_envs, self.dt = num_envs, cfg.dt
        self.model = compile_model(robot, cfg.dt, ground)
        self.joints, self.torque_joints = list(robot.joints), list(torque_joints)
        motors = [self.joints.index(joint) for joint in self.torque_joints]
        make_motors(self.model, motors)
        self.bodies = [n.removeprefix("contact_") for n in sensor_names(self.model, "contact_")]
        self.sites = [n.removeprefix("pos_") for n in sensor_names(self.model, "pos_")]
        self._base = self.model.body(robot.base_body).id
        self._floating = robot.floating_base
        self._q0, self._v0 = (7, 6) if self._floating else (0, 0)
        self._joint_ids = np.arange(self.model.njnt)[-len(self.joints) :]
        self._servo_list = [column for column in range(len(self.joints)) if column not in motors]
        self._motors, self._servos = (as_columns(columns) for columns in (motors, self._servo_list))
        self._robot, self._ground, self._render_size = robot, ground, cfg.render_size
        self._renderer: PoseRenderer | None = None

    def _bind(self, fields: ModelFields) -> None:
        """Find what is read and changed in the copies, whose model has `fields`."""
        model, self.device = self.model, fields.device
        self.joint_range = torch.from_numpy(model.jnt_range[self._joint_ids].copy()).float().to(self.device)
        self._base_column = torch.tensor([self._base - 1], device=self.device)
        self._contact_columns, self._pos_columns, self._vel_columns = (
            on_device(sensor_columns(model, [f"{kind}_{name}" for name in names]), self.device)
            for kind, names in (("contact", self.bodies), ("pos", self.sites), ("vel", self.sites))
        )
        self._quantities = MujocoQuantities(model, fields, self.joints, self._joint_ids, self._servo_list)

    def _reading(
        self,
        qpos: torch.Tensor,
        qvel: torch.Tensor,
        qacc: torch.Tensor,
        force: torch.Tensor,
        sensors: torch.Tensor,
        gravity: torch.Tensor | None,
    ) -> WorldState:
        """Return a state from fresh float32 rows of n robots: (n, nq), (n, nv), (n, nv), (n, nu), (n, sensordata)."""
        n, sites, q0, v0 = len(qpos), len(self.sites), self._q0, self._v0
        contact = sensors[:, self._contact_columns].reshape(n, len(self.bodies), 4)
        root = (qpos[:, :3], qpos[:, 3:7], qvel[:, :3], qvel[:, 3:6]) if self._floating else self._fixed_root(n)
        return WorldState(
            joint_pos=qpos[:, q0:],
            joint_vel=qvel[:, v0:],
            joint_acc=qacc[:, v0:],
            joint_torque=force,
            root_pos=root[0],
            root_quat=root[1],
            root_lin_vel=root[2],
            root_ang_vel=root[3],
            # Contact sensors report (found, force xyz); without contact the force is zero.
            contact_force=torch.linalg.vector_norm(contact[..., 1:], dim=-1),
            site_pos=sensors[:, self._pos_columns].reshape(n, sites, 3),
            site_vel=sensors[:, self._vel_columns].reshape(n, sites, 3),
            gravity=gravity,
        )

    def _fixed_root(self, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        zeros = torch.zeros(3, n, 3, device=self.device)
        quat = torch.zeros(n, 4, device=self.device)
        quat[:, 0] = 1.0
        return zeros[0], quat, zeros[1], zeros[2]

    def effort_limits(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Return the largest absolute torque (n, J) in N·m."""
        return self._quantities.torque_limits(env_ids)

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Impose a largest absolute torque (n, J) in N·m, NaN for none."""
        self._quantities.impose_torque_limits(env_ids, limits)

    def set_gains(self, env_ids: torch.Tensor, stiffness: torch.Tensor, damping: torch.Tensor) -> None:
        """Set position gains (n, J) in N·m/rad and velocity gains (n, J) in N·m·s/rad."""
        self._quantities.set_servos("stiffness", env_ids, stiffness)
        self._quantities.set_servos("damping", env_ids, damping)

    def set_joint_ranges(self, env_ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Impose joint ranges (n, J, 2) in rad, NaN for none."""
        self._quantities.impose_ranges(env_ids, ranges)

    def add_base_mass(self, env_ids: torch.Tensor, delta: torch.Tensor) -> None:
        """Set the mass of the base to nominal plus `delta` (n,) kg, its inertia scaled alike."""
        mass = float(self.model.body_mass[self._base]) + delta.double()
        self._quantities.set("body_mass", env_ids, self._base_column, mass[:, None])

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

    def push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        """Add (n, 6) to the base velocity."""
        if not self._floating:
            raise ConfigError("push_by_setting_velocity: this robot's base is fixed; switch the event off with null.")
        self._push(env_ids, velocity)

    @abstractmethod
    def _push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        """Add (n, 6) to the velocity of a base that floats."""

    def render(self, env_id: int) -> np.ndarray:
        """Return an image (H, W, 3) uint8 of one robot, drawn by MuJoCo's renderer."""
        from regimen.envs.sims.pose_renderer import PoseRenderer

        if self._renderer is None:
            self._renderer = PoseRenderer(self._robot, self.model, self._render_size, self._ground)
        return self._renderer.render(self._pose(env_id))

    @abstractmethod
    def _pose(self, env_id: int) -> np.ndarray:
        """Return the positions (nq,) float64 of one robot."""

    def close(self) -> None:
        """Free the renderer; the copies are freed with the object."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def on_device(columns: slice | np.ndarray | torch.Tensor, device: torch.device) -> slice | torch.Tensor:
    """Return an index of columns for tensors of a device."""
    return columns if isinstance(columns, slice) else torch.as_tensor(columns, device=device)


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


def sensor_names(model: mujoco.MjModel, prefix: str) -> list[str]:
    """Return the names of the sensors that begin with `prefix`, in the order of the model."""
    names = [model.sensor(i).name for i in range(model.nsensor)]
    return [n for n in names if n.startswith(prefix)]


def sensor_columns(model: mujoco.MjModel, names: list[str]) -> slice | np.ndarray:
    """Return the columns of `sensordata` that hold the named sensors, in order; a slice, so a view, if they adjoin."""
    spans = [(int(model.sensor(n).adr[0]), int(model.sensor(n).dim[0])) for n in names]
    return as_columns([c for start, size in spans for c in range(start, start + size)])
