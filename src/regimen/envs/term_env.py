"""`TermEnv`: everything that a term of a task may read of its environment.

Observations, rewards, terminations, commands, events and curriculum terms get a `TermEnv` as their first argument. N is
the number of envs, J the number of joints, A of actions, B of monitored bodies, F of tracked sites. Quaternions are
w x y z. Tensors are on `device` and of type float32 unless stated otherwise. Only events change what they are given
here: the `reset_*` tensors in place, and the simulator through `world`.

A term that is a class implements the protocols of what it needs, below `TermEnv`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from regimen.envs.device_reads import DeviceReads
    from regimen.envs.joint_errors import JointErrors
    from regimen.envs.motion.library import MotionLibrary
    from regimen.envs.robot_state import RobotState
    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.world import World
    from regimen.envs.terrain.placement import Placement


def require_motion(env: TermEnv, term: str) -> MotionLibrary:
    """Return the motion clips of a task.

    Args:
        env: the task.
        term: what needs them, for the message.

    Raises:
        ConfigError: the task names no clips.
    """
    if env.motion is None:
        raise ConfigError(f"{term} needs motion clips: env.motion.clips={{walk: {{file: <name or .npz file>}}}}.")
    return env.motion


class CommandTerms(Protocol):
    """The command terms of a task by name."""

    def __getitem__(self, name: str) -> Any:
        """Return the command term `name`: its `value` (N, k), and what else its class offers.

        Raises:
            ConfigError: the task has no command of that name.
        """
        ...


class RewardWeights(Protocol):
    """The reward terms of a task and the weights that multiply them.

    Attributes:
        weights: (R,) weight of each term times `step_dt`, in the order of `terms`.
        episode_sum: (N, R) what each term added to the reward since the reset.
        unweighted: names of terms of weight 0.
    """

    weights: torch.Tensor
    episode_sum: torch.Tensor
    unweighted: list[str]

    @property
    def terms(self) -> Mapping[str, Any]:
        """Reward terms by name; a term of weight 0 is left out."""
        ...

    def set_weight(self, ids: torch.Tensor | slice, weight: float) -> None:
        """Replace the weight of the terms `ids`."""
        ...

    def scale(self, ids: torch.Tensor | slice, factor: float | torch.Tensor) -> None:
        """Set the weight of the terms `ids` to `factor`, a number or (), times their configured weight."""
        ...


class EpisodeEnds(Protocol):
    """The termination terms of a task.

    Attributes:
        termination_masks: name -> (N,) bool, where a term held in the present step.
    """

    termination_masks: dict[str, torch.Tensor]

    @property
    def terms(self) -> Mapping[str, Any]:
        """Termination terms by name."""
        ...


class EventTerms(Protocol):
    """The events of a task.

    Attributes:
        mode: name -> `startup`, `reset` or `interval`.
    """

    mode: dict[str, str]

    @property
    def terms(self) -> Mapping[str, Any]:
        """Events by name."""
        ...


class TermEnv(Protocol):
    """What a term may read. `regimen.envs.manager_env.ManagerEnv` implements it.

    Attributes:
        num_envs: N.
        device: torch device of every tensor.
        step_dt: seconds of one control step.
        max_episode_length: control steps after which an episode times out.
        robot: joint names, default pose, gains, limits, feet and mirror image, as the robot's module states them.
        joints: joint names, in the order of every (…, J) tensor.
        bodies: monitored bodies, in the order of `state.contact_force` (N, B).
        sites: tracked sites, in the order of `state.site_pos` (N, F, 3).
        state: the reading of the simulator at the present step: positions, velocities, torques, contacts, and what is
            derived from them in the base frame.
        world: the simulator; events change mass, friction, gains, limits and velocities through it.
        generator: the one random generator, saved and restored with the environment; `rand` draws from it.
        common_step_counter: control steps since the seeded reset.
        action: (N, A) last action of the policy, before its clip; zeros after a reset.
        previous_action: (N, A) action of the step before; zeros after a reset.
        episode_length: (N,) int64, control steps since the reset.
        terminated: (N,) bool, envs that the present step terminates; time-outs are not among them.
        default_joint_pos: (J,) rad.
        default_root_pose: (1, 7) m and quaternion, pose of the base at the spawn height.
        joint_range: (J, 2) rad, lower and upper limit.
        soft_joint_range: (J, 2) rad, the middle 90 % of `joint_range`.
        effort_limit: (J,) N·m, nominal.
        stiffness: (J,) N·m/rad, nominal.
        damping: (J,) N·m·s/rad, nominal.
        reset_root_pose: (N, 7) m and quaternion, where the base starts at the next reset; written by reset events. On
            uneven ground they write it as on flat ground at the origin, and it is moved to the tile of each env then.
        reset_root_vel: (N, 6) m/s in the world frame and rad/s in the base frame, likewise.
        reset_joint_pos: (N, J) rad, likewise.
        reset_joint_vel: (N, J) rad/s, likewise.
        motion: the motion clips of the section `motion`; None without clips.
        terrain: uneven ground and the tile of each env; None where the ground is flat, at height 0.
        joint_errors: errors of encoders and servos, which `randomize` draws; `state` has the true angles.
        reads: what the host reads from the device in a step; terms do without.
    """

    num_envs: int
    device: torch.device
    step_dt: float
    max_episode_length: int
    robot: Robot
    joints: list[str]
    bodies: list[str]
    sites: list[str]
    state: RobotState
    world: World
    generator: torch.Generator
    common_step_counter: int
    action: torch.Tensor
    previous_action: torch.Tensor
    episode_length: torch.Tensor
    terminated: torch.Tensor
    default_joint_pos: torch.Tensor
    default_root_pose: torch.Tensor
    joint_range: torch.Tensor
    soft_joint_range: torch.Tensor
    effort_limit: torch.Tensor
    stiffness: torch.Tensor
    damping: torch.Tensor
    reset_root_pose: torch.Tensor
    reset_root_vel: torch.Tensor
    reset_joint_pos: torch.Tensor
    reset_joint_vel: torch.Tensor
    motion: MotionLibrary | None
    terrain: Placement | None
    joint_errors: JointErrors
    reads: DeviceReads

    @property
    def commands(self) -> CommandTerms:
        """Command terms by name: `env.commands["base_velocity"].value` (N, 3)."""
        ...

    @property
    def rewards(self) -> RewardWeights:
        """Reward weights, for curriculum terms."""
        ...

    @property
    def terminations(self) -> EpisodeEnds:
        """Ends of episodes, for curriculum terms."""
        ...

    @property
    def events(self) -> EventTerms:
        """Events, for curriculum terms."""
        ...

    @property
    def foot_force(self) -> torch.Tensor:
        """Magnitude of the net contact force on each foot, (N, feet) N, in the order of `robot.feet`."""
        ...

    @property
    def foot_pos(self) -> torch.Tensor:
        """Position of the sole of each foot, (N, feet, 3) m, world frame."""
        ...

    @property
    def foot_vel(self) -> torch.Tensor:
        """Velocity of the sole of each foot, (N, feet, 3) m/s, world frame."""
        ...

    def height_above_ground(self, places: torch.Tensor) -> torch.Tensor:
        """Return the height of places (..., 3) in the world frame above the ground below them, (...) m."""
        ...

    def rand(self, *shape: int) -> torch.Tensor:
        """Draw numbers uniform in [0, 1) from `generator`; numbers drawn elsewhere would make resuming inexact."""
        ...


@runtime_checkable
class ResettableTerm(Protocol):
    """A term with state of its own for each env; an event of this kind is not called, but reset."""

    def reset(self, env_ids: torch.Tensor) -> None:
        """Set back the state of the envs `env_ids` (n,), whose episode ended."""
        ...


@runtime_checkable
class ResampledTerm(Protocol):
    """A command that is drawn again within episodes: after its `step`, its `reset` is called for the due envs."""

    def due(self) -> torch.Tensor | None:
        """Return where the coming step draws, (N,) bool; None where it draws nowhere. Called before `step`."""
        ...


@runtime_checkable
class SteppedTerm(Protocol):
    """An observation or event term that advances once in each control step."""

    def step(self) -> None:
        """Advance; events before the physics, observations after it."""
        ...


@runtime_checkable
class ForeseeingTerm(Protocol):
    """A stepped event that asks one step ahead which envs it changes; a read of its own would wait for a GPU.

    Without the answer, or after a restart, see `DeviceReads.restarts`, it reads them itself.
    """

    def ahead(self, ended: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return masks (N,) bool; `ended` (N,) bool are the envs whose episode ends, which are reset afterwards."""
        ...

    def receive(self, ended_ids: torch.Tensor, ids: tuple[torch.Tensor, ...]) -> None:
        """Take the ids (n,) of `ended`, the very tensor that `reset` is called with, and those of the masks."""
        ...


