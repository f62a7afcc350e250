"""A task in Isaac Lab's manager vocabulary, on every simulator that implements `regimen.envs.sims.world.World`.

One control step: set joint targets, apply due faults, advance the physics, compute terminations and rewards, compute
the final observation of ended episodes, update the curriculum, reset ended episodes, fire interval events, observe.
Commands advance before the final observation is computed, so that it is the successor of the last action.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch

from regimen.config.targets import resolve
from regimen.envs.actuators.settings import robot_with, simulator_arguments
from regimen.envs.actuators.world import with_actuators
from regimen.envs.device_reads import DeviceReads
from regimen.envs.finite import all_finite, bad_column, bad_rows, diverged
from regimen.envs.joint_errors import JointErrors
from regimen.envs.managers import (
    CommandManager,
    CurriculumManager,
    EventManager,
    MetricManager,
    RewardManager,
    TerminationManager,
)
from regimen.envs.motion.library import MotionLibrary
from regimen.envs.observation_manager import ObservationManager
from regimen.envs.past_values import Part, PastValues
from regimen.envs.robot_state import RobotState
from regimen.envs.robots.robot import load as load_robot
from regimen.envs.sims.world import WorldState
from regimen.envs.symmetry import Symmetry
from regimen.envs.term_binding import as_slice, match_ids
from regimen.envs.terrain.grid import build_terrain
from regimen.envs.terrain.placement import Placement
from regimen.envs.vec_env import ActionSpec, IOSpec, Obs, StepInfo
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from regimen.config.schema import Config
    from regimen.config.task_schema import ManagerEnvCfg
    from regimen.envs.manager_base import Stateful
    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.world import World
    from regimen.envs.terrain.grid import Terrain
    from regimen.runs.checkpoint_header import StateDict
    from regimen.system.errors import DivergedError

SOFT_LIMIT_FACTOR = 0.9
"""Share of a joint's range within the soft limits, as in Isaac Lab's robot assets."""


KINEMATIC = ("joint_pos", "joint_vel", "root_pos", "root_quat", "root_lin_vel", "root_ang_vel")
"""Fields of `WorldState` that are examined in each step; the others follow from them."""

STARTS = ("reset_root_pose", "reset_root_vel", "reset_joint_pos", "reset_joint_vel")
"""Tensors that reset events write."""

_BUFFERS = ("action", "previous_action", "episode_length", "terminated", "_targets", *STARTS)


class ManagerEnv:
    """N copies of one task.

    Agents use it as a `regimen.envs.vec_env.VecEnv`, terms as a `regimen.envs.term_env.TermEnv`, where the attributes
    that terms read are documented.

    Attributes:
        symmetry: mirror image of observations and actions, None where robot or terms declare none.
        reads: what the host reads from the device in a step.
    """

    def __init__(
        self, cfg: ManagerEnvCfg, robot: Robot, world: World, seed: int, terrain: Terrain | None = None
    ) -> None:
        """Build the managers.

        Args:
            cfg: the task.
            robot: names, gains and default pose.
            world: N copies of the robot.
            seed: of the generator.
            terrain: the ground of `world`; None where it is flat.
        """
        self.cfg, self.num_envs, self.device = cfg, world.num_envs, world.device
        self.reads = DeviceReads(self.device)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.world = with_actuators(world, cfg.actuators, robot, self.rand)
        self.robot = robot = robot_with(cfg.actuators, robot)
        self.step_dt = world.dt * cfg.decimation
        self.max_episode_length = math.ceil(cfg.episode_length_s / self.step_dt - 1e-9)
        self.joints, self.bodies, self.sites = world.joints, world.bodies, world.sites
        self.joint_errors = JointErrors(world.joints, self.num_envs, self.device)
        self._read_robot(robot)
        self._allocate()
        self.terrain = None if terrain is None else Placement(terrain, self.num_envs, self.device)
        self.state = self._read()
        self.motion = MotionLibrary.open(cfg.motion, robot, self.step_dt, self.device)
        self.commands = CommandManager(self, cfg.commands)
        self.events = EventManager(self, cfg.events)
        self.rewards = RewardManager(self, cfg.rewards)
        self.terminations = TerminationManager(self, cfg.terminations)
        self.metrics = MetricManager(self, cfg.metrics)
        self.curriculum = CurriculumManager(self, cfg.curriculum)
        self.observations = ObservationManager(self, cfg.observations, cfg.observation_noise)
        self._started = False
        self.io = IOSpec(self.observations.sizes(), self._action_spec(), self.step_dt, self.observations.meaning())
        self.symmetry = Symmetry.of(self, self.io, cfg.observations)

    @classmethod
    def open(cls, config: Config) -> ManagerEnv:
        """Open the simulator `config.sim` with the task's robot, and build the task."""
        robot = load_robot(config.env.robot)
        terrain = build_terrain(config.env.terrain) if config.env.terrain is not None else None
        given: dict[str, object] = {} if terrain is None else {"ground": terrain.ground}
        given |= simulator_arguments(config.sim, config.env.actuators, robot)
        threads = config.hardware.num_threads()
        world = resolve(config.sim._target_)(config.sim, robot, config.env.num_envs, threads, **given)
        return cls(config.env, robot, world, config.seed, terrain)

    def _read_robot(self, robot: Robot) -> None:
        device = self.device
        self.default_joint_pos = torch.tensor(robot.default_joint_pos, device=device)
        self.effort_limit = torch.tensor(robot.effort_limit, device=device)
        self.stiffness = torch.tensor(robot.stiffness, device=device)
        self.damping = torch.tensor(robot.damping, device=device)
        self.joint_range = self.world.joint_range
        middle, half = self.joint_range.mean(1), (self.joint_range[:, 1] - self.joint_range[:, 0]) / 2
        self.soft_joint_range = torch.stack((middle - SOFT_LIMIT_FACTOR * half, middle + SOFT_LIMIT_FACTOR * half), 1)
        self.default_root_pose = torch.tensor([[0.0, 0.0, robot.spawn_height, 1.0, 0.0, 0.0, 0.0]], device=device)
        self._examined = KINEMATIC if robot.floating_base else KINEMATIC[:2]
        self._foot_bodies = as_slice([self.bodies.index(f) for f in robot.feet], device)
        self._foot_sites = as_slice([self.sites.index(f) for f in robot.feet], device)
        self._acting = match_ids(self.cfg.actions.joints, self.joints, "actions.joints").to(device)
        self._acting_pose = self.default_joint_pos[self._acting]
        self._acting_columns = as_slice(self._acting.tolist(), device)
        self._acting_scale = torch.tensor(self._action_spec().scale, device=device)

    def _allocate(self) -> None:
        n, joints, device = self.num_envs, len(self.joints), self.device
        self.action = torch.zeros(n, len(self._acting), device=device)
        self.previous_action = torch.zeros_like(self.action)
        self.episode_length = torch.zeros(n, dtype=torch.long, device=device)
        self.terminated = torch.zeros(n, dtype=torch.bool, device=device)
        self._targets = self.default_joint_pos.repeat(n, 1)
        # State that the next reset of each env starts from; written by reset events.
        self.reset_root_pose = self.default_root_pose.repeat(n, 1)
        self.reset_root_vel = torch.zeros(n, 6, device=device)
        self.reset_joint_pos = self.default_joint_pos.repeat(n, 1)
        self.reset_joint_vel = torch.zeros(n, joints, device=device)
        self._start_shapes = {name: getattr(self, name).shape for name in STARTS}
        self.common_step_counter = 0
        delay, acting = self.cfg.actions.delay, len(self._acting)
        part = Part(acting, delay=(delay[0], delay[1]), jitters=self.cfg.actions.delay_drawn == "step")
        self._past_actions = PastValues([part], n, device, self.rand) if delay[1] > 0 else None
        self._no_action = torch.zeros(acting, device=device)

    def _action_spec(self) -> ActionSpec:
        cfg, names = self.cfg.actions, [self.joints[i] for i in self._acting.tolist()]
        offset = [round(v, 6) for v in self.default_joint_pos[self._acting].tolist()]
        limits = [[round(v, 6) for v in pair] for pair in self.joint_range[self._acting].tolist()]
        scale = self.robot.action_scale(names, cfg.scale, cfg.unit)
        return ActionSpec(names, scale, offset, cfg.clip, limits)

    @property
    def foot_force(self) -> torch.Tensor:
        """Net contact force on each foot, (N, F) N, in the order of the robot's feet."""
        return self.state.contact_force[:, self._foot_bodies]

    @property
    def foot_pos(self) -> torch.Tensor:
        """Position of each sole, (N, F, 3) m, world frame."""
        return self.state.site_pos[:, self._foot_sites]

    @property
    def foot_vel(self) -> torch.Tensor:
        """Velocity of each sole, (N, F, 3) m/s, world frame."""
        return self.state.site_vel[:, self._foot_sites]

    def height_above_ground(self, places: torch.Tensor) -> torch.Tensor:
        """Return the height of places (..., 3) in the world frame above the ground below them, (...) m."""
        heights = places[..., 2]
        return heights if self.terrain is None else heights - self.terrain.ground.at(places)

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs; with a seed, reseed the generator and repeat the startup events."""
        self.reads.restart()
        if seed is not None:
            self.generator.manual_seed(seed)
            self._started = False
            self.common_step_counter = 0
            self.rewards.restart()
            self.events.restart()
            self.curriculum.restart()
            if self.terrain is not None:
                self.terrain.restart(self.rand)
        all_ids = torch.arange(self.num_envs, device=self.device)
        if not self._started:
            self.events.startup(all_ids)
            self._started = True
        self._reset_envs(all_ids)
        return self.observations.compute(self.observations.draw_noise())

    def _reset_envs(self, env_ids: torch.Tensor) -> None:
        if self.terrain is not None:
            self.reset_root_pose[env_ids] = self.default_root_pose
        self.events.reset(env_ids)
        self._require_start(env_ids)
        if self.terrain is not None:
            self.reset_root_pose[env_ids] = self.terrain.place(env_ids, self.reset_root_pose[env_ids])
        self.world.reset(
            env_ids,
            self.reset_root_pose[env_ids],
            self.reset_root_vel[env_ids],
            self.reset_joint_pos[env_ids],
            self.reset_joint_vel[env_ids],
        )
        if self._past_actions is not None:
            self._past_actions.reset(env_ids)
        self.episode_length[env_ids] = 0
        self.action[env_ids], self.previous_action[env_ids] = 0.0, 0.0
        managers = (self.commands, self.rewards, self.terminations, self.curriculum, self.metrics, self.observations)
        for manager in managers:
            manager.reset(env_ids)
        self.state.update(env_ids, self._read(env_ids))

    def _read(self, env_ids: torch.Tensor | None = None) -> RobotState:
        return RobotState(self.world.read(env_ids), self.default_joint_pos)

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by one action (N, A). See `VecEnv.step`.

        Raises:
            ConfigError: naming a term that returned another shape or type.
            DivergedError: naming the joint of the action, the state of the simulator, or the term that is not finite.
        """
        self._act(action)
        self.events.step()
        was_reset = self.world.step(self.cfg.decimation)
        self.state = self._read()
        self.episode_length += 1
        self.common_step_counter += 1
        self._examine_state()
        terminated, truncated = self.terminations.compute(was_reset)
        self.terminated = terminated
        reward = self.rewards.compute()
        labels, metrics = self.events.labels(), self._metrics()
        ended = terminated | truncated
        commands_due, events_due = self.commands.due(), self.events.due(ended)
        done, *found = self.reads.ids(ended, *commands_due.values(), *events_due, *self.events.ahead(ended))
        ids = iter(found)
        of_commands = {name: next(ids) for name in commands_due}
        of_events = [next(ids) for _ in events_due]
        self.events.receive(done, list(ids))
        self.commands.step(of_commands)
        self.observations.step()
        noise = self.observations.draw_noise()
        curriculum_log = self.curriculum.step(done)
        log: dict[str, float] = {}
        final_obs: Obs | None = None
        if len(done):
            final_obs = self.observations.compute(noise)
            log = self.rewards.log(done) | self.terminations.log(done) | curriculum_log
            self._reset_envs(done)
        pushed_ids = self.events.interval(of_events)
        if len(pushed_ids):
            self.state.update(pushed_ids, self._read(pushed_ids))
            self._examine_state("after the interval events " + ", ".join(self.events.fired))
        obs = self.observations.compute(noise)
        info: StepInfo = {"final_obs": final_obs or obs, "log": log, "labels": labels, "metrics": metrics}
        info |= {"ends": self.terminations.ends(), "ended_ids": done}
        return obs, reward, terminated, truncated, info

    def _metrics(self) -> dict[str, torch.Tensor]:
        """Return the metrics of commands and task, and the mechanical power of all joints in W, each (N,)."""
        power = (self.state.joint_torque * self.state.joint_vel).abs().sum(1)
        return {**self.commands.metrics(), **self.metrics.compute(), "power": power}

    def _act(self, action: torch.Tensor) -> None:
        self.reads.require_finite(action, partial(self._action_error, action, self.common_step_counter))
        self.previous_action, self.action = self.action, action.clone()
        if self.cfg.actions.clip is not None:
            action = action.clamp(-self.cfg.actions.clip, self.cfg.actions.clip)
        if self._past_actions is not None:
            action = self._past_actions.read(action, before=self._no_action)
            self._past_actions.step()
        self._targets[:, self._acting_columns] = self._acting_pose + action * self._acting_scale
        self.world.set_joint_targets(self.joint_errors.reached(self._targets))

    def _action_error(self, action: torch.Tensor, step: int) -> DivergedError:
        joint = self.joints[int(self._acting[bad_column(action)])]
        return diverged(f"The policy's action for joint {joint}", bad_rows(action), self.num_envs, step)

    def _require_start(self, env_ids: torch.Tensor) -> None:
        """Raise if reset events wrote a start that is not finite or of another shape, naming the event."""
        for name, shape in self._start_shapes.items():
            values: torch.Tensor = getattr(self, name)
            if values.shape != shape:
                event = self._spoiling_event(name, env_ids)
                raise ConfigError(f"{event} has shape {tuple(values.shape)}; expected {tuple(shape)}.")
            self.reads.require_finite(values, partial(self._start_error, name, env_ids, self.common_step_counter))

    def _start_error(self, name: str, env_ids: torch.Tensor, step: int) -> DivergedError:
        bad = bad_rows(getattr(self, name))
        return diverged(self._spoiling_event(name, env_ids), bad, self.num_envs, step)

    def _spoiling_event(self, name: str, env_ids: torch.Tensor) -> str:
        """Return the subject of a message about the tensor `name`, with the reset event that wrote it."""
        setattr(self, name, torch.zeros(self._start_shapes[name], device=self.device))
        event = self.events.first_that(env_ids, partial(self._is_spoilt, name))
        return f"{name}, written by {f'the reset event `{event}`' if event else 'a reset event'},"

    def _is_spoilt(self, name: str) -> bool:
        values: torch.Tensor = getattr(self, name)
        return values.shape != self._start_shapes[name] or not all_finite(values)

    def require_finite_state(self) -> None:
        """Raise if the reading of the simulator is not finite.

        Raises:
            DivergedError: naming quantity, joint, envs and step.
        """
        for field, values in self.state.world.tensors().items():
            if not all_finite(values):
                raise self._state_error(field, values, "", self.common_step_counter)

    def _examine_state(self, when: str = "") -> None:
        """Raise, on a GPU at the next read, if joints or base are not finite; `when` ends the message's subject."""
        for field in self._examined:
            values: torch.Tensor = getattr(self.state.world, field)
            self.reads.require_finite(values, partial(self._state_error, field, values, when, self.common_step_counter))

    def _state_error(self, field: str, values: torch.Tensor, when: str, step: int) -> DivergedError:
        joint = f" of joint {self.joints[bad_column(values)]}" if field.startswith("joint_") else ""
        what = " ".join(filter(None, [f"The simulator's {field}{joint}", when]))
        error = diverged(what, bad_rows(values), self.num_envs, step)
        error.of_state = True
        return error

    def kinematics(self) -> dict[str, torch.Tensor]:
        """Return the state that a NaN dump keeps: joints and base, name -> (N, ...), and the commands."""
        readings = self.state.world.tensors()
        kept = {field: readings[field] for field in (*KINEMATIC, "joint_torque")}
        return kept | {f"command_{name}": term.value.clone() for name, term in self.commands.terms.items()}

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Hold command `name` at `values` (N, k), for evaluation."""
        self.commands.fix(name, values)

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Hold event `name` at the given values, each (N,), from the next reset of each env on."""
        self.events.fix(name, **values)

    def stagger(self) -> None:
        """Set the envs to random times of their episodes, so that they do not all time out in the same step."""
        self.episode_length = (self.rand(self.num_envs) * self.max_episode_length).long()
        self.events.stagger()

    def rand(self, *shape: int) -> torch.Tensor:
        """Draw numbers uniform in [0, 1) from `generator`."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def render(self) -> np.ndarray:
        """Return an image of env 0, (H, W, 3) uint8."""
        return self.world.render(0)

    def state_dict(self) -> StateDict:
        """Return the full state: physics, generator, counters, terms.

        Raises:
            DivergedError: of a check that waits for the next step.
        """
        self.reads.raise_pending()
        return {
            "world": self.world.state_dict(),
            "reading": {k: v.clone() for k, v in self.state.world.tensors().items()},
            "generator": self.generator.get_state(),
            "buffers": {k: getattr(self, k).clone() for k in _BUFFERS},
            "terms": {n: m.state_dict() for n, m in self._managers().items()},
            "started": self._started,
            "steps": self.common_step_counter,
            **({} if self._past_actions is None else {"past_actions": self._past_actions.state_dict()}),
            **({"joint_errors": errors} if (errors := self.joint_errors.state_dict()) else {}),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.reads.restart()
        self.world.load_state_dict(state["world"])
        self.state = RobotState(
            WorldState(**{k: v.clone() for k, v in state["reading"].items()}), self.default_joint_pos
        )
        self.generator.set_state(state["generator"])
        for name, value in state["buffers"].items():
            setattr(self, name, value.clone())
        for name, manager in self._managers().items():
            manager.load_state_dict(state["terms"].get(name, {}))  # checkpoints of older versions have no curriculum
        if self._past_actions is not None:
            self._past_actions.load_state_dict(state["past_actions"])
        self.joint_errors.load_state_dict(state.get("joint_errors", {}))
        self.common_step_counter = state.get("steps", 0)
        self._started = state["started"]

    def _managers(self) -> dict[str, Stateful | Placement]:
        managers: dict[str, Stateful | Placement] = {
            "commands": self.commands,
            "events": self.events,
            "rewards": self.rewards,
            "terminations": self.terminations,
            "curriculum": self.curriculum,
            "metrics": self.metrics,
            "observations": self.observations,
        }
        return managers if self.terrain is None else managers | {"terrain": self.terrain}

    def close(self) -> None:
        """Free the simulator."""
        self.world.close()
