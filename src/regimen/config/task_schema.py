"""Configuration of a manager-based task: its terms, actions, events, estimate and evaluation."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, ClassVar

from omegaconf import MISSING

from regimen.config.motion_files import resolve_motion
from regimen.config.yaml_io import PlainConfig, PlainSection
from regimen.system.errors import ConfigError, did_you_mean

MOST_DELAY = 1000
"""Steps of the longest delay: as many values of each env are kept."""

ACTION_UNITS = ("rad", "saturation")
"""Units of an action's scale: radians, or the angle at which a joint's motor saturates."""


NOISE_KINDS = ("uniform", "gaussian")
DELAYS_DRAWN = ("episode", "step")


@dataclass
class TermCfg:
    """One function of a manager.

    Attributes:
        func: name of a function or class in the group's own module under `regimen.envs.terms`, or
            `pkg.mod:name` for one of yours.
        params: its keyword arguments. Regular expressions given to `joints`, `bodies` and, in the curriculum,
            `rewards` are resolved to ids.
    """

    func: str = MISSING
    params: PlainSection = field(default_factory=dict)


@dataclass
class ObservationTermCfg(TermCfg):
    """One part of an observation group.

    Noise and bias are added while `env.observation_noise` is on; then come clip, scale, delay and history.

    Attributes:
        noise: size of the noise of each step, in the unit of the term: half width of `uniform`, standard deviation of
            `gaussian`.
        noise_kind: `uniform` or `gaussian`.
        bias: half width of a uniform error that is constant for an episode, in the unit of the term.
        bias_walk: standard deviation of the change of that error in a second, a random walk, in the unit of the term.
        scale: factor applied after the noise.
        clip: bound on the absolute value, applied before the scale; null for none.
        delay: least and greatest delay in control steps.
        delay_drawn: when a delay is drawn: `episode`, or `step` for one that jitters.
        history: number of values that are read, the oldest first; null: that of the group.
    """

    noise: float = 0.0
    noise_kind: str = "uniform"
    bias: float = 0.0
    bias_walk: float = 0.0
    scale: float = 1.0
    clip: float | None = None
    delay: tuple[int, int] = field(default=(0, 0), metadata={"least": 0, "ordered": True})
    delay_drawn: str = "episode"
    history: int | None = None

    def problems(self) -> list[str]:
        """Return the rest of a line, such as `bias=-1: …`, for each invalid value."""
        lines = []
        for name, value, words in (
            ("noise_kind", self.noise_kind, NOISE_KINDS),
            ("delay_drawn", self.delay_drawn, DELAYS_DRAWN),
        ):
            if value not in words:
                lines.append(f"{name}={value}: {did_you_mean(value, words)}")
        for name, size in (("bias", self.bias), ("bias_walk", self.bias_walk)):
            if not size >= 0:
                lines.append(f"{name}={size:g}: expected 0 or more.")
        if self.history is not None and self.history < 1:
            lines.append(f"history={self.history}: expected 1 or more.")
        return lines


@dataclass
class ObservationGroupCfg:
    """One tensor an agent may read: its terms side by side, in order.

    Attributes:
        extends: an earlier group whose very values, noise included, stand before the terms of this one.
        history: number of values that are read of each term, the oldest first, unless the term has its own.
    """

    extends: str | None = None
    history: int = 1
    terms: dict[str, ObservationTermCfg | None] = field(default_factory=dict)


@dataclass
class RewardTermCfg(TermCfg):
    """One reward; its value is multiplied by `weight` and by the step time."""

    weight: float = MISSING


@dataclass
class TerminationTermCfg(TermCfg):
    """One reason to end an episode; `time_out` makes it a truncation instead of a termination."""

    time_out: bool = False


@dataclass
class EventTermCfg(TermCfg):
    """One change made to the simulation.

    Attributes:
        mode: `startup` (once), `reset` (for the envs that reset) or `interval` (per env, at random times).
        interval_range_s: shortest and longest time between two `interval` events, in seconds.
    """

    mode: str = MISSING
    interval_range_s: tuple[float, float] | None = field(default=None, metadata={"least": 0, "ordered": True})


@dataclass
class TerrainKindCfg(TermCfg):
    """One kind of ground.

    Attributes:
        proportion: share of the columns, relative to the other kinds.
    """

    proportion: float = 1.0


@dataclass
class TerrainCfg:
    """Uneven ground: square tiles, columns of kinds along y and levels of difficulty along x.

    Attributes:
        kinds: name -> function of a tile and parameters; null leaves one out.
        levels: rows of difficulty, from 0 to 1; each is a tile further along x.
        columns: tiles along y, shared among the kinds by their proportions.
        tile_size: side length of a tile in m.
        cell: distance between two points of the height field in m.
        border: width of the flat ground around all tiles in m; beyond it there is nothing.
        start_level: highest level at which robots start in the first episode; null: any.
        difficulty: of the tiles where there is one level only.
        seed: of random heights and places; another one gives other ground of the same kinds.
    """

    kinds: dict[str, TerrainKindCfg | None] = field(default_factory=dict)
    levels: int = 10
    columns: int = 20
    tile_size: float = 8.0
    cell: float = 0.1
    border: float = 20.0
    start_level: int | None = None
    difficulty: float = 1.0
    seed: int = 0

    @property
    def used(self) -> dict[str, TerrainKindCfg]:
        """The kinds that are not switched off."""
        return {name: kind for name, kind in self.kinds.items() if kind is not None}

    @property
    def tile_points(self) -> int:
        """Points of the height field along one side of a tile."""
        return round(self.tile_size / self.cell)

    @property
    def border_points(self) -> int:
        """Points of the height field across the border."""
        return round(self.border / self.cell)

    @property
    def points(self) -> tuple[int, int]:
        """Points of the height field along x and y."""
        around = 2 * self.border_points + 1
        return self.levels * self.tile_points + around, self.columns * self.tile_points + around

    def column_kinds(self) -> list[str]:
        """Return the kind of each column, side by side and each with its share; of valid values."""
        kinds, shares = list(self.used), [kind.proportion for kind in self.used.values()]
        ends = list(accumulate(share / sum(shares) for share in shares))
        places = ((column + 0.5) / self.columns for column in range(self.columns))
        return [kinds[min(bisect_left(ends, place), len(kinds) - 1)] for place in places]

    def memory_bytes(self, per_point: int = 20) -> int:
        """Return the approximate memory of the ground, 0 where its values are invalid.

        Args:
            per_point: bytes of the simulator for each point; by default float32 and copies while it is built.
        """
        if self.problems():
            return 0
        x, y = self.points
        return (4 + per_point) * x * y

    def problems(self) -> list[str]:
        """Return one line for each invalid value."""
        lines = [] if self.used else ["terrain.kinds: none; expected one, or env.terrain=null for flat ground."]
        lines += at_least_one(**{"terrain.levels": self.levels, "terrain.columns": self.columns})
        if not self.cell > 0:
            return [*lines, f"terrain.cell={self.cell:g}: expected m, more than 0."]
        if self.tile_points < 8:
            lines.append(f"terrain.tile_size={self.tile_size:g}: expected at least 8 cells, {8 * self.cell:g} m.")
        if not 0 <= self.border < float("inf"):
            lines.append(f"terrain.border={self.border:g}: expected m, 0 or more.")
        if not 0 <= self.difficulty <= 1:
            lines.append(f"terrain.difficulty={self.difficulty:g}: expected 0 to 1.")
        if self.start_level is not None and not 0 <= self.start_level < self.levels:
            lines.append(f"terrain.start_level={self.start_level}: expected 0 to {self.levels - 1}, or null for any.")
        bad = {name: kind.proportion for name, kind in self.used.items() if not 0 <= kind.proportion < float("inf")}
        lines += [f"terrain.kinds.{name}.proportion={share:g}: expected 0 or more." for name, share in bad.items()]
        if self.used and not bad and not sum(kind.proportion for kind in self.used.values()) > 0:
            lines.append("terrain.kinds: every proportion is 0; expected one above 0.")
        return lines


@dataclass
class ActionCfg:
    """Joint position targets: `default_pose + scale * unit * action`.

    Attributes:
        joints: regular expressions; the action follows the robot's joint order.
        scale: how many units an action of 1 moves a joint.
        unit: `rad`, or `saturation`: each joint's own angle at which its motor saturates, effort limit / stiffness.
        clip: bound on the absolute action before scaling; null for none.
        delay: least and greatest number of control steps after which an action takes effect; until then the default
            pose is held.
        delay_drawn: when a delay is drawn: `episode`, or `step` for one that jitters.
    """

    joints: list[str] = field(default_factory=lambda: [".*"])
    scale: float = MISSING
    unit: str = "rad"
    clip: float | None = 100.0
    delay: tuple[int, int] = field(default=(0, 0), metadata={"least": 0, "ordered": True})
    delay_drawn: str = "episode"

    def problems(self) -> list[str]:
        """Return a line for each unknown word."""
        words = {"unit": (self.unit, ACTION_UNITS), "delay_drawn": (self.delay_drawn, DELAYS_DRAWN)}
        return [
            f"actions.{name}={value}: {did_you_mean(value, known)}"
            for name, (value, known) in words.items()
            if value not in known
        ]


@dataclass
class ActuatorCfg(TermCfg):
    """A model of the motors of some joints, in place of the position servo of the simulator.

    Attributes:
        joints: regular expressions; a joint belongs to one actuator at most.
        delay: least and greatest number of physics steps after which a target arrives; until the first one the default
            pose is held.
        delay_drawn: when a delay is drawn: `episode`, or `step` for one that jitters from physics step to physics step.
    """

    joints: list[str] = field(default_factory=lambda: [".*"])
    delay: tuple[int, int] = field(default=(0, 0), metadata={"least": 0, "most": MOST_DELAY, "ordered": True})
    delay_drawn: str = "episode"

    def problems(self) -> list[str]:
        """Return the rest of a line, such as `delay_drawn=…`, for each unknown word."""
        if self.delay_drawn in DELAYS_DRAWN:
            return []
        return [f"delay_drawn={self.delay_drawn}: {did_you_mean(self.delay_drawn, DELAYS_DRAWN)}"]


@dataclass
class GateCfg:
    """Bounds on the evaluation of a policy before data are collected with it.

    Attributes:
        at_least: metric -> lowest value, such as survival.
        at_most: metric -> highest value, such as speed_error.
    """

    at_least: dict[str, float] = field(default_factory=dict)
    at_most: dict[str, float] = field(default_factory=dict)


@dataclass
class FaultGridCfg:
    """Grid of `stage=evaluate stage.faults=true`: one fault per episode, each joint at each severity.

    Attributes:
        event: event that causes the fault.
        severity: regular expression of joints -> severities, mildest first, as many for each joint.
        onset_s: time of the fault after the reset, in s.
        envs: episodes for each joint and severity; as many without a fault as for all severities of one joint.
        command: command of the robot.
        film: joint whose fault env 0, the one on video, gets at the middle severity; null: the first.
    """

    event: str = MISSING
    severity: dict[str, list[float]] = field(default_factory=dict)
    onset_s: float = 3.0
    envs: int = 16
    command: list[float] = field(default_factory=list)
    film: str | None = None


@dataclass
class EvaluationCfg:
    """Evaluation of this task by `stage=evaluate`.

    Attributes:
        command: name of the command term that is held fixed, or null for a task without one.
        grid: the commands; each is given to an equal share of the envs.
        disturbances: events switched off in the evaluation, unless `stage.disturbances` is set.
        headline: metric written to run.json.
        faults: events that cause faults; `stage=collect` switches them off in its check of the policy.
        gate: bounds of that check; none by default.
        fault_grid: faults of `stage.faults=true`.
        levels: levels of uneven ground on which each kind is evaluated; empty: the lowest, the middle, the highest.
    """

    command: str | None = None
    grid: list[list[float]] = field(default_factory=list)
    disturbances: list[str] = field(default_factory=list)
    headline: str = "return"
    faults: list[str] = field(default_factory=list)
    gate: GateCfg = field(default_factory=GateCfg)
    fault_grid: FaultGridCfg | None = None
    levels: list[int] = field(default_factory=list)


@dataclass
class MotionClipCfg:
    """One motion clip.

    Attributes:
        file: name of a clip that comes with Regimen, or an .npz file; `regimen motion <file>` describes it.
        weight: how often it is drawn, relative to the other clips.
    """

    file: str = MISSING
    weight: float = 1.0


@dataclass
class MotionCfg:
    """Motion clips that the robot imitates, for terms and agents that read them.

    Attributes:
        clips: the clips, by names of your choice; null leaves one out.
        mirrored: whether the mirror image of each clip belongs to them.
        key_bodies: bodies whose positions in the frame of the base belong to a pose.
    """

    clips: dict[str, MotionClipCfg | None] = field(default_factory=dict)
    mirrored: bool = False
    key_bodies: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Return one line for each clip that is not found, and each bad weight."""
        lines = []
        for name, clip in self.clips.items():
            if clip is None:
                continue
            try:
                resolve_motion(clip.file)
            except ConfigError as error:
                lines.append(f"motion.clips.{name}.file: {error}")
            if not 0 <= clip.weight < float("inf"):
                lines.append(f"motion.clips.{name}.weight={clip.weight:g}: expected 0 or more.")
        used = [clip for clip in self.clips.values() if clip is not None]
        if used and not any(clip.weight > 0 for clip in used):
            lines.append("motion.clips: every weight is 0; expected one above 0.")
        return lines


