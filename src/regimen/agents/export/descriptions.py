"""Parts of the description of an exported policy; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LAST_ACTION = "last_action"
"""Observation function of the action of the last step, which a robot's program feeds back."""


@dataclass(frozen=True)
class ActuatorDescription:
    """A model of motors with which a policy was trained.

    Attributes:
        func: its class in the task.
        joint_names: its joints.
        delay: least and greatest number of physics steps after which a target arrived.
        delay_drawn: when a delay was drawn, `episode` or `step`.
        params: arguments of the class; what is missing is the robot's.
    """

    func: str
    joint_names: list[str]
    delay: list[int]
    delay_drawn: str
    params: dict[str, Any]


@dataclass(frozen=True)
class RobotDescription:
    """What the position controllers of a robot need.

    Attributes:
        name: of the robot.
        joint_names: in the order of the other values.
        default_joint_pos: rad.
        stiffness: N·m/rad.
        damping: N·m·s/rad.
        effort_limit: N·m.
        velocity_limit: rad/s.
        actuators: models of motors by name; joints of none had the position servo of the simulator.
    """

    name: str
    joint_names: list[str]
    default_joint_pos: list[float]
    stiffness: list[float]
    damping: list[float]
    effort_limit: list[float]
    velocity_limit: list[float]
    actuators: dict[str, ActuatorDescription] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RobotDescription:
        """Return the description in a file.

        Raises:
            TypeError: a key is missing.
        """
        actuators = {name: ActuatorDescription(**part) for name, part in (data.get("actuators") or {}).items()}
        return cls(**{**data, "actuators": actuators})


@dataclass(frozen=True)
class ReferenceClip:
    """A motion clip that a policy follows, frame by frame.

    Attributes:
        name: of the clip.
        weight: probability that an episode of the training follows it.
        fps: frames a second.
        duration_s: from the first to the last frame, s.
        cyclic: whether the clip is repeated.
        cycle_shift: m, m: how far the base moves in a cycle, in the frame of its beginning.
        cycle_turn: rad by which the heading turns in a cycle.
        joint_names: in the order of the columns below.
        root_pos: (F, 3) m, in the clip's own frame, z from the floor.
        root_quat: (F, 4) w x y z.
        joint_pos: (F, J) rad.
        joint_vel: (F, J) rad/s.
        source: where the motion comes from.
        license: its terms.
    """

    name: str
    weight: float
    fps: float
    duration_s: float
    cyclic: bool
    cycle_shift: list[float]
    cycle_turn: float
    joint_names: list[str]
    root_pos: list[list[float]]
    root_quat: list[list[float]]
    joint_pos: list[list[float]]
    joint_vel: list[list[float]]
    source: str
    license: str


@dataclass(frozen=True)
class CommandDescription:
    """A command that observation terms read.

    Attributes:
        func: its class in the task.
        params: arguments of the class, defaults included.
        terms: observation terms that read it, `group.term`.
        value: what its value is.
        computed: how it follows from the time, empty where it is a person's or a planner's choice.
        clips: motion clips that it follows.
    """

    func: str
    params: dict[str, Any]
    terms: list[str]
    value: str
    computed: str
    clips: list[ReferenceClip] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CommandDescription:
        """Return the description in a file.

        Raises:
            TypeError: a key is missing.
        """
        return cls(**{**data, "clips": [ReferenceClip(**clip) for clip in data.get("clips", [])]})


@dataclass(frozen=True)
class ExportCheck:
    """Comparison of an exported network with its policy.

    Attributes:
        observations: random observations compared.
        largest_difference: of actions and targets, relative above 1.
        run_by: name and version of the runtime.
    """

    observations: int
    largest_difference: float
    run_by: str


@dataclass(frozen=True)
class SensorDescription:
    """An input of a file with the observation pipeline inside: one reading, in its own unit.

    Attributes:
        size: values of a reading.
        value: what it is, with its unit; empty where the task does not say.
        terms: observation terms that read it, `group.term`.
    """

    size: int
    value: str
    terms: list[str]


@dataclass(frozen=True)
class DelayDescription:
    """A delay of the training, which stands for the robot's own and is no part of the file.

    Attributes:
        steps: least and greatest delay in control steps.
        drawn: `episode`, or `step` for one that jitters.
    """

    steps: list[int]
    drawn: str
