"""The simulator interface of the manager-based environment.

A World simulates N copies of one robot on flat ground, or on a height field that they share without touching each
other. It returns float32 torch tensors on its own device, accepts
position targets, and changes the parameters of each copy for events. Terms use no other part of a simulator.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

    from regimen.runs.checkpoint_header import StateDict


@dataclass
class WorldState:
    """One reading of all N robots. B monitored bodies, F feet or other tracked sites, J joints.

    Attributes:
        joint_pos: (N, J) rad.
        joint_vel: (N, J) rad/s.
        joint_acc: (N, J) rad/s².
        joint_torque: (N, J) N·m, what the actuators applied, after limits.
        root_pos: (N, 3) m, world frame. Zeros for a fixed base.
        root_quat: (N, 4) w x y z.
        root_lin_vel: (N, 3) m/s, world frame.
        root_ang_vel: (N, 3) rad/s, body frame.
        contact_force: (N, B) N, magnitude of the net contact force on each monitored body.
        site_pos: (N, F, 3) m, world frame.
        site_vel: (N, F, 3) m/s, world frame.
        gravity: (N, 3) m/s², world frame, where it differs between robots; None: 9.81 downwards.
    """

    joint_pos: torch.Tensor
    joint_vel: torch.Tensor
    joint_acc: torch.Tensor
    joint_torque: torch.Tensor
    root_pos: torch.Tensor
    root_quat: torch.Tensor
    root_lin_vel: torch.Tensor
    root_ang_vel: torch.Tensor
    contact_force: torch.Tensor
    site_pos: torch.Tensor
    site_vel: torch.Tensor
    gravity: torch.Tensor | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the fields by name, for a checkpoint; `gravity` where it is read."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


class World(Protocol):
    """N copies of one robot. A class `X` is made by `X(cfg, robot, num_envs, threads)`, `cfg` being the `sim` group.

    A class whose `XCfg` has `TERRAIN: ClassVar[bool] = True` takes `ground: HeightField` as well, for uneven ground. A
    class whose `XCfg` has `RANDOMIZES: ClassVar[bool] = True` is a `RandomizedWorld`, one with
    `TORQUES: ClassVar[bool] = True` a `TorqueWorld`.

    Attributes:
        num_envs: N.
        device: torch device of every tensor.
        dt: physics step in seconds.
        joints: joint names, in the order of every (…, J) tensor.
        bodies: monitored bodies, in the order of `contact_force`.
        sites: tracked sites, in the order of `site_pos`; for legged robots one per foot.
        joint_range: (J, 2) rad.
    """

    num_envs: int
    device: torch.device
    dt: float
    joints: list[str]
    bodies: list[str]
    sites: list[str]
    joint_range: torch.Tensor

    def read(self, env_ids: torch.Tensor | None = None) -> WorldState:
        """Return the present state of all robots or of `env_ids` (n,); the tensors are fresh, not views."""
        ...

    def set_joint_targets(self, targets: torch.Tensor) -> None:
        """Set position targets (N, J) in rad, held until the next call."""
        ...

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all robots; return (N,) bool, true where the physics diverged and was reset."""
        ...

    def reset(
        self,
        env_ids: torch.Tensor,
        root_pose: torch.Tensor,
        root_vel: torch.Tensor,
        joint_pos: torch.Tensor,
        joint_vel: torch.Tensor,
    ) -> None:
        """Set the state of the robots `env_ids` (n,): pose (n, 7), velocity (n, 6: linear world, angular body).

        External wrenches on them end.
        """
        ...

    def effort_limits(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Return the largest absolute torque (n, J) in N·m that acts in the robots `env_ids` (n,)."""
        ...

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Impose a largest absolute torque (n, J) in N·m on the robots `env_ids` (n,).

        NaN imposes none: the joint has its own limit, that of the model or the one that was drawn.
        """
        ...

    def set_gains(self, env_ids: torch.Tensor, stiffness: torch.Tensor, damping: torch.Tensor) -> None:
        """Set position gains (n, J) in N·m/rad and velocity gains (n, J) in N·m·s/rad of the robots `env_ids`."""
        ...

    def set_joint_ranges(self, env_ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Impose ranges (n, J, 2) in rad on the joints of the robots `env_ids` (n,); NaN imposes none, see above.

        A zero width locks a joint.
        """
        ...

    def add_base_mass(self, env_ids: torch.Tensor, delta: torch.Tensor) -> None:
        """Set the mass of the base to its nominal mass plus `delta` (n,) in kg."""
        ...

    def set_friction(self, env_ids: torch.Tensor, friction: torch.Tensor) -> None:
        """Set the sliding friction (n,) of every contact of the robots `env_ids`."""
        ...

    def push(self, env_ids: torch.Tensor, velocity: torch.Tensor) -> None:
        """Add (n, 6) to the base velocity: linear world m/s, angular body rad/s."""
        ...

    def render(self, env_id: int) -> np.ndarray:
        """Return an image (H, W, 3) uint8 of one robot."""
        ...

    def state_dict(self) -> StateDict:
        """Return the physics state and everything changed per robot."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`, bit for bit."""
        ...

    def close(self) -> None:
        """Free the simulator."""
        ...


class HasQuantities(Protocol):
    """Something whose physical quantities differ between the N robots."""

    def names_of(self, quantity: str) -> list[str]:
        """Return the names of the bodies, joints or shapes that have a quantity."""
        ...

    def nominal(self, quantity: str) -> torch.Tensor:
        """Return the values of a quantity in the model, (K,) float64 in the order of `names_of`."""
        ...

    def set_quantity(self, quantity: str, env_ids: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> None:
        """Set a quantity of the robots `env_ids` (n,): the columns (k,) of `names_of` to values (n, k) float64."""
        ...


class TorqueWorld(World, Protocol):
    """A simulator that moves some joints by torques. It takes `torque_joints: Sequence[str]` as well, in order.

    These joints have no servo: targets, gains and effort limits of `World` have no effect on them, and nothing cuts
    their torques off. After a reset their torque is 0 until it is set. `WorldState.joint_torque` has what was applied.

    Attributes:
        torque_joints: names, K of them.
    """

    torque_joints: list[str]

    def joint_state(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions (N, J) in rad and velocities (N, J) in rad/s of all joints, in the order of `joints`.

        They are read before each physics step; the tensors may change in the next one.
        """
        ...

    def set_joint_torques(self, torques: torch.Tensor) -> None:
        """Set torques (N, K) in N·m of `torque_joints`, held until the next call."""
        ...


class RandomizedWorld(World, HasQuantities, Protocol):
    """A simulator whose robots may differ in `regimen.envs.sims.quantities.QUANTITIES`, except `OF_JOINT_ERRORS`."""

    def add_wrench(self, env_ids: torch.Tensor, columns: torch.Tensor, wrench: torch.Tensor) -> None:
        """Add to the external wrench on bodies of the robots `env_ids` (n,), which acts until their reset.

        Args:
            env_ids: (n,).
            columns: (k,) indices in `names_of("body_mass")`.
            wrench: (n, k, 6) float64, force in N at the centre of mass and torque in N·m, world frame.
        """
        ...