ESTIMATE_MODES = ("none", "oracle", "oracle_delayed", "classifier")


@dataclass
class EstimateCfg:
    """Estimate of the robot's faults, in columns added to the observations of the policy.

    Attributes:
        mode: `classifier` uses `estimator`, `oracle` the true fault, `oracle_delayed` the same after `delay_steps`;
            `none` adds columns that always say healthy. null is `classifier` if an estimator is given, and
            otherwise adds no columns.
        delay_steps: shortest and longest delay of `oracle_delayed`, in steps, drawn for each fault.
        false_alarms_per_hour: wrong verdicts of the oracles, per hour and robot, of a random joint.
        joints: regular expressions of the joints that can fail; in the robot's order they are the classes.
    """

    mode: str | None = None
    delay_steps: tuple[int, int] = field(default=(5, 20), metadata={"least": 0, "ordered": True})
    false_alarms_per_hour: float = 0.0
    joints: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Return one line for each invalid value."""
        lines = []
        if self.mode not in (None, *ESTIMATE_MODES):
            lines.append(f"estimate.mode={self.mode}: expected {', '.join(ESTIMATE_MODES)}, or null.")
        if self.false_alarms_per_hour < 0:
            lines.append(f"estimate.false_alarms_per_hour={self.false_alarms_per_hour:g}: expected 0 or more.")
        return lines


@dataclass
class LowLevelCfg:
    """A trained policy that follows the actions of the agent as its commands, see `regimen.envs.low_level`.

    Attributes:
        policy: run reference or file; null: the agent moves the joints itself.
        command: its command of forward speed, sideways speed and turning rate.
        observations: group of observations that the agent reads as its `policy`.
        goal: command that is the optimal action, for tasks whose solution is known; null for others.
        decimation: steps of the low-level policy for each action.
        speed: at an action of length 1, in m/s.
        heading_stiffness: turning rate for each rad between heading and wanted direction, in 1/s.
        turning_rate: largest turning rate, in rad/s.
    """

    policy: str | None = None
    command: str = "base_velocity"
    observations: str = "commanding"
    goal: str | None = None
    decimation: int = 25
    speed: float = 0.8
    heading_stiffness: float = 1.5
    turning_rate: float = 0.8


@dataclass
class ManagerEnvCfg:
    """A task in Isaac Lab's manager vocabulary, for every sim that implements `World`.

    Attributes:
        robot: folder under `regimen.envs.robots`, or `pkg.mod:NAME` of your own `Robot`.
        num_envs: environments stepped together.
        episode_length_s: time after which an episode is truncated, in seconds.
        decimation: physics steps per control step; step time = sim.dt * decimation.
        observation_noise: whether the noise of the observation terms is applied.
        actuators: models of the motors by name; joints of none have the position servo of the simulator.
        observations: groups of terms; agents read `policy`.
        metrics: figures of each step, averaged over an episode by `stage=evaluate`, beside those of the commands.
        motion: motion clips that the robot imitates.
        terrain: uneven ground; null: flat.
        low_level: policy whose commands are the actions of the agent.

    `MANAGER_BASED` declares that observations, actions and rewards are terms of the configuration, so that a policy can
    be compared with the task before the simulator starts.
    """

    MANAGER_BASED: ClassVar[bool] = True
    _target_: str = "regimen.envs.manager_env.ManagerEnv"
    robot: str = MISSING
    num_envs: int = MISSING
    episode_length_s: float = MISSING
    decimation: int = 4
    observation_noise: bool = True
    actions: ActionCfg = field(default_factory=ActionCfg)
    actuators: dict[str, ActuatorCfg | None] = field(default_factory=dict)
    commands: dict[str, TermCfg | None] = field(default_factory=dict)
    observations: dict[str, ObservationGroupCfg] = field(default_factory=dict)
    rewards: dict[str, RewardTermCfg | None] = field(default_factory=dict)
    terminations: dict[str, TerminationTermCfg | None] = field(default_factory=dict)
    events: dict[str, EventTermCfg | None] = field(default_factory=dict)
    curriculum: dict[str, TermCfg | None] = field(default_factory=dict)
    metrics: dict[str, TermCfg | None] = field(default_factory=dict)
    motion: MotionCfg = field(default_factory=MotionCfg)
    terrain: TerrainCfg | None = None
    estimate: EstimateCfg = field(default_factory=EstimateCfg)
    low_level: LowLevelCfg = field(default_factory=LowLevelCfg)
    evaluation: EvaluationCfg = field(default_factory=EvaluationCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value of the task."""
        lines = at_least_one(num_envs=self.num_envs, decimation=self.decimation)
        if not self.episode_length_s > 0:
            lines.append(f"episode_length_s={self.episode_length_s}: expected seconds, more than 0.")
        lines += self.actions.problems() + self.motion.problems() + self.estimate.problems()
        lines += self.terrain.problems() if self.terrain is not None else []
        used = {name: actuator for name, actuator in self.actuators.items() if actuator is not None}
        lines += [f"actuators.{name}.{line}" for name, actuator in used.items() for line in actuator.problems()]
        lines += self._observation_problems() + self._low_level_problems()
        return lines + self._estimate_problems(config.get("estimator"))

    def _observation_problems(self) -> list[str]:
        """Return one line for each invalid value of an observation, and each delay longer than an episode."""
        longest, lines = 0, []
        for name, group in self.observations.items():
            if group.history < 1:
                lines.append(f"observations.{name}.history={group.history}: expected 1 or more.")
            for key, term in group.terms.items():
                if term is not None:
                    lines += [f"observations.{name}.terms.{key}.{problem}" for problem in term.problems()]
                    longest = max(longest, term.delay[1])
        if longest > MOST_DELAY or self.actions.delay[1] > MOST_DELAY:
            lines.append(f"delay={max(longest, self.actions.delay[1])}: expected {MOST_DELAY} steps at most.")
        return lines

    def _low_level_problems(self) -> list[str]:
        """Return one line for each name of `low_level` that the task does not have."""
        low = self.low_level
        if low.policy is None:
            return []
        lines = [f"low_level.{line}" for line in at_least_one(decimation=low.decimation)]
        for key, name, names in (
            ("command", low.command, self.commands),
            ("observations", low.observations, self.observations),
            ("goal", low.goal, self.commands),
        ):
            if name is not None and name not in names:
                lines.append(f"low_level.{key}={name}: {did_you_mean(name, names)}")
        if self.estimate.mode is not None:
            lines.append("estimate.mode: not together with low_level.policy. Set env.estimate.mode=null.")
        return lines

    def _estimate_problems(self, estimator: str | None) -> list[str]:
        """Return a line if an estimate is requested without joints or estimator."""
        asked = self.estimate.mode or ("classifier" if estimator else None)
        if asked is not None and not self.estimate.joints:
            return [f"estimate.mode={asked}: env.estimate.joints is empty: name the joints that can fail."]
        if asked == "classifier" and not estimator:
            return ["estimate.mode=classifier: needs a detector: estimator=<run reference or file>."]
        return []


