"""Newton's arrays as torch tensors of shape (N, …) that share their memory, and the state that they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.isaaclab.state import physics_manager

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict


class NewtonArrays:
    """Views of the state, the model and the solver of an open simulation.

    Attributes:
        q: (N, nq) coordinates: of a floating base position and quaternion x y z w, then those of the joints.
        qd: (N, nv) velocities: of a floating base that of its centre of mass and the angular one, both in the world.
        body_q: (N, bodies, 7) poses of the bodies.
        body_qd: (N, bodies, 6) velocities of their centres of mass, and angular ones, in the world.
        acceleration: (N, nv) of the last step of the solver.
        torque: (N, nv) of the actuators in the last step of the solver, after limits.
        body_mass: (N, bodies) kg.
        body_inertia: (N, bodies, 3, 3) kg·m².
        body_com: (bodies, 3) centres of mass in the frames of the bodies, m.
        friction: (N, shapes) sliding friction of the robots' shapes.
        in_order: whether the solver has the joints in Newton's order.
    """

    def __init__(self, simulation: Any, articulation: Any, num_envs: int) -> None:
        """Find the arrays.

        Args:
            simulation: Isaac Lab's `SimulationContext` after its reset.
            articulation: the robot.
            num_envs: N.
        """
        self.simulation, self.articulation = simulation, articulation
        self.manager = physics_manager(simulation)
        # Steps of one control step are computed in one call: all actuators are implicit ones of the solver.
        self.manager.activate_newton_actuator_path()
        self._substeps = 0
        state, model, solver = self.manager.backend.state_0, self.manager.backend.model, self.manager._solver

        def rows(array: Any) -> torch.Tensor:
            whole = self.tensor(array)
            return whole.view(num_envs, len(whole) // num_envs, *whole.shape[1:])

        self.q, self.qd = rows(state.joint_q), rows(state.joint_qd)
        self.body_q, self.body_qd = rows(state.body_q), rows(state.body_qd)
        self.body_mass, self.body_inertia = rows(model.body_mass), rows(model.body_inertia)
        self.body_com = rows(model.body_com)[0]
        self.acceleration, self.torque = self.tensor(solver.mjw_data.qacc), self.tensor(solver.mjw_data.qfrc_actuator)
        self._memory = {name: self.tensor(getattr(solver.mjw_data, name)) for name in ("qacc_warmstart", "time")}
        self.friction = torch.zeros(num_envs, 0, device=self.q.device)
        if any(articulation.num_shapes_per_body):
            self.friction = self.tensor(articulation.root_view.get_attribute("shape_material_mu", model))[:, 0]
        count = len(articulation.joint_names)
        limits = (model.joint_effort_limit, model.joint_limit_lower, model.joint_limit_upper)
        self._effort, self._lower, self._upper = (rows(limit)[:, -count:] for limit in limits)
        self._solver_effort = self.tensor(solver.mjw_model.jnt_actfrcrange)[:, -count:]
        self._solver_range = self.tensor(solver.mjw_model.jnt_range)[:, -count:]
        order = self.tensor(solver.mjc_dof_to_newton_dof)[0]
        self.in_order = torch.equal(order.long(), torch.arange(len(order), device=order.device))

    @staticmethod
    def tensor(array: Any) -> torch.Tensor:
        """Return a tensor that shares the memory of an array of Warp."""
        import warp

        return warp.to_torch(array)

    def step(self, substeps: int) -> None:
        """Advance the physics by a number of steps, with the contacts of the last one."""
        if substeps != self._substeps:
            self.manager.set_decimation(substeps)
            self._substeps = substeps
        self.simulation.step(render=False)

    def complete(self) -> None:
        """Compute the poses of the bodies of robots that were placed since, and clear their solver's memory."""
        self.manager.forward()

    def forget(self, env_ids: torch.Tensor) -> None:
        """Mark robots `env_ids` (n,) whose coordinates were set."""
        import warp

        ids = warp.from_torch(env_ids.to(torch.int32), dtype=warp.int32)
        self.manager.invalidate_fk(env_ids=ids, articulation_ids=self.articulation.root_view.articulation_ids)

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Set the largest absolute torque (n, J) in N·m, in the model and in the solver.

        Isaac Lab's writer has the solver derive all constants of all robots again, for half the time of a control step;
        none depends on these limits, nor on the joint ranges.
        """
        self._effort[env_ids] = limits
        self._solver_effort[env_ids] = torch.stack((-limits, limits), dim=-1)

    def set_joint_ranges(self, env_ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Set the joint ranges (n, J, 2) in rad, in the model and in the solver."""
        self._lower[env_ids], self._upper[env_ids] = ranges.unbind(-1)
        self._solver_range[env_ids] = ranges

    def set_friction(self, env_ids: torch.Tensor, frictions: torch.Tensor) -> None:
        """Set the sliding friction (n, shapes) of the shapes of robots `env_ids` (n,)."""
        from newton import ModelFlags

        self.friction[env_ids] = frictions
        self.manager.add_model_change(ModelFlags.SHAPE_PROPERTIES)

    def state_dict(self) -> StateDict:
        """Return copies of coordinates, velocities, poses, and the warm start of the solver."""
        self.complete()
        return {name: array.clone() for name, array in self._state().items()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.complete()
        for name, array in self._state().items():
            array.copy_(state[name])

    def _state(self) -> dict[str, torch.Tensor]:
        return {"q": self.q, "qd": self.qd, "body_q": self.body_q, "body_qd": self.body_qd, **self._memory}
