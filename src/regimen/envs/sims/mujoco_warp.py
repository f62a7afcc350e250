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

from regimen.envs.sims.mujoco_model import MujocoModelWorld, on_device
from regimen.envs.sims.mujoco_warp_config import DRIVER, INSTALL, MujocoWarpWorldCfg
from regimen.system.errors import ConfigError, PreflightError

if TYPE_CHECKING:
    import mujoco

    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.mujoco_warp_batch import WarpBatch
    from regimen.envs.sims.world import WorldState
    from regimen.envs.terrain.height_field import HeightField
    from regimen.runs.checkpoint_header import StateDict

STATE = ("qpos", "qvel", "ctrl", "time", "warmstart", "wrench")
"""Tensors of the batch from which the future follows, beside changed fields of the model."""

log = logging.getLogger(__name__)


class MujocoWarpWorld(MujocoModelWorld):
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
        super().__init__(cfg, robot, num_envs, ground, torque_joints)
        self.cfg = cfg
        self._batch = _open(cfg, robot, self.model, num_envs)
        self._bind(self._batch)
        self._motor_columns, self._servo_columns = (on_device(c, self.device) for c in (self._motors, self._servos))
        self._batch.forward(torch.arange(num_envs, device=self.device))

    def read(self, env_ids: torch.Tensor | None = None) -> WorldState:
        """Return the present state of all robots or of `env_ids` (n,) as fresh float32 tensors."""

        def rows(values: torch.Tensor) -> torch.Tensor:
            return values.clone() if env_ids is None else values[env_ids]

        batch, gravity = self._batch, self._quantities.gravity
        return self._reading(
            qpos=rows(batch.qpos),
            qvel=rows(batch.qvel),
            qacc=rows(batch.qacc),
            force=rows(batch.force),
            sensors=rows(batch.sensors),
            gravity=None if gravity is None else rows(gravity),
        )

    def set_joint_targets(self, targets: torch.Tensor) -> None:
        """Set position targets (N, J) in rad."""
        self._batch.ctrl[:, self._servo_columns] = targets[:, self._servo_columns]

    def joint_state(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions (N, J) in rad and velocities (N, J) in rad/s."""
        return self._batch.qpos[:, self._q0 :], self._batch.qvel[:, self._v0 :]

    def set_joint_torques(self, torques: torch.Tensor) -> None:
        """Set torques (N, K) in N·m of `torque_joints`."""
        self._batch.ctrl[:, self._motor_columns] = torques

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
        ctrl[:, self._motor_columns] = 0.0
        batch.ctrl[env_ids] = ctrl
        batch.warmstart[env_ids], batch.time[env_ids], batch.wrench[env_ids] = 0.0, 0.0, 0.0
        batch.forward(env_ids)

    def add_wrench(self, env_ids: torch.Tensor, columns: torch.Tensor, wrench: torch.Tensor) -> None:
        """Add wrenches (n, k, 6) on bodies, the columns (k,) of `names_of("body_mass")`, of the robots `env_ids`."""
        at = (env_ids[:, None], columns + 1)  # the world is body 0
        self._batch.wrench[at] += wrench.to(self._batch.wrench.dtype)

    def _push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        self._batch.qvel[env_ids, :6] += velocity

    def _pose(self, env_id: int) -> np.ndarray:
        return self._batch.qpos[env_id].cpu().double().numpy()

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
        super().close()

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