def at_least_one(**numbers: int) -> list[str]:
    """Return a line for each number below 1.

    Args:
        numbers: value by key.
    """
    return [f"{name}={value}: expected 1 or more." for name, value in numbers.items() if value < 1]


def unweighted_problem(pattern: str, used: Iterable[str], unweighted: Iterable[str]) -> str:
    """Return what is wrong with a pattern of rewards if it matches only some of weight 0, otherwise nothing.

    Args:
        pattern: regular expression of a curriculum term.
        used: names of rewards with a weight.
        unweighted: names of rewards with weight 0, which tasks leave away.
    """
    off = [name for name in unweighted if re.fullmatch(pattern, name)]
    if not off or any(re.fullmatch(pattern, name) for name in used):
        return ""
    return (
        f"`{pattern}`: {', '.join(off)} has weight 0, and a reward of weight 0 is not computed. Give it a small one, "
        f"for example env.rewards.{off[0]}.weight=1.0e-9"
    )


def above_zero(**numbers: float) -> list[str]:
    """Return a line for each number that is 0 or less.

    Args:
        numbers: value by key.
    """
    return [f"{name}={value:g}: expected more than 0." for name, value in numbers.items() if value <= 0]


def switch_off_events(env: Any, names: Iterable[str]) -> None:
    """Switch events of a task's configuration off.

    Args:
        env: the configuration; one with terms of another library has a method `switch_off_event(name)`.
        names: the events.
    """
    for name in names:
        if hasattr(env, "switch_off_event"):
            env.switch_off_event(name)
        else:
            env.events[name] = None
