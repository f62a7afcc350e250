"""Isaac Lab's scene on Newton as a `World`: N copies of one of our robots, written as USD from its MJCF.

The state, and what episodes change often, are read and set in Newton's own arrays; gains and masses go through Isaac
Lab's articulation, after which the solver derives its constants again. Newton keeps quaternions as x y z w, and the
velocity of the centre of mass of the base.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from regimen.envs.foreign.output import quiet
from regimen.envs.isaaclab import world_scene
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.envs.isaaclab.world_config import IsaacLabWorldCfg
from regimen.envs.isaaclab.world_state import NewtonArrays
from regimen.envs.robots.model_check import compile_model
from regimen.envs.rotations import rotate
from regimen.envs.sims.world import WorldState
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.pose_renderer import PoseRenderer
    from regimen.envs.terrain.height_field import HeightField
    from regimen.runs.checkpoint_header import StateDict

__all__ = ["IsaacLabWorld", "IsaacLabWorldCfg"]


class IsaacLabWorld:
    """N copies of one robot in one scene. See `regimen.envs.sims.world.World` for the meaning of each method.

    Isaac Lab has one simulation in a process: a second world is opened after the first is closed.
    """

    def __init__(
        self,
        cfg: IsaacLabWorldCfg,
        robot: Robot,
        num_envs: int,
        threads: int,
        ground: HeightField | None = None,
        torque_joints: Sequence[str] = (),
    ) -> None:
        """Build the scene.

        Args:
            cfg: the `sim` group.
            robot: names, gains and the MJCF.
            num_envs: N.
            threads: unused; Newton computes on one thread of the CPU.
            ground: heights in place of a plane.
            torque_joints: joints that are moved by torques.
        """
        self.cfg, self.num_envs, self.dt = cfg, num_envs, cfg.dt
        self.device = torch.device("cuda:0" if cfg.device == "cuda" else cfg.device)
        self.joints, self.torque_joints = list(robot.joints), list(torque_joints)
        self._motors = [self.joints.index(joint) for joint in self.torque_joints]
        self._motor_ids = torch.tensor(self._motors, dtype=torch.long, device=self.device)
        self.model = compile_model(robot)
        outline = world_scene.read_outline(self.model)
        self.bodies, self.sites = list(outline.monitored), list(outline.sites)
        os.environ.setdefault("WARP_CACHE_PATH", str(ISAAC_LAB.cache.expanduser() / "warp"))
        with quiet():
            self._open = world_scene.open_scene(cfg, robot, self.model, num_envs, str(self.device), ground)
        self.scene, self.simulation = self._open.scene, self._open.simulation
        self.articulation = self.scene["robot"]
        self.newton = NewtonArrays(self.simulation, self.articulation, num_envs)
        self._floating = robot.floating_base
        self._q0, self._v0 = (7, 6) if self._floating else (0, 0)
        self._bind(robot, outline)
        self._store_nominal(robot)
        self._robot, self._ground = robot, ground
        self._renderer: PoseRenderer | None = None

    def _bind(self, robot: Robot, outline: world_scene.Outline) -> None:
        names = list(self.articulation.body_names)
        if list(self.articulation.joint_names) != self.joints or not self.newton.in_order:
            own = ", ".join(self.articulation.joint_names)
            raise ConfigError(
                f"sim=isaaclab: the joints of `{robot.name}` are {', '.join(self.joints)}; Newton's are {own}. "
                "List them in that order, in the robot and in its MJCF, or type sim=mujoco."
            )
        self._base = names.index(robot.base_body)
        self._site_bodies = [names.index(body) for body, _ in outline.sites.values()]
        offsets = [offset for _, offset in outline.sites.values()]
        self._site_offset = torch.tensor(offsets, device=self.device).reshape(-1, 3)
        com = self.newton.body_com
        self._base_com = com[self._base].clone()
        self._site_arm = self._site_offset - com[self._site_bodies]
        ranges = self.model.jnt_range[-len(self.joints) :]
        self.joint_range = torch.tensor(ranges, dtype=torch.float32, device=self.device)
        self._sensor = self.scene.sensors.get("contact")
        if self._sensor is not None:
            geoms = [int(name.rpartition("_")[2]) for name in self._sensor.sensor_names]
            belongs = [[float(geom in own) for geom in geoms] for own in outline.monitored.values()]
            self._belongs = torch.tensor(belongs, device=self.device)  # (B, shapes)
            self._forces = self.newton.tensor(self._sensor.contact_view.total_force).view(self.num_envs, len(geoms), 3)

    def _store_nominal(self, robot: Robot) -> None:
        """Store nominal values, and the values that events change."""

        def per_env(values: tuple[float, ...]) -> torch.Tensor:
            return torch.tensor(values, device=self.device).repeat(self.num_envs, 1)

        self._base_mass = self.newton.body_mass[0, self._base].clone()
        self._base_inertia = self.newton.body_inertia[0, self._base].reshape(9).clone()
        self._home = self.newton.q.clone()
        self._targets = per_env(robot.default_joint_pos)
        self._torques = torch.zeros_like(self._targets)  # (N, J), 0 for joints with a servo
        # Robots reset since the last step: their contacts and accelerations are of the state before.
        self._moved = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._effort_limit = torch.tensor(robot.effort_limit, device=self.device)
        self._changed = {
            "stiffness": per_env(robot.stiffness),
            "damping": per_env(robot.damping),
            "effort": per_env(robot.effort_limit),
            "range": self.joint_range.repeat(self.num_envs, 1, 1),
            "load": torch.zeros(self.num_envs, device=self.device),
            "friction": self.newton.friction.clone(),
        }
        for gain in ("stiffness", "damping"):
            self._changed[gain][:, self._motors] = 0.0
        self._apply(self._changed)

    def _apply(self, changed: dict[str, torch.Tensor]) -> None:
        """Set all parameters of all robots, so that the solver derives its constants from them alone."""
        every = torch.arange(self.num_envs, device=self.device)
        self.set_gains(every, changed["stiffness"].clone(), changed["damping"].clone())
        self.set_effort_limits(every, changed["effort"].clone())
        self.set_joint_ranges(every, changed["range"].clone())
        self.add_base_mass(every, changed["load"].clone())
        self._set_frictions(every, changed["friction"].clone())

    def read(self, env_ids: torch.Tensor | None = None) -> WorldState:
        """Return the present state of all robots or of `env_ids` (n,) as fresh float32 tensors."""
        rows = slice(None) if env_ids is None else env_ids
        newton, own = self.newton, self._site_bodies
        newton.complete()
        q, qd, moved = newton.q[rows].clone(), newton.qd[rows].clone(), self._moved[rows, None]
        pose, velocity = newton.body_q[rows][:, own], newton.body_qd[rows][:, own]
        turn = _wxyz(pose[..., 3:])
        root = self._root(q, qd)
        joint_pos, joint_vel = q[:, self._q0 :], qd[:, self._v0 :]
        torque = torch.where(moved, self._servo(rows, joint_pos, joint_vel), newton.torque[rows][:, self._v0 :])
        torque = torque + self._torques[rows] if self._motors else torque
        return WorldState(
            joint_pos=joint_pos,
            joint_vel=joint_vel,
            joint_acc=torch.where(moved, 0.0, newton.acceleration[rows][:, self._v0 :]),
            joint_torque=torque,
            root_pos=root[0],
            root_quat=root[1],
            root_lin_vel=root[2],
            root_ang_vel=root[3],
            contact_force=torch.where(moved, 0.0, self._contact(rows, len(q))),
            site_pos=pose[..., :3] + rotate(turn, self._site_offset),
            site_vel=velocity[..., :3] + torch.linalg.cross(velocity[..., 3:], rotate(turn, self._site_arm)),
        )

    def _root(self, q: torch.Tensor, qd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return position, quaternion, linear (world) and angular velocity (body) of the base of some robots."""
        if not self._floating:
            still = torch.zeros(len(q), 3, device=self.device)
            upright = torch.tensor([1.0, 0.0, 0.0, 0.0], device=self.device).repeat(len(q), 1)
            return still, upright, still.clone(), still.clone()
        quat, spin = _wxyz(q[:, 3:7]), qd[:, 3:6]
        linear = qd[:, :3] - torch.linalg.cross(spin, rotate(quat, self._base_com))
        return q[:, :3], quat, linear, rotate(_inverse(quat), spin)

    def _servo(self, rows: slice | torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Return the torque (n, J) that the actuators apply in a state, by their law."""
        stiffness, damping, effort = (self._changed[name][rows] for name in ("stiffness", "damping", "effort"))
        wanted = stiffness * (self._targets[rows] - position) - damping * velocity
        return wanted.clamp(-effort, effort)

    def _contact(self, rows: slice | torch.Tensor, count: int) -> torch.Tensor:
        """Return the magnitude of the net force on each monitored body, (n, B) N."""
        if self._sensor is None:
            return torch.zeros(count, len(self.bodies), device=self.device)
        return torch.linalg.vector_norm(self._belongs @ self._forces[rows], dim=-1)

    def set_joint_targets(self, targets: torch.Tensor) -> None:
        """Set position targets (N, J) in rad."""
        self._targets = targets.clone()
        self._send_targets()

    def _send_targets(self) -> None:
        self.articulation.actuators.target_command.set_position_index(value=self._targets)

    def joint_state(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions (N, J) in rad and velocities (N, J) in rad/s, as views."""
        return self.newton.q[:, self._q0 :], self.newton.qd[:, self._v0 :]

    def set_joint_torques(self, torques: torch.Tensor) -> None:
        """Set torques (N, K) in N·m of `torque_joints`."""
        self._torques[:, self._motors] = torques
        self._send_torques()

    def _send_torques(self) -> None:
        self.articulation.actuators.target_command.set_effort_index(value=self._torques)

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all robots; return (N,) bool, true where the physics diverged and the robot was reset."""
        self.scene.write_data_to_sim()
        self.newton.step(substeps)
        self.scene.update(substeps * self.dt)
        self._moved.zero_()
        diverged = ~(self.newton.q.isfinite().all(1) & self.newton.qd.isfinite().all(1))
        if diverged.any():
            ids = diverged.nonzero().squeeze(1)
            self._place(ids, self._home[ids], torch.zeros_like(self.newton.qd[ids]))
        return diverged

    def reset(
        self,
        env_ids: torch.Tensor,
        root_pose: torch.Tensor,
        root_vel: torch.Tensor,
        joint_pos: torch.Tensor,
        joint_vel: torch.Tensor,
    ) -> None:
        """Put the robots `env_ids` (n,) into a state, and clear the solver's warm start."""
        q, qd = joint_pos, joint_vel
        if self._floating:
            quat = root_pose[:, 3:7]
            q = torch.cat((root_pose[:, :3], quat[:, [1, 2, 3, 0]], joint_pos), dim=1)
            qd = torch.cat((self._of_centre(quat, root_vel), joint_vel), dim=1)
        self._targets[env_ids] = joint_pos
        self._send_targets()
        if self._motors:
            self._torques[env_ids] = 0.0
            self._send_torques()
        self._place(env_ids, q, qd)

    def _of_centre(self, quat: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Return the velocity (n, 6) of the base's centre of mass, all in the world, for that of `World.reset`."""
        spin = rotate(quat, velocity[:, 3:])
        return torch.cat((velocity[:, :3] + torch.linalg.cross(spin, rotate(quat, self._base_com)), spin), dim=1)

    def _place(self, env_ids: torch.Tensor, q: torch.Tensor, qd: torch.Tensor) -> None:
        self.newton.q[env_ids], self.newton.qd[env_ids] = q, qd
        self.newton.forget(env_ids)
        self._moved[env_ids] = True

    def effort_limits(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Return the largest absolute torque (n, J) in N·m."""
        return self._changed["effort"][env_ids]

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Set the largest absolute torque (n, J) in N·m, NaN: the nominal one."""
        limits = torch.where(limits.isnan(), self._effort_limit, limits)
        self._changed["effort"][env_ids] = limits
        self.newton.set_effort_limits(env_ids, limits)

    def set_gains(self, env_ids: torch.Tensor, stiffness: torch.Tensor, damping: torch.Tensor) -> None:
        """Set position gains (n, J) in N·m/rad and velocity gains (n, J) in N·m·s/rad."""
        if self._motors:
            stiffness, damping = (gains.index_fill(1, self._motor_ids, 0.0) for gains in (stiffness, damping))
        self._changed["stiffness"][env_ids], self._changed["damping"][env_ids] = stiffness, damping
        ids = _ids(env_ids)
        self.articulation.write_joint_stiffness_to_sim_index(stiffness=stiffness.contiguous(), env_ids=ids)
        self.articulation.write_joint_damping_to_sim_index(damping=damping.contiguous(), env_ids=ids)

    def set_joint_ranges(self, env_ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Set the joint ranges (n, J, 2) in rad, NaN: the nominal one."""
        ranges = torch.where(ranges.isnan(), self.joint_range, ranges)
        self._changed["range"][env_ids] = ranges
        self.newton.set_joint_ranges(env_ids, ranges)

    def add_base_mass(self, env_ids: torch.Tensor, delta: torch.Tensor) -> None:
        """Set the mass of the base to nominal plus `delta` (n,) kg, its inertia scaled alike."""
        self._changed["load"][env_ids] = delta
        if not self._floating:  # the mass of a fixed base has no effect
            return
        mass = torch.maximum(self._base_mass + delta, 0.1 * self._base_mass)
        inertia = self._base_inertia * (mass / self._base_mass)[:, None, None]
        where = {
            "body_ids": torch.tensor([self._base], dtype=torch.int32, device=self.device),
            "env_ids": _ids(env_ids),
        }
        self.articulation.set_masses_index(masses=mass[:, None].contiguous(), **where)
        self.articulation.set_inertias_index(inertias=inertia.contiguous(), **where)

    def set_friction(self, env_ids: torch.Tensor, friction: torch.Tensor) -> None:
        """Set the sliding friction (n,) of every contact of the robots, whose shapes have priority over the ground."""
        self._set_frictions(env_ids, friction[:, None].repeat(1, self.newton.friction.shape[1]))

    def _set_frictions(self, env_ids: torch.Tensor, frictions: torch.Tensor) -> None:
        """Set the sliding friction (n, shapes) of each shape."""
        self._changed["friction"][env_ids] = frictions
        self.newton.set_friction(env_ids, frictions)

    def push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        """Add (n, 6) to the base velocity."""
        if not self._floating:
            raise ConfigError("push_by_setting_velocity: this robot's base is fixed; switch the event off with null.")
        quat = _wxyz(self.newton.q[env_ids, 3:7])
        self.newton.qd[env_ids, :6] += self._of_centre(quat, velocity)

    def render(self, env_id: int) -> np.ndarray:
        """Return an image (H, W, 3) uint8 of one robot, drawn by MuJoCo's renderer in the present state."""
        from regimen.envs.sims.pose_renderer import PoseRenderer

        if self._renderer is None:
            self._renderer = PoseRenderer(self._robot, self.model, self.cfg.render_size, self._ground)
        q = self.newton.q[env_id].double().cpu()
        if self._floating:
            q[3:7] = q[[6, 3, 4, 5]]
        return self._renderer.render(q.numpy())

    def state_dict(self) -> StateDict:
        """Return Newton's arrays, the targets, and the values changed by events."""
        return {
            "newton": self.newton.state_dict(),
            "targets": self._targets.clone(),
            "moved": self._moved.clone(),
            "torques": self._torques.clone(),
            "changed": {name: values.clone() for name, values in self._changed.items()},
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; contacts are outdated until the next step."""
        self._apply(state["changed"])
        self.set_joint_targets(state["targets"])
        if self._motors:
            self._torques.copy_(state["torques"])
            self._send_torques()
        self._moved.copy_(state["moved"])
        self.newton.load_state_dict(state["newton"])

    def close(self) -> None:
        """Close the scene and the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        with quiet():
            self._open.close()


def _wxyz(quat: torch.Tensor) -> torch.Tensor:
    """Return quaternions (…, 4) in the order w x y z for those of Newton."""
    return quat[..., [3, 0, 1, 2]]


def _inverse(quat: torch.Tensor) -> torch.Tensor:
    """Return the inverse of unit quaternions (…, 4) w x y z."""
    return torch.cat((quat[..., :1], -quat[..., 1:]), dim=-1)


def _ids(env_ids: torch.Tensor) -> torch.Tensor:
    return env_ids.to(torch.int32)
