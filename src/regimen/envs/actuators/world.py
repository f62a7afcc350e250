"""`ActuatedWorld`: a simulator whose joints, or some of them, are moved by the torques of actuator models.

It is a `World` itself, so that tasks and events use it as any other: targets become torques at each physics step, and
what events change of an actuated joint (gains, torque limit, motor strength) is changed in its model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch

from regimen.envs.actuators.group import JointGroup
from regimen.envs.actuators.settings import actuated_joints
from regimen.envs.manager_base import term_state
from regimen.envs.past_values import Part, PastValues
from regimen.envs.sims.motor_parameters import GAINS, LIMIT, STRENGTH, MotorParameters
from regimen.envs.term_binding import as_slice, find_term
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.config.task_schema import ActuatorCfg
    from regimen.envs.actuators.group import Actuator
    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.world import RandomizedWorld, TorqueWorld, World
    from regimen.runs.checkpoint_header import StateDict


def with_actuators(
    world: World, actuators: Mapping[str, ActuatorCfg | None], robot: Robot, rand: Callable[..., torch.Tensor]
) -> World:
    """Return a simulator with the actuators of a task in front of it; itself for a task without.

    Args:
        world: opened with `simulator_arguments`.
        actuators: of the task.
        robot: gains and limits of its joints are the defaults of the actuators.
        rand: shape -> uniform in [0, 1), for delays.

    Raises:
        ConfigError: naming an actuator that cannot be built.
    """
    joints = actuated_joints(actuators, robot)
    if not joints:
        return world
    driven = getattr(world, "torque_joints", [])
    if set(driven) != {joint for own in joints.values() for joint in own}:
        raise ConfigError(f"env.actuators: the simulator was opened for torques of {', '.join(driven) or 'no joint'}.")
    sim = cast("TorqueWorld", world)
    parts = []
    for name, own in joints.items():
        cfg = actuators[name]
        assert cfg is not None
        parts.append(_Part(name, cfg, JointGroup(own, sim.num_envs, sim.device, sim.dt, robot), sim, rand))
    kind = RandomizedActuatedWorld if hasattr(world, "set_quantity") else ActuatedWorld
    return cast("World", kind(sim, parts, robot))


class _Part:
    """One actuator: its model, its joints, and the delay of its targets."""

    def __init__(
        self, name: str, cfg: ActuatorCfg, group: JointGroup, sim: TorqueWorld, rand: Callable[..., torch.Tensor]
    ) -> None:
        self.name, self.group, self.func = name, group, cfg.func
        self.model: Actuator = _built(name, cfg, group)
        columns = [sim.joints.index(joint) for joint in group.joints]
        self.joints = torch.tensor(columns, device=group.device)
        self.columns = as_slice(columns, group.device)
        self.outputs = as_slice([sim.torque_joints.index(joint) for joint in group.joints], group.device)
        self.nominal = {name: values[0].clone() for name, values in self.model.quantities.items()}
        self._motors = MotorParameters(self.nominal, group.num_envs) if self.nominal else None
        self.most_delay = cfg.delay[1]
        self.delay: PastValues | None = None
        if cfg.delay[1] > 0:
            part = Part(len(columns), delay=(cfg.delay[0], cfg.delay[1]), jitters=cfg.delay_drawn == "step")
            self.delay = PastValues([part], group.num_envs, group.device, rand)
        pose = [group.robot.default_joint_pos[column] for column in columns]
        self.pose = torch.tensor(pose, device=group.device)

    def torque(self, targets: torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Return the torque (N, K) for one physics step; all arguments are (N, J).

        Raises:
            ConfigError: the model returns another shape.
        """
        target = targets[:, self.columns]
        if self.delay is not None:
            target = self.delay.read(target, before=self.pose)
            self.delay.step()
        torque = self.model.torque(target, position[:, self.columns], velocity[:, self.columns])
        if torque.shape != target.shape:
            what = f"env.actuators.{self.name}: {self.func} returns a torque of shape {tuple(torque.shape)}"
            raise ConfigError(f"{what}; expected {tuple(target.shape)}.")
        return torque

    def reset(self, env_ids: torch.Tensor) -> None:
        self.model.reset(env_ids)
        if self.delay is not None:
            self.delay.reset(env_ids)

    def set(self, quantity: str, env_ids: torch.Tensor, values: torch.Tensor, columns: torch.Tensor) -> None:
        """Set a quantity of the joints `columns` (k,) of this actuator, values (n, k); a factor changes all of them."""
        if self._motors is not None:
            at = (env_ids[:, None], columns)
            self._write(at, self._motors.set(quantity, at, values))

    def impose_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Let torque limits (n, K) in N·m act, NaN: those that the joints have."""
        if self._motors is not None:
            at = (env_ids[:, None], torch.arange(len(self.joints), device=self.joints.device))
            self._write(at, self._motors.impose(at, limits))

    def _write(self, at: tuple[torch.Tensor, ...], acting: dict[str, torch.Tensor]) -> None:
        for name, values in acting.items():
            held = self.model.quantities[name]
            held[at] = values.to(held)

    def state_dict(self) -> StateDict:
        return {
            "quantities": {name: values.clone() for name, values in self.model.quantities.items()},
            "motors": None if self._motors is None else self._motors.state_dict(),
            "model": term_state(self.model),
            "delay": None if self.delay is None else self.delay.state_dict(),
        }

    def load_state_dict(self, state: StateDict) -> None:
        for name, values in state["quantities"].items():
            self.model.quantities[name].copy_(values)
        if self._motors is not None:
            self._motors = MotorParameters(self.nominal, self.group.num_envs)
            if "motors" in state:  # absent in checkpoints of older versions
                self._motors.load_state_dict(state["motors"])
        for name, value in state["model"].items():
            setattr(self.model, name, value.clone() if isinstance(value, torch.Tensor) else value)
        if self.delay is not None:
            self.delay.load_state_dict(state["delay"])


def _built(name: str, cfg: ActuatorCfg, group: JointGroup) -> Actuator:
    model = find_term("actuators", cfg.func)
    accepted = list(inspect.signature(model).parameters)[1:]
    for key in cfg.params:
        if key not in accepted:
            raise ConfigError(
                f"env.actuators.{name}: {cfg.func} has no parameter `{key}`. {did_you_mean(key, accepted)}"
            )
    try:
        built: Actuator = model(group, **cfg.params)
    except ConfigError as error:
        raise ConfigError(f"env.actuators.{name}: {error}") from error
    if missing := [part for part in ("quantities", "torque", "reset") if not hasattr(built, part)]:
        raise ConfigError(f"env.actuators.{name}: {cfg.func} has no {', '.join(missing)}; an actuator is a class with.")
    return built


class ActuatedWorld:
    """N robots whose actuated joints are moved by torques. See `regimen.envs.sims.world.World` for each method.

    What is not defined here is that of the simulator.

    Attributes:
        sim: the simulator.
        most_delay: physics steps after which each target has arrived.
        with_gains: (J,) bool, joints that follow a stiffness: all but those of networks.
    """

    def __init__(self, sim: TorqueWorld, parts: Sequence[_Part], robot: Robot) -> None:
        """Put actuators in front of a simulator.

        Args:
            sim: opened for the torques of their joints.
            parts: the actuators.
            robot: for the pose that is held before the first targets.
        """
        self.sim, self.num_envs, self.device, self.dt = sim, sim.num_envs, sim.device, sim.dt
        self.joints, self.bodies, self.sites, self.joint_range = sim.joints, sim.bodies, sim.sites, sim.joint_range
        self._parts = list(parts)
        self._has_servos = len(sim.torque_joints) < len(sim.joints)
        self._targets = torch.tensor(robot.default_joint_pos, device=self.device).repeat(self.num_envs, 1)
        self._torques = torch.zeros(self.num_envs, len(sim.torque_joints), device=self.device)
        self.most_delay = max(part.most_delay for part in self._parts)
        self.with_gains = torch.ones(len(sim.joints), dtype=torch.bool, device=self.device)
        for part in self._parts:
            self.with_gains[part.joints] = "stiffness" in part.model.quantities

    def __getattr__(self, name: str) -> Any:
        """Return what is the simulator's own."""
        if name == "sim":  # not there yet, while an object is copied
            raise AttributeError(name)
        return getattr(self.sim, name)

    def set_joint_targets(self, targets: torch.Tensor) -> None:
        """Set position targets (N, J) in rad, held until the next call."""
        self._targets = targets.clone()
        if self._has_servos:
            self.sim.set_joint_targets(targets)

    def step(self, substeps: int) -> torch.Tensor:
        """Advance all robots, torques computed at each physics step; return (N,) bool, true where physics diverged."""
        diverged = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        for _ in range(substeps):
            position, velocity = self.sim.joint_state()
            for part in self._parts:
                self._torques[:, part.outputs] = part.torque(self._targets, position, velocity)
            self.sim.set_joint_torques(self._torques)
            diverged |= self.sim.step(1)
        return diverged

    def reset(
        self,
        env_ids: torch.Tensor,
        root_pose: torch.Tensor,
        root_vel: torch.Tensor,
        joint_pos: torch.Tensor,
        joint_vel: torch.Tensor,
    ) -> None:
        """Set the state of the robots `env_ids` (n,); delays are drawn, delayed targets and networks cleared."""
        self.sim.reset(env_ids, root_pose, root_vel, joint_pos, joint_vel)
        self._targets[env_ids] = joint_pos
        for part in self._parts:
            part.reset(env_ids)

    def effort_limits(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Return the largest absolute torque (n, J) in N·m, of servos and of actuators."""
        limits = self.sim.effort_limits(env_ids)
        for part in self._parts:
            if LIMIT in part.model.quantities:
                limits[:, part.joints] = part.model.quantities[LIMIT][env_ids]
        return limits

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Impose a largest absolute torque (n, J) in N·m, NaN for none, on servos and on actuators."""
        self.sim.set_effort_limits(env_ids, limits)
        for part in self._parts:
            part.impose_limits(env_ids, limits[:, part.joints])

    def set_gains(self, env_ids: torch.Tensor, stiffness: torch.Tensor, damping: torch.Tensor) -> None:
        """Set position gains (n, J) in N·m/rad and velocity gains (n, J) in N·m·s/rad, of servos and of actuators."""
        self.sim.set_gains(env_ids, stiffness, damping)
        self._set_all("stiffness", env_ids, stiffness)
        self._set_all("damping", env_ids, damping)

    def _set_all(self, quantity: str, env_ids: torch.Tensor, values: torch.Tensor) -> None:
        for part in self._parts:
            every = torch.arange(len(part.joints), device=self.device)
            part.set(quantity, env_ids, values[:, part.joints], every)

    def state_dict(self) -> StateDict:
        """Return the state of the simulator and of the actuators."""
        return {
            "sim": self.sim.state_dict(),
            "targets": self._targets.clone(),
            "actuators": {part.name: part.state_dict() for part in self._parts},
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`, bit for bit."""
        self.sim.load_state_dict(state["sim"])
        self._targets = state["targets"].clone()
        for part in self._parts:
            part.load_state_dict(state["actuators"][part.name])


class RandomizedActuatedWorld(ActuatedWorld):
    """The same in front of a `RandomizedWorld`: quantities of actuated joints are those of their models."""

    def names_of(self, quantity: str) -> list[str]:
        """Return the names of the bodies, joints or shapes that have a quantity."""
        names = self._randomized.names_of(quantity)
        if quantity not in (*GAINS, STRENGTH):
            return names
        lacking = {joint for part in self._parts if not _has(part, quantity) for joint in part.group.joints}
        return [name for name in names if name not in lacking]

    def nominal(self, quantity: str) -> torch.Tensor:
        """Return the values of a quantity in the model, (K,) float64 in the order of `names_of`."""
        values = self._randomized.nominal(quantity)
        if quantity not in (*GAINS, STRENGTH):
            return values
        of_sim = dict(zip(self._randomized.names_of(quantity), values.tolist(), strict=True))
        for part in self._parts:
            own = [1.0] * len(part.group.joints) if quantity == STRENGTH else None
            if _has(part, quantity):
                own = own or part.nominal[quantity].tolist()
                of_sim |= dict(zip(part.group.joints, own, strict=True))
        own_values = [of_sim[name] for name in self.names_of(quantity)]
        return torch.tensor(own_values, dtype=values.dtype, device=values.device)

    def set_quantity(self, quantity: str, env_ids: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> None:
        """Set a quantity of the robots `env_ids` (n,): the columns (k,) of `names_of` to values (n, k) float64."""
        sim = self._randomized
        if quantity not in (*GAINS, STRENGTH):
            sim.set_quantity(quantity, env_ids, columns, values)
            return
        of_sim, names = sim.names_of(quantity), self.names_of(quantity)
        chosen = [names[column] for column in columns.tolist()]
        servos = [at for at, name in enumerate(chosen) if name not in self.sim.torque_joints]
        if servos:
            own = torch.tensor([of_sim.index(chosen[at]) for at in servos], device=values.device)
            sim.set_quantity(quantity, env_ids, own, values[:, servos])
        for part in self._parts:
            at = [place for place, name in enumerate(chosen) if name in part.group.joints]
            if at:
                own = torch.tensor([part.group.joints.index(chosen[place]) for place in at], device=self.device)
                part.set(quantity, env_ids, values[:, at], own)

    @property
    def _randomized(self) -> RandomizedWorld:
        return cast("RandomizedWorld", self.sim)


def _has(part: _Part, quantity: str) -> bool:
    return quantity == STRENGTH or quantity in part.model.quantities