@runtime_checkable
class LabellingTerm(Protocol):
    """An event term with the ground truth of the present step."""

    def labels(self) -> dict[str, torch.Tensor]:
        """Return name -> (N,)."""
        ...


@runtime_checkable
class FixableTerm(Protocol):
    """An event term that can be held at given values, for evaluation."""

    def fix(self, **values: torch.Tensor) -> None:
        """Hold the event at `values`, each (N,), from the next reset on."""
        ...


@runtime_checkable
class StaggeredTerm(Protocol):
    """A stepped event whose state depends on the time since the reset."""

    def stagger(self) -> None:
        """Follow a change of `episode_length`, made once after the reset."""
        ...


@runtime_checkable
class RestartableTerm(Protocol):
    """A curriculum term or an event that changes the task for longer than an episode."""

    def restart(self) -> None:
        """Set the task back to where it was before, at a seeded reset."""
        ...


@runtime_checkable
class AdaptiveTerm(Protocol):
    """A curriculum term whose level follows the episodes; processes of one training average it.

    Attributes:
        level: present level; a () tensor where it follows from values on the device.
    """

    level: float | torch.Tensor

    def set_level(self, level: float) -> None:
        """Set the level, and change the task accordingly."""
        ...


@runtime_checkable
class RangedTerm(Protocol):
    """An event whose draws are between limits that a curriculum may move.

    Attributes:
        ranges: (k, 2) lower and upper limit of each draw.
    """

    ranges: torch.Tensor

    def ranges_of(self, **params: Any) -> torch.Tensor:
        """Return `ranges` with those of the given parameters in their place.

        Raises:
            ConfigError: a parameter has no range of this event.
        """
        ...


@runtime_checkable
class MirroredCommand(Protocol):
    """A command term whose value has a mirror image."""

    def image(self) -> tuple[list[int], list[float]] | None:
        """Return for each value the index and the sign of its image; None where there is none."""
        ...
