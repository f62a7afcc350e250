"""MuJoCo Warp as a `World`: the models of `sim=mujoco` in float32, thousands of robots on one GPU.

MuJoCo Warp is an optional extra (`make mujoco_warp`), imported when the world is opened. All tensors are on the device
of the physics and share their memory with Warp's arrays; `step`, `read` and the changes of robots copy nothing to the
host. Derived quantities (sensors, actuator forces) are one physics step behind the state, as in MuJoCo.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.envs.robots.model_check import compile_model
from regimen.envs.sims.mujoco import as_columns, make_motors, sensor_columns, sensor_names
from regimen.envs.sims.mujoco_quantities import MujocoQuantities
from regimen.envs.sims.mujoco_warp_config import DRIVER, INSTALL, MujocoWarpWorldCfg
from regimen.envs.sims.world import WorldState
from regimen.system.errors import ConfigError, PreflightError

if TYPE_CHECKING:
    import mujoco

    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.mujoco_warp_batch import WarpBatch
    from regimen.envs.sims.pose_renderer import PoseRenderer
    from regimen.envs.terrain.height_field import HeightField
    from regimen.runs.checkpoint_header import StateDict

STATE = ("qpos", "qvel", "ctrl", "time", "warmstart", "wrench")
"""Tensors of the batch from which the future follows, beside changed fields of the model."""

log = logging.getLogger(__name__)


class MujocoWarpWorld:
    """N copies of one robot. See `regimen.envs.sims.world.World` for the meaning of each method."""

    def __init__(
        self,
        cfg: MujocoWarpWorldCfg,
        robot: Robot,
        num_envs: int,
        threads: int,
        ground: HeightField | None = None,
        torque_joints: Sequence[str] = (),
    ) -> None:
        """Compile the robot's MJCF and put N copies of it on the device.

        Args:
            cfg: the `sim` group.
            robot: names, gains and the MJCF.
            num_envs: N.
            threads: of torch; Warp itself uses one on a CPU.
            ground: heights that take the place of the floor of the MJCF; None leaves it as it is.
            torque_joints: joints whose servo gives way to a motor that applies a torque.

        Raises:
            ConfigError: MuJoCo Warp does not support something in the model.
            PreflightError: MuJoCo Warp is not installed, or finds no GPU.
        """
        self.cfg, self.num_envs, self.dt = cfg, num_envs, cfg.dt
        self.model = compile_model(robot, cfg.dt, ground)
        self.joints, self.torque_joints = list(robot.joints), list(torque_joints)
        motors = [self.joints.index(joint) for joint in self.torque_joints]
        make_motors(self.model, motors)
        self._batch = _open(cfg, robot, self.model, num_envs)
        self.device = self._batch.device
        self.bodies = [n.removeprefix("contact_") for n in sensor_names(self.model, "contact_")]
        self.sites = [n.removeprefix("pos_") for n in sensor_names(self.model, "pos_")]
        self._base = self.model.body(robot.base_body).id
        self._floating = robot.floating_base
        self._q0, self._v0 = (7, 6) if self._floating else (0, 0)
        joint_ids = np.arange(self.model.njnt)[-len(self.joints) :]
        self._joint_ids = torch.from_numpy(joint_ids).to(self.device)
        self.joint_range = torch.from_numpy(self.model.jnt_range[joint_ids].copy()).float().to(self.device)
        servos = [column for column in range(len(self.joints)) if column not in motors]
        self._motors, self._servos = (self._on_device(as_columns(columns)) for columns in (motors, servos))
        self._contact_columns, self._pos_columns, self._vel_columns = (
            self._on_device(sensor_columns(self.model, [f"{kind}_{name}" for name in names]))
            for kind, names in (("contact", self.bodies), ("pos", self.sites), ("vel", self.sites))
        )
        self._quantities = MujocoQuantities(self.model, self._batch, self.joints, joint_ids, servos)
        self._robot, self._ground = robot, ground
        self._renderer: PoseRenderer | None = None
        self._batch.forward(torch.arange(num_envs, device=self.device))

    def _on_device(self, columns: slice | np.ndarray | torch.Tensor) -> slice | torch.Tensor:
        return columns if isinstance(columns, slice) else torch.as_tensor(columns, device=self.device)

    def read(self, env_ids: torch.Tensor | None = None) -> WorldState:
        """Return the present state of all robots or of `env_ids` (n,) as fresh float32 tensors."""

        def rows(values: torch.Tensor) -> torch.Tensor:
            return values.clone() if env_ids is None else values[env_ids]

        batch, q0, v0, gravity = self._batch, self._q0, self._v0, self._quantities.gravity
        qpos, qvel, sensors = rows(batch.qpos), rows(batch.qvel), rows(batch.sensors)
        n, sites = len(qpos), len(self.sites)
        contact = sensors[:, self._contact_columns].reshape(n, len(self.bodies), 4)
        root = (qpos[:, :3], qpos[:, 3:7], qvel[:, :3], qvel[:, 3:6]) if self._floating else self._fixed_root(n)
        return WorldState(
            joint_pos=qpos[:, q0:],
            joint_vel=qvel[:, v0:],
            joint_acc=rows(batch.qacc)[:, v0:],
            joint_torque=rows(batch.force),
            root_pos=root[0],
            root_quat=root[1],
            root_lin_vel=root[2],
            root_ang_vel=root[3],
            # Contact sensors report (found, force xyz); without contact the force is zero.
            contact_force=torch.linalg.vector_norm(contact[..., 1:], dim=-1),
            site_pos=sensors[:, self._pos_columns].reshape(n, sites, 3),
            site_vel=sensors[:, self._vel_columns].reshape(n, sites, 3),
            gravity=None if gravity is None else rows(gravity),
        )

    def _fixed_root(self, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        zeros = torch.zeros(3, n, 3, device=self.device)
        quat = torch.zeros(n, 4, device=self.device)
        quat[:, 0] = 1.0
        return zeros[0], quat, zeros[1], zeros[2]

    def set_joint_targets(self, targets: torch.Tensor) -> None:
        """Set position targets (N, J) in rad."""
        self._batch.ctrl[:, self._servos] = targets[:, self._servos]

    def joint_state(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions (N, J) in rad and velocities (N, J) in rad/s."""
        return self._batch.qpos[:, self._q0 :], self._batch.qvel[:, self._v0 :]

    def set_joint_torques(self, torques: torch.Tensor) -> None:
        """Set torques (N, K) in N·m of `torque_joints`."""
        self._batch.ctrl[:, self._motors] = torques

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all robots; return (N,) bool, true where a number went bad and the robot was reset."""
        self._quantities.derive()
        return self._batch.step(substeps)

    def reset(
        self,
        env_ids: torch.Tensor,
        root_pose: torch.Tensor,
        root_vel: torch.Tensor,
        joint_pos: torch.Tensor,
        joint_vel: torch.Tensor,
    ) -> None:
        """Put the robots `env_ids` (n,) into a state, with fresh sensors and no memory of the solver."""
        batch = self._batch
        self._quantities.derive()
        if self._floating:
            batch.qpos[env_ids, :7], batch.qvel[env_ids, :6] = root_pose, root_vel
        batch.qpos[env_ids, self._q0 :], batch.qvel[env_ids, self._v0 :] = joint_pos, joint_vel
        ctrl = joint_pos.clone()
        ctrl[:, self._motors] = 0.0
        batch.ctrl[env_ids] = ctrl
        batch.warmstart[env_ids], batch.time[env_ids], batch.wrench[env_ids] = 0.0, 0.0, 0.0
        batch.forward(env_ids)

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Set the largest absolute torque (n, J) in N·m."""
        self._quantities.set_servos("torque_limit", env_ids, limits)

    def set_gains(self, env_ids: torch.Tensor, stiffness: torch.Tensor, damping: torch.Tensor) -> None:
        """Set position gains (n, J) in N·m/rad and velocity gains (n, J) in N·m·s/rad."""
        self._quantities.set_servos("stiffness", env_ids, stiffness)
        self._quantities.set_servos("damping", env_ids, damping)

    def set_joint_ranges(self, env_ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Set the joint ranges (n, J, 2) in rad."""
        self._batch.expand("jnt_range")[env_ids[:, None], self._joint_ids] = ranges

    def add_base_mass(self, env_ids: torch.Tensor, delta: torch.Tensor) -> None:
        """Set the mass of the base to nominal plus `delta` (n,) kg, its inertia scaled alike."""
        mass = float(self.model.body_mass[self._base]) + delta.double()
        column = torch.tensor([self._base - 1], device=self.device)
        self._quantities.set("body_mass", env_ids, column, mass[:, None])

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
        at = (env_ids[:, None], columns + 1)  # the world is body 0
        self._batch.wrench[at] += wrench.to(self._batch.wrench.dtype)

    def push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        """Add (n, 6) to the base velocity."""
        if not self._floating:
            raise ConfigError("push_by_setting_velocity: this robot's base is fixed; switch the event off with null.")
        self._batch.qvel[env_ids, :6] += velocity

    def render(self, env_id: int) -> np.ndarray:
        """Return an image (H, W, 3) uint8 of one robot, drawn by MuJoCo's renderer."""
        from regimen.envs.sims.pose_renderer import PoseRenderer

        if self._renderer is None:
            self._renderer = PoseRenderer(self._robot, self.model, self.cfg.render_size, self._ground)
        return self._renderer.render(self._batch.qpos[env_id].cpu().double().numpy())

    def state_dict(self) -> StateDict:
        """Return the state of all robots and changed fields of the model as tensors."""
        self._report_overflow()
        return {name: getattr(self._batch, name).clone() for name in STATE} | self._quantities.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; fields expanded since then go back to the model's values.

        Derived outputs are not part of it: they hold the last call's until the next step, and the environment keeps the
        reading it made.
        """
        self._quantities.load_state_dict(state)
        for name in STATE:
            getattr(self._batch, name).copy_(state[name])

    def close(self) -> None:
        """Free the renderer; the arrays are freed with the object."""
        self._report_overflow()
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _report_overflow(self) -> None:
        """Warn of robots whose contacts or constraints found no room; not in `step`, which waits for no device."""
        rooms = {"nconmax": self.cfg.contacts(), "njmax": self.cfg.rows(len(self.joints))}
        for name, robots in self._batch.overflow().items():
            log.warning(
                "sim.%s: %d of %d robots had more contacts than there is room for, and sank into the ground or through "
                "their joints' ends. Type sim.%s=%d",
                *(name, robots, self.num_envs, name, 2 * rooms[name]),
            )


def _open(cfg: MujocoWarpWorldCfg, robot: Robot, model: mujoco.MjModel, num_envs: int) -> WarpBatch:
    """Return the copies; the first start on a machine compiles kernels."""
    try:
        import warp as wp

        wp.config.log_level = wp.LOG_ERROR  # a warning, for example, that a machine has no GPU
        from regimen.envs.sims.mujoco_warp_batch import WarpBatch
    except ImportError as error:
        raise PreflightError(f"sim=mujoco_warp {INSTALL.format(python=sys.executable)} ({error})") from error
    wp.init()
    if cfg.device.startswith("cuda") and not wp.is_cuda_available():
        raise PreflightError(
            f"sim.device={cfg.device}: Warp finds no GPU with a driver of series {DRIVER} or newer. Use hardware=cpu."
        )
    cache = Path(str(wp.config.kernel_cache_dir))
    if not list(cache.glob("wp_mujoco_warp*")):
        log.warning("MuJoCo Warp compiles its kernels for the first time: some minutes. They are kept in %s", cache)
    try:
        return WarpBatch(model, num_envs, cfg.device, cfg.contacts(), cfg.rows(len(robot.joints)))
    except NotImplementedError as error:
        raise ConfigError(f"sim=mujoco_warp: MuJoCo Warp lacks something in the model {robot.mjcf}: {error}") from error
