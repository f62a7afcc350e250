"""Check before the start that a run can work: inputs, compatibility, memory, disk, device, interpreter."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.config.yaml_io import PlainSection
from regimen.envs.robots.mjcf_file import file_problems
from regimen.envs.robots.robot import Robot, load, match
from regimen.orchestration import actuator_check, compatibility, randomization_check, teacher_check, terrain_check
from regimen.orchestration.preflight_report import (
    PreflightContext,
    PreflightReport,
    device_problems,
    disk_free,
    folder_problems,
    interpreter_problems,
    resources_of,
)
from regimen.runs import inputs
from regimen.system import host
from regimen.system.errors import ConfigError, RegimenError, raise_if_any

Check = Callable[[ComposedConfig, PreflightContext], Iterator[Problem]]
"""A check yields everything that prevents the start; a problem without a path is printed as its message alone."""


def preflight(
    composed: ComposedConfig, root: Path, parallel: int = 1, pending: dict[str, str] | None = None
) -> PreflightReport:
    """Check that the run can start; set resolved inputs, the policy's agent and the number of threads in `composed`.

    Args:
        composed: checked configuration.
        root: folder of the run directory.
        parallel: number of workers at once.
        pending: inputs that other runs produce: name -> reference, resolved when the run starts.

    Raises:
        ConfigError: all problems.
    """
    hardware = composed.config.hardware
    _count_cores(composed)
    available = resources_of(hardware, parallel)
    report = PreflightReport({}, available.memory, disk_free(root), pending=dict(pending or {}))
    report.warnings += composed.unused
    context = PreflightContext(root, available, report)
    problems = [problem for check in CHECKS for problem in check(composed, context)]
    if hardware.threads is None:
        composed.set_value("hardware.threads", max(1, available.cores // available.workers))
    if (threads := hardware.num_threads()) * available.workers > available.cores:
        at_once = f" x {available.workers} jobs at once" if available.workers > 1 else ""
        cores = f"{available.cores} cores {'here' if available.here else 'of the job'}"
        report.warnings.append(f"hardware.threads={threads}{at_once} is more than the {cores}: slower")
    raise_if_any([_located(composed, problem) for problem in problems])
    return report


def prepare_task(composed: ComposedConfig) -> None:
    """Check that a command without a run can open the task; set the task's settings of the agent, if it takes them.

    Args:
        composed: checked configuration.

    Raises:
        ConfigError: all problems of the interpreter, of the task, or of its settings for the agent.
    """
    problems = [*_check_interpreter(composed), *_section_problems(composed, {"env": composed.config.env})]
    problems = problems or list(compatibility.use_agent_of_task(composed))
    raise_if_any([_located(composed, problem) for problem in problems])


def _count_cores(composed: ComposedConfig) -> None:
    """Ask Slurm for the cores of a learner and its actors, where the request leaves the number to them."""
    hardware = composed.config.hardware
    if hardware.scheduler != "slurm" or hardware.channel is None:
        return
    if not any(hardware.submitit.get(key) for key in ("cpus_per_task", "cpus_per_gpu")):
        cores = hardware.node_processes() * (hardware.threads or 1)
        for requested in (hardware.submitit, composed.plain["hardware"]["submitit"]):
            requested["cpus_per_task"] = cores


def _located(composed: ComposedConfig, problem: Problem) -> str:
    """Return the message of a problem, with the file and line or the argument that set its path."""
    if not problem.path:
        return problem.message
    return f"{composed.tree.source_of(problem.path).location(problem.path)}: {problem.message}"


def _unlocated(lines: Iterable[str]) -> Iterator[Problem]:
    """Yield problems that are about no key of the configuration."""
    for line in lines:
        yield Problem("", line)


def _check_device(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    return _unlocated(device_problems(composed.config.hardware, context.resources))


def _check_interpreter(composed: ComposedConfig, context: PreflightContext | None = None) -> Iterator[Problem]:
    """Yield a problem if the interpreter cannot be executed; set the one that was made here, which the run records."""
    interpreters, name = composed.config.hardware.interpreters, host.interpreter_name(composed.plain)
    if name not in interpreters and (made := host.made_interpreter(name)):
        interpreters[str(name)] = composed.plain["hardware"]["interpreters"][str(name)] = made
    return _unlocated(interpreter_problems(str(name), host.interpreter(composed.plain)))


def _check_workers(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem if several workers are requested, and neither stage nor agent supports them or envs remain.

    A configuration dataclass declares support by `DISTRIBUTED: ClassVar[bool] = True`.
    """
    config, choices, workers = composed.config, composed.choices, num_workers(composed)
    if workers == 1 or getattr(config.stage, "DISTRIBUTED", False):
        return
    if trains_in_several(composed):
        envs = num_envs(composed)
        if choices["stage"] == "train" and envs % workers:
            near = max(1, envs // workers) * workers
            line = f"env.num_envs={envs}: the number in all {workers} processes together, expected a multiple."
            yield Problem("env.num_envs", f"{line} Type env.num_envs={near}.")
        return
    several = f"hardware.nodes={config.hardware.nodes} hardware.processes={config.hardware.processes}"
    yield Problem(
        "",
        f"{several}: agent={choices['agent']} with stage={choices['stage']} runs in one process. Remove them, or "
        "choose an agent that supports several.",
    )


def _resolve_inputs(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Resolve the references of all inputs to files; record the runs that they come from as parents."""
    config, stage, report = composed.config, composed.choices["stage"], context.report
    accepted = getattr(config.stage, "TAKES", (*inputs.SINGLE, *inputs.LISTS))
    for name, reference in inputs.references(composed.plain).items():
        key = name if name.startswith(inputs.OF_TASK) else name.partition(".")[0]
        if key not in accepted and not name.startswith(inputs.OF_TASK):
            reads = " and ".join(accepted) or "no input"
            line = f"{name}={reference}: stage={stage} reads {reads}. Remove it, or choose another stage."
            yield Problem("", line)
        elif name not in report.pending:
            try:
                path = inputs.resolve(name, reference)
            except RegimenError as error:
                yield Problem("", f"{key}={reference}: {error}")
                continue
            composed.set_value(name, str(path))
            report.inputs[name], report.references[name] = path, reference
            run = inputs.owner(path)
            if run and run not in report.parents:
                report.parents.append(run)
    if stage in ("evaluate", "collect") and config.policy is None:
        words = getattr(config.stage, "DEMONSTRATORS", ())
        forms = ", ".join(f"policy={p}" for p in ("<run reference>", "<file>", "pretrained:<name>", *words))
        yield Problem("", f"stage={stage} needs a policy: {forms}.")


def _check_sections(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield the problems that configuration dataclasses find by their method `problems(config)`.

    A line that starts with `key=` is reported with the place where that key was set.
    """
    config = composed.config
    sections = {"env": config.env, "sim": config.sim, "agent": config.agent, "stage": config.stage}
    sections |= {f"logger.{name}": logger for name, logger in config.logger.items()}
    return _section_problems(composed, {**sections, "hardware": config.hardware})


def _section_problems(composed: ComposedConfig, sections: Mapping[str, Any]) -> Iterator[Problem]:
    for node, section in sections.items():
        for line in section.problems(composed.plain) if hasattr(section, "problems") else ():
            path = f"{node}.{line.partition('=')[0]}"
            if "=" in line and composed.tree.has(path):
                yield Problem(path, f"{node}.{line}")
            else:
                yield Problem("", f"{node}: {line}")


def _check_robot(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Load the robot; yield a problem for each pattern of joints, bodies or rewards in the task that has no match."""
    if not (name := getattr(composed.config.env, "robot", None)):
        return
    try:
        robot = context.robot = load(name)
    except ConfigError as error:
        yield Problem("env.robot", str(error))
        return
    if ":" in name and (problem := _model_problem(name, robot.mjcf, host.interpreter(composed.plain))):
        yield Problem("env.robot", problem)
    env = composed.plain["env"]
    rewards = env.get("rewards") or {}
    names = {
        "joints": robot.joints,
        "bodies": (*robot.feet, *robot.fall_bodies),
        "rewards": tuple(name for name, term in rewards.items() if term and term.get("weight")),
    }
    for path, kind, patterns in _patterns(env):
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            try:
                match(names[kind], str(pattern))
            except (ConfigError, re.error) as error:
                context.patterns_match = False
                text = f"`{pattern}` is no regular expression: {error}." if isinstance(error, re.error) else error
                yield Problem(path, f"{path}: {text}")


def _model_problem(name: str, mjcf: Path, python: str) -> str:
    """Return how the model of a user's robot contradicts its `Robot`, or nothing; tests compare those of Regimen."""
    if problems := file_problems(mjcf):
        return f"robot={name}: " + "; ".join(problems)
    return _compared(name, python, mjcf.stat().st_mtime_ns)


@functools.cache
def _compared(name: str, python: str, modified_ns: int) -> str:
    """Compile the model of robot `name` in a process of its own, so that this one imports no MuJoCo.

    Args:
        name: `package.module:NAME`.
        python: interpreter of the run; one that does not exist, or has no MuJoCo, leaves the comparison to the worker.
        modified_ns: when the file of the model was modified.
    """
    return host.checked_elsewhere(python, "regimen.envs.robots.model_check", name)


def _patterns(env: PlainSection) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, `joints`, `bodies` or `rewards`, patterns) for each place in the task with patterns."""
    yield "env.actions.joints", "joints", (env.get("actions") or {}).get("joints") or []
    for name, actuator in (env.get("actuators") or {}).items():
        if actuator is not None:
            yield f"env.actuators.{name}.joints", "joints", actuator.get("joints") or [".*"]
    groups = {f"observations.{n}.terms": (g or {}).get("terms") for n, g in (env.get("observations") or {}).items()}
    groups |= {
        name: env.get(name) for name in ("commands", "rewards", "terminations", "events", "curriculum", "metrics")
    }
    for group, terms in groups.items():
        for name, term in (terms or {}).items():
            params = (term or {}).get("params") or {}
            for kind in ("joints", "bodies", "rewards"):
                if kind in params:
                    yield f"env.{group}.{name}.params.{kind}", kind, params[kind]


def _check_nan_dump(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    if (steps := composed.config.nan_dump) < 0:
        yield Problem("nan_dump", f"nan_dump={steps}: expected steps, 1 or more, or 0 for no dump.")


def _check_folder(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    return _unlocated(folder_problems(context.root))


PROCESS_BYTES = 600 * 2**20
"""Memory of a worker without envs: torch, skrl and MuJoCo imported (260 MiB measured), checkpoints, plots."""

ENV_BYTES = 24 * 2**10
"""Memory of the manager env for one environment: float32 tensors for state, terms, buffers and temporaries."""

GIB = 2**30
COLOURS = 3

ACTS_ONLY = ("evaluate", "collect", "collect_histories", "collect_motion", "in_context", "serve", "actor", "export")
"""Stages that train no agent, and need none of its memory."""


def estimate(composed: ComposedConfig, robot: Robot | None, envs: int | None = None) -> dict[str, int]:
    """Return part -> estimated bytes of one worker: process, envs, and the estimates of the dataclasses.

    A configuration dataclass may define `memory_bytes(num_envs, observation, action)`, and that of an agent which keeps
    images `pixel_bytes(num_envs, frame)`. The widths are upper bounds: a
    term has at most as many values as the robot has joints, or 3. GPU memory of an agent is not included. The dataclass
    of a library's task has `task_bytes(num_envs, config)`, because its size is in the configuration of the library.

    Args:
        composed: checked configuration.
        robot: robot of the task; None for a task without one.
        envs: number of environments, by default those of the run.
    """
    config = composed.config
    envs = envs or envs_of_a_worker(composed)
    action = len(robot.joints) if robot else 8
    observation = terrain_check.observation_width(composed.plain["env"], max(action, 3))
    kept = 4 * config.nan_dump * (observation + 5 * action + 16)  # observation, action, joints and base of a step
    parts = {"process": PROCESS_BYTES, "env": envs * (ENV_BYTES + 8 * observation + kept)}
    if ground := getattr(config.env, "terrain", None):
        own = {"per_point": config.sim.GROUND_BYTES} if hasattr(config.sim, "GROUND_BYTES") else {}
        parts |= {"ground": size} if (size := ground.memory_bytes(**own)) else {}
    acts_only = composed.choices["stage"] in ACTS_ONLY
    elsewhere = acts_only or config.hardware.device.startswith("cuda")
    sections: dict[str, Any] = {"env": config.env, "sim": config.sim, "agent": config.agent, "stage": config.stage}
    if hasattr(config.env, "task_bytes"):  # it opens its own simulator
        del sections["sim"]
        parts["env"] += int(config.env.task_bytes(envs, composed.plain))
    for name, section in sections.items():
        if hasattr(section, "memory_bytes") and not (name == "agent" and elsewhere):
            parts[name] = int(section.memory_bytes(envs, observation, action))
    if reads_pixels(composed) and not acts_only:  # they stay in the memory of the machine
        shape, cameras = config.env.images.shape, config.agent.images
        frame = len(cameras) * shape[0] * shape[1] * COLOURS
        parts["agent"] = parts.get("agent", 0) + int(config.agent.pixel_bytes(envs, frame))
    return parts


def reads_pixels(composed: ComposedConfig) -> bool:
    """Return whether the agent keeps images of the task, whose size is known before the start."""
    images = getattr(composed.config.env, "images", None)
    if images is None or not getattr(composed.config.agent, "images", None):
        return False
    return hasattr(images, "shape") and not images.problems()


def num_envs(composed: ComposedConfig) -> int:
    """Return the number of environments of the run: `num_envs(config)` of its stage, or that of the task."""
    stage, env = composed.config.stage, composed.config.env
    declared = stage.num_envs(composed.plain) if hasattr(stage, "num_envs") else getattr(env, "num_envs", 1)
    return max(1, int(declared))


def envs_of_a_worker(composed: ComposedConfig) -> int:
    """Return the number of environments of one worker: those of the run, divided if the agent trains in several."""
    return max(1, num_envs(composed) // (num_workers(composed) if trains_in_several(composed) else 1))


def num_workers(composed: ComposedConfig) -> int:
    """Return the number of workers of the run on all its machines."""
    return composed.config.hardware.workers()


def trains_in_several(composed: ComposedConfig) -> bool:
    """Return whether the agent trains in several processes, which then divide the envs of the task."""
    return composed.choices["stage"] in ("train", "distill") and getattr(composed.config.agent, "DISTRIBUTED", False)


def check_memory(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Estimate the memory where task or agent declare what they take; yield a problem if it is not there.

    An agent whose memory does not depend on the envs alone declares the keys to lower by `LOWER: ClassVar[str]`.
    """
    is_declared = hasattr(composed.config.env, "task_bytes")
    if context.robot is None and not is_declared and not reads_pixels(composed):
        return
    report, workers = context.report, context.resources.workers
    report.memory = estimate(composed, context.robot)
    each, share = sum(report.memory.values()), report.available / workers
    if each <= share:
        return
    needed, short = each * workers / GIB, (each - share) * workers / GIB
    yield Problem(
        "",
        f"memory: about {needed:.1f} GiB needed, {report.available / GIB:.1f} GiB available, "
        f"{short:.1f} GiB missing. {_advice(composed, context, each, share)}",
    )


def _advice(composed: ComposedConfig, context: PreflightContext, each: int, share: float) -> str:
    """Return which settings to lower, and how many envs fit.

    Args:
        composed: checked configuration.
        context: with the memory estimate in its report.
        each: bytes that a worker needs.
        share: bytes available to a worker.
    """
    one_env = sum(estimate(composed, context.robot, envs=1).values())
    envs, own = num_envs(composed), envs_of_a_worker(composed)
    fits = max(1, int((share - one_env) / max(each - one_env, 1) * (own - 1) + 1)) * (envs // own)
    by_stage = f"the {envs} envs that stage={composed.choices['stage']} opens"
    setting = by_stage if hasattr(composed.config.stage, "num_envs") else f"env.num_envs={envs}"
    advice = f"ower {setting} (about {fits} fit)"
    memory, agent_settings = context.report.memory, getattr(composed.config.agent, "LOWER", "")
    if "agent" not in memory or not agent_settings:
        advice = f"L{advice}"
    else:
        of_agent = f"The agent needs {memory['agent'] / GIB:.1f} GiB of it: lower {agent_settings}"
        advice = of_agent if one_env > share else f"{of_agent}, or l{advice}"
    return advice + (" or hardware.max_jobs." if context.resources.workers > 1 else ".")


CHECKS: list[Check] = [
    _check_device,
    _check_interpreter,
    _check_workers,
    _resolve_inputs,
    compatibility.check_code,
    compatibility.take_agent_of_policy,
    compatibility.take_agent_of_task,
    compatibility.take_encoder_of_policy,
    compatibility.take_images_of_policy,
    compatibility.check_encoder,
    compatibility.check_agent,
    compatibility.check_actors,
    compatibility.check_images,
    compatibility.check_data,
    _check_sections,
    _check_robot,
    compatibility.check_policy,
    teacher_check.check_teachers,
    terrain_check.check_terrain,
    randomization_check.check_randomization,
    actuator_check.check_actuators,
    check_memory,
    _check_nan_dump,
    _check_folder,
]
"""All checks in order; later ones read what `_resolve_inputs` and `_check_robot` leave in the context."""
