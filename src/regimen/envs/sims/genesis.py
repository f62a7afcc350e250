"""Genesis as a `World`: the robot's MJCF on Genesis' plane or terrain, all robots of a process in one scene.

Genesis is an optional extra (`make genesis`), imported when the world is opened. On a CPU it uses one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from regimen.envs.robots.model_check import compile_model
from regimen.envs.rotations import rotate
from regimen.envs.sims import genesis_scene
from regimen.envs.sims.genesis_scene import GenesisWorldCfg, read_outline
from regimen.envs.sims.world import WorldState
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.pose_renderer import PoseRenderer
    from regimen.envs.terrain.height_field import HeightField
    from regimen.runs.checkpoint_header import StateDict


class GenesisWorld:
    """N copies of one robot in one scene. See `regimen.envs.sims.world.World` for the meaning of each method."""

    def __init__(
        self,
        cfg: GenesisWorldCfg,
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
            threads: torch threads; Genesis itself uses one.
            ground: heights in place of the plane.
            torque_joints: joints that are moved by torques.
        """
        self.cfg, self.num_envs, self.dt = cfg, num_envs, cfg.dt
        self.joints, self.torque_joints = list(robot.joints), list(torque_joints)
        self._model = compile_model(robot)  # compared with the Robot before Genesis, which takes longer to start
        self._gs = genesis_scene.start(cfg)
        self.device = torch.device(self._gs.device)
        outline = read_outline(robot)
        self.bodies, self.sites = list(outline.monitored), list(outline.sites)
        self.scene, self.entity, self._camera = genesis_scene.build(
            self._gs, cfg, robot, outline.without_ground, num_envs, ground
        )
        self._robot, self._ground = robot, ground
        self._renderer: PoseRenderer | None = None
        self._solver = self.scene.rigid_solver
        self._floating = robot.floating_base
        self._q0, self._v0 = (7, 6) if self._floating else (0, 0)
        self._bind_joints(robot)
        self._bind_bodies(robot, outline.monitored, outline.sites)
        self._store_nominal(robot)

    def _bind_joints(self, robot: Robot) -> None:
        entity = self.entity
        self._dofs = [entity.get_joint(j).dofs_idx_local[0] for j in self.joints]
        if self._dofs != list(range(self._v0, self._v0 + len(self.joints))):
            raise ConfigError(f"robot {robot.name}: Genesis orders its joints otherwise than its MJCF.")
        self._motors = [self._dofs[self.joints.index(joint)] for joint in self.torque_joints]
        self._servos = [dof for dof in self._dofs if dof not in self._motors]
        self._servo_columns = [dof - self._v0 for dof in self._servos]
        entity.set_dofs_armature(self._per_env(robot.armature), self._dofs)
        low, high = entity.get_dofs_limit(self._dofs)
        self.joint_range = torch.stack((low, high), -1).reshape(-1, len(self.joints), 2)[0].float().clone()

    def _per_env(self, values: tuple[float, ...]) -> torch.Tensor:
        return torch.tensor(values, device=self.device).repeat(self.num_envs, 1)

    def _bind_bodies(
        self,
        robot: Robot,
        monitored: dict[str, tuple[str, int | None]],
        sites: dict[str, tuple[str, tuple[float, ...]]],
    ) -> None:
        names = [link.name for link in self.entity.links]
        self._base = [names.index(robot.base_body)]
        self._site_links = [names.index(body) for body, _ in sites.values()]
        offsets = [offset for _, offset in sites.values()]
        self._site_offset = torch.tensor(offsets, device=self.device).reshape(-1, 3)
        # (geoms of the scene, B): 1 where a geom belongs to a monitored body
        self._geom_body = torch.zeros(len(self._solver.geoms), len(self.bodies), device=self.device)
        for column, (body, rank) in enumerate(monitored.values()):
            own = [g.idx for g in self.entity.geoms if g.link.name == body]
            self._geom_body[own if rank is None else own[rank], column] = 1.0

    def _store_nominal(self, robot: Robot) -> None:
        """Store nominal values, and the values that events change, which Genesis does not return."""
        entity, n = self.entity, self.num_envs
        self._base_mass = entity.get_links_mass(self._base).reshape(-1)[0].clone()
        self._base_inertia = entity.get_links_inertia(self._base).reshape(-1, 3, 3)[0].clone()
        self._friction = float(entity.geoms[0].get_friction()) if entity.n_geoms else 1.0
        self._home, self._targets = entity.get_qpos().clone(), entity.get_qpos()[:, self._q0 :].clone()
        # Robots reset since the last step: their contacts and accelerations are of the state before.
        self._moved = torch.zeros(n, dtype=torch.bool, device=self.device)
        self._effort_limit = torch.tensor(robot.effort_limit, device=self.device)
        self._changed = {
            "stiffness": self._per_env(robot.stiffness),
            "damping": self._per_env(robot.damping),
            "effort": self._per_env(robot.effort_limit),
            "range": self.joint_range.repeat(n, 1, 1),
            "load": torch.zeros(n, device=self.device),
            "friction": torch.full((n,), self._friction, device=self.device),
        }
        all_ids = torch.arange(n, device=self.device)
        self.set_gains(all_ids, self._changed["stiffness"].clone(), self._changed["damping"].clone())
        self.set_effort_limits(all_ids, self._changed["effort"].clone())
        if self._motors:
            endless = torch.full((n, len(self._motors)), torch.inf, device=self.device)
            entity.set_dofs_force_range(-endless, endless, self._motors)
            self.set_joint_torques(torch.zeros_like(endless))

    def read(self, env_ids: torch.Tensor | None = None) -> WorldState:
        """Return the present state of all robots or of `env_ids` (n,) as fresh float32 tensors."""
        rows = slice(None) if env_ids is None else env_ids
        entity, own, q0, v0 = self.entity, self._site_links, self._q0, self._v0
        qpos, qvel = entity.get_qpos()[rows].clone(), entity.get_dofs_velocity()[rows].clone()
        acc, contact, moved = entity.get_dofs_acc()[rows], self._contact(rows), self._moved[rows, None]
        links_vel, links_ang = entity.get_links_vel()[rows], entity.get_links_ang()[rows][:, own]
        arm = rotate(entity.get_links_quat()[rows][:, own], self._site_offset)
        root = self._root(qpos, qvel, links_vel)
        return WorldState(
            joint_pos=qpos[:, q0:],
            joint_vel=qvel[:, v0:],
            joint_acc=torch.where(moved, 0.0, acc[:, v0:]),
            joint_torque=entity.get_dofs_control_force()[rows][:, v0:].clone(),
            root_pos=root[0],
            root_quat=root[1],
            root_lin_vel=root[2],
            root_ang_vel=root[3],
            contact_force=torch.where(moved, 0.0, torch.linalg.vector_norm(contact, dim=-1)),
            site_pos=entity.get_links_pos()[rows][:, own] + arm,
            site_vel=links_vel[:, own] + torch.linalg.cross(links_ang, arm),
        )

    def _root(
        self, qpos: torch.Tensor, qvel: torch.Tensor, links_vel: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return position, quaternion, linear (world) and angular velocity (body frame, as Genesis keeps it)."""
        if not self._floating:
            still = torch.zeros(len(qpos), 3, device=self.device)
            upright = torch.tensor([1.0, 0.0, 0.0, 0.0], device=self.device).repeat(len(qpos), 1)
            return still, upright, still.clone(), still.clone()
        return qpos[:, :3], qpos[:, 3:7], links_vel[:, self._base[0]].clone(), qvel[:, 3:6]

    def _contact(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """Return the net force on each monitored body, (n, B, 3) N, up to its sign."""
        count = genesis_scene.view(self._solver, "collider.collider_state.n_contacts")[rows]
        contacts = "collider.collider_state.contact_data"
        # A plane is `geom_a` of every contact, and a height field `geom_b`; the other one is the robot's.
        side = "geom_b" if self._ground is None else "geom_a"
        most = int(count.max()) if len(count) else 0
        force = genesis_scene.view(self._solver, f"{contacts}.force", transpose=True)[rows, :most]
        geom = genesis_scene.view(self._solver, f"{contacts}.{side}", transpose=True)[rows, :most].long()
        # Slots after the last contact are outdated.
        present = torch.arange(most, device=self.device) < count[:, None]
        belongs = self._geom_body[torch.where(present, geom, 0)]  # (n, contacts, B)
        return belongs.transpose(1, 2) @ torch.where(present[..., None], force, 0.0)

    def set_joint_targets(self, targets: torch.Tensor) -> None:
        """Set position targets (N, J) in rad."""
        self._targets = targets.clone()
        self._send_targets()

    def _send_targets(self) -> None:
        if not self._motors:
            self.entity.control_dofs_position(self._targets, self._dofs)
        elif self._servos:
            self.entity.control_dofs_position(self._targets[:, self._servo_columns], self._servos)

    def joint_state(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions (N, J) in rad and velocities (N, J) in rad/s."""
        return self.entity.get_qpos()[:, self._q0 :], self.entity.get_dofs_velocity()[:, self._v0 :]

    def set_joint_torques(self, torques: torch.Tensor) -> None:
        """Set torques (N, K) in N·m of `torque_joints`."""
        self.entity.control_dofs_force(torques, self._motors)

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all robots; return (N,) bool, true where the physics diverged and the robot was reset."""
        diverged = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        for _ in range(substeps):
            self.scene.step()
            wrong = self._solver.get_error_envs_mask()
            if wrong.any():
                ids = wrong.nonzero().squeeze(1)
                self.entity.set_qpos(self._home[ids], envs_idx=ids, zero_velocity=True)
                diverged |= wrong
        self._moved.zero_()
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
        floating = self._floating
        qpos = torch.cat((root_pose, joint_pos), dim=1) if floating else joint_pos
        qvel = torch.cat((root_vel, joint_vel), dim=1) if floating else joint_vel
        self.entity.set_qpos(qpos, envs_idx=env_ids, zero_velocity=True)
        self.entity.set_dofs_velocity(qvel, envs_idx=env_ids)
        self._targets[env_ids] = joint_pos
        self._send_targets()
        if self._motors:
            still = torch.zeros(len(env_ids), len(self._motors), device=self.device)
            self.entity.control_dofs_force(still, self._motors, envs_idx=env_ids)
        self._moved[env_ids] = True

    def effort_limits(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Return the largest absolute torque (n, J) in N·m."""
        return self._changed["effort"][env_ids]

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Set the largest absolute torque (n, J) in N·m, NaN: the nominal one."""
        limits = torch.where(limits.isnan(), self._effort_limit, limits)
        self._changed["effort"][env_ids] = limits
        if self._servos:
            limits = limits if not self._motors else limits[:, self._servo_columns]
            self.entity.set_dofs_force_range(-limits, limits, self._servos, envs_idx=env_ids)

    def set_gains(self, env_ids: torch.Tensor, stiffness: torch.Tensor, damping: torch.Tensor) -> None:
        """Set position gains (n, J) in N·m/rad and velocity gains (n, J) in N·m·s/rad."""
        self._changed["stiffness"][env_ids], self._changed["damping"][env_ids] = stiffness, damping
        if self._servos:
            own = (lambda gains: gains[:, self._servo_columns]) if self._motors else (lambda gains: gains)
            self.entity.set_dofs_kp(own(stiffness), self._servos, envs_idx=env_ids)
            self.entity.set_dofs_kv(own(damping), self._servos, envs_idx=env_ids)

    def set_joint_ranges(self, env_ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Set the joint ranges (n, J, 2) in rad, NaN: the nominal one."""
        ranges = torch.where(ranges.isnan(), self.joint_range, ranges)
        self._changed["range"][env_ids] = ranges
        self.entity.set_dofs_limit(ranges[..., 0], ranges[..., 1], self._dofs, envs_idx=env_ids)

    def add_base_mass(self, env_ids: torch.Tensor, delta: torch.Tensor) -> None:
        """Set the mass of the base to nominal plus `delta` (n,) kg, its inertia scaled alike."""
        self._changed["load"][env_ids] = delta
        if not self._floating:  # the mass of a fixed base has no effect
            return
        mass = torch.maximum(self._base_mass + delta, 0.1 * self._base_mass)
        self.entity.set_links_mass(mass[:, None], self._base, envs_idx=env_ids)
        inertia = self._base_inertia * (mass / self._base_mass)[:, None, None, None]
        self.entity.set_links_inertia(inertia, self._base, envs_idx=env_ids)

    def set_friction(self, env_ids: torch.Tensor, friction: torch.Tensor) -> None:
        """Set the sliding friction (n,) of every contact of the robots."""
        self._changed["friction"][env_ids] = friction
        ratio = (friction / self._friction)[:, None].repeat(1, self.entity.n_links)
        self.entity.set_friction_ratio(ratio, list(range(self.entity.n_links)), envs_idx=env_ids)

    def push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        """Add (n, 6) to the base velocity."""
        if not self._floating:
            raise ConfigError("push_by_setting_velocity: this robot's base is fixed; switch the event off with null.")
        present = self.entity.get_dofs_velocity()[env_ids, :6]
        self.entity.set_dofs_velocity(present + velocity, list(range(6)), envs_idx=env_ids)

    def render(self, env_id: int) -> np.ndarray:
        """Return an image (H, W, 3) uint8 of one robot; on uneven ground it is drawn by MuJoCo's renderer."""
        if self._ground is not None:
            return self._render_on_ground(env_id, self._ground)
        at = self.entity.get_links_pos()[env_id, self._base[0]].cpu()
        self._camera.set_pose(pos=(at + torch.tensor([1.4, -1.9, 0.8])).tolist(), lookat=at.tolist())
        return self._camera.render(rgb=True)[0]

    def _render_on_ground(self, env_id: int, ground: HeightField) -> np.ndarray:
        """Return an image of one robot and of the ground around it: Genesis would draw all of its triangles."""
        from regimen.envs.sims.pose_renderer import PoseRenderer

        if self._renderer is None:
            self._renderer = PoseRenderer(self._robot, self._model, self.cfg.render_size, ground)
        return self._renderer.render(self.entity.get_qpos()[env_id].cpu().numpy())

    def state_dict(self) -> StateDict:
        """Return positions, velocities, targets, the solver's warm start and the values changed by events."""
        return {
            "qpos": self.entity.get_qpos().clone(),
            "qvel": self.entity.get_dofs_velocity().clone(),
            "targets": self._targets.clone(),
            "changed": {name: values.clone() for name, values in self._changed.items()},
            "memory": genesis_scene.save(self._solver),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; contacts are outdated until the next step."""
        all_ids, changed = torch.arange(self.num_envs, device=self.device), state["changed"]
        self.set_gains(all_ids, changed["stiffness"], changed["damping"])
        self.set_effort_limits(all_ids, changed["effort"])
        self.set_joint_ranges(all_ids, changed["range"])
        self.add_base_mass(all_ids, changed["load"])
        self.set_friction(all_ids, changed["friction"])
        self.entity.set_qpos(state["qpos"], zero_velocity=True)
        self.entity.set_dofs_velocity(state["qvel"])
        self.set_joint_targets(state["targets"])
        genesis_scene.restore(self._solver, state["memory"])

    def close(self) -> None:
        """Free the scene and the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self.scene.destroy()
