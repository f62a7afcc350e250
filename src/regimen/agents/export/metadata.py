"""The description written into an exported policy: inputs, outputs, pose, gains and origin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from regimen.agents.export.commands import describe_commands
from regimen.agents.export.descriptions import ActuatorDescription, RobotDescription
from regimen.agents.export.header import (
    FORMAT,
    STATE_IN,
    STATE_OUT,
    WITH_STATE,
    PolicyDescription,
)
from regimen.agents.export.terms import describe_delays, fed_back
from regimen.config.structured import build
from regimen.config.task_schema import ActuatorCfg
from regimen.envs.actuators.settings import actuated_joints, robot_with
from regimen.envs.robots.robot import load
from regimen.envs.vec_env import IOSpec
from regimen.runs.record import RunRecord, read_record
from regimen.runs.run import Run
from regimen.runs.user_files import NETWORK_FILE
from regimen.system.errors import ConfigError
from regimen.system.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regimen.agents.export.descriptions import SensorDescription
    from regimen.config.yaml_io import PlainConfig, PlainSection
    from regimen.envs.robots.robot import Robot
    from regimen.envs.vec_env import TermMeaning
    from regimen.runs.checkpoint_header import PolicyBundle

OBSERVATION = "(N, {size}) float32: the terms of `observations.{group}` side by side, each clipped, then scaled"
IMAGE = "(N, {size}) uint8: the image `{group}`, rows from the top"
OUTPUTS = {
    "actions": "(N, A) float32: the policy's own action, before its clip; what an observation of the last action holds",
    "targets": "(N, A) float32: action_offset + action_scale * clip(actions), for each of joint_names, in {unit}",
}


STATE = "(N, {size}) float32: `state.{name}` {when}"


def describe(
    bundle: PolicyBundle,
    groups: list[str],
    config: PlainConfig,
    run: RunRecord | None,
    state: Mapping[str, list[int]] | None = None,
    sensors: Mapping[str, SensorDescription] | None = None,
) -> PolicyDescription:
    """Return the description of a policy, without its check.

    Args:
        bundle: its checkpoint.
        groups: observation groups that it reads.
        config: plain configuration of its task.
        run: record of its run, None if it is not known.
        state: part of its state -> shape for one robot.
        sensors: inputs of a network with the observation pipeline inside.
    """
    state, sensors = state or {}, sensors or {}
    inputs = {name: _sensor(sensor) for name, sensor in sensors.items()}
    spec = IOSpec.from_dict(bundle["io"])
    name = config["env"].get("robot")
    robot = load(name) if name else None
    return PolicyDescription(
        format=WITH_STATE if state or sensors else FORMAT,
        regimen=__version__,
        task=config["choices"].get("task"),
        run=bundle.get("run"),
        step=bundle.get("step"),
        commit=commit_of(run),
        agent=bundle["agent"]["_target_"],
        faults=bundle.get("faults") or [],
        inputs=(inputs or {group: _input(spec, group) for group in groups})
        | _states(STATE_IN, state, "before the step, zeros at the start of an episode"),
        outputs={k: text.format(unit="rad" if robot else "the task's own unit") for k, text in OUTPUTS.items()}
        | _states(STATE_OUT, state, "after the step"),
        step_dt=spec.step_dt,
        observations={g: _terms(spec, g) for g in dict.fromkeys(("policy", *groups)) if g in spec.observations},
        images={group: spec.images[group] for group in groups if group in spec.images},
        joint_names=spec.action.joints,
        action_scale=spec.action.scale,
        action_offset=spec.action.offset,
        action_clip=spec.action.clip,
        joint_limits=spec.action.limits,
        robot=None if robot is None else _robot(robot, config["env"].get("actuators") or {}),
        physics_dt=config["sim"]["dt"] if robot else None,
        commands=describe_commands(groups, config["env"]),
        state=dict(state),
        sensors=dict(sensors),
        feedback=fed_back(groups, config["env"]),
        delays=describe_delays(groups, config["env"]),
    )


def origin(path: Path) -> tuple[PlainConfig, RunRecord] | None:
    """Return configuration and record of the run that a checkpoint is in; None if it is in no run."""
    for folder in path.resolve().parents[:2]:
        record = read_record(folder)
        if record is not None and (folder / "config.yaml").is_file():
            config = Run(folder).config
            return {**config, "choices": config.get("choices") or record.choices}, record
    return None


def commit_of(run: RunRecord | None) -> str | None:
    """Return the commit of a run, followed by `+` if there were uncommitted changes."""
    git = run.git if run else None
    return f"{git.commit}{'+' if git.dirty else ''}" if git and git.commit else None


def require_fit(bundle: PolicyBundle, config: PlainConfig) -> None:
    """Raise if a policy moves joints that the robot of a task does not have.

    Raises:
        ConfigError: naming them.
    """
    name = config["env"].get("robot")
    strange = sorted(set(bundle["io"]["action"]["joints"]) - set(load(name).joints)) if name else []
    if strange:
        raise ConfigError(f"The policy moves {', '.join(strange)}, which robot {name} does not have: name its task.")


def _input(spec: IOSpec, group: str) -> str:
    if group in spec.images:
        return IMAGE.format(size=", ".join(map(str, spec.images[group])), group=group)
    return OBSERVATION.format(size=spec.size(group), group=group)


def _sensor(sensor: SensorDescription) -> str:
    return f"(N, {sensor.size}) float32: {sensor.value or 'the reading of ' + sensor.terms[0]}"


def _states(start: str, state: Mapping[str, list[int]], when: str) -> dict[str, str]:
    """Return input or output -> text, of each part of the state."""
    sizes = {name: ", ".join(map(str, shape)) for name, shape in state.items()}
    return {start + name: STATE.format(size=size, name=name, when=when) for name, size in sizes.items()}


def _terms(spec: IOSpec, group: str) -> dict[str, TermMeaning]:
    meaning = spec.meaning.get(group, {})
    return {name: {"size": size, **meaning.get(name, {})} for name, size in spec.observations[group].items()}


def _robot(robot: Robot, plain: PlainSection) -> RobotDescription:
    """Return the description of a robot with the actuators of its task, `plain`."""
    actuators = {name: build(ActuatorCfg, cfg) for name, cfg in plain.items() if cfg is not None}
    joints, moved = actuated_joints(actuators, robot), robot_with(actuators, robot)
    return RobotDescription(
        name=robot.name,
        joint_names=list(robot.joints),
        default_joint_pos=list(robot.default_joint_pos),
        stiffness=list(moved.stiffness),
        damping=list(moved.damping),
        effort_limit=list(moved.effort_limit),
        velocity_limit=list(moved.velocity_limit),
        actuators={
            name: ActuatorDescription(cfg.func, list(joints[name]), list(cfg.delay), cfg.delay_drawn, _shared(cfg))
            for name, cfg in actuators.items()
        },
    )


def _shared(cfg: ActuatorCfg) -> PlainSection:
    """Return the parameters of an actuator, without the folder of its network."""
    params = dict(cfg.params)
    return params if NETWORK_FILE not in params else params | {NETWORK_FILE: Path(str(params[NETWORK_FILE])).name}
