"""Check before the start that a run can work: inputs, compatibility, memory, disk, device, interpreter."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.task_schema import unweighted_problem
from regimen.config.validation import Problem
from regimen.config.yaml_io import PlainSection
from regimen.envs.robots.mjcf_file import file_problems
from regimen.envs.robots.robot import load, match
from regimen.orchestration import (
    actuator_check,
    compatibility,
    memory_check,
    randomization_check,
    teacher_check,
    terrain_check,
)
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
from regimen.runs.record_parts import MemoryEstimate
from regimen.system import host
from regimen.system.errors import ConfigError, RegimenError, raise_if_any

Check = Callable[[ComposedConfig, PreflightContext], Iterator[Problem]]
"""A check yields everything that prevents the start; a problem without a path is printed as its message alone."""


def preflight(
    composed: ComposedConfig,
    root: Path,
    parallel: int = 1,
    pending: dict[str, str] | None = None,
    starting: int | None = None,
) -> PreflightReport:
    """Check that the run can start; set resolved inputs, the policy's agent and the number of threads in `composed`.

    Args:
        composed: checked configuration.
        root: folder of the run directory.
        parallel: number of runs at once, which share the cores.
        pending: inputs that other runs produce: name -> reference, resolved when the run starts.
        starting: number of these runs that share the free memory, by default all; 1 for one that starts beside others.

    Raises:
        ConfigError: all problems; `InsufficientMemoryError` if there are no others.
    """
    hardware = composed.config.hardware
    _count_cores(composed)
    available = resources_of(hardware, parallel, starting)
    report = PreflightReport(MemoryEstimate(), available.memory, disk_free(root), pending=dict(pending or {}))
    report.warnings += composed.unused
    context = PreflightContext(root, available, report)
    problems = [problem for check in CHECKS for problem in check(composed, context)]
    if hardware.threads is None:
        composed.set_value("hardware.threads", max(1, available.cores // available.workers))
    if (threads := hardware.num_threads()) * available.workers > available.cores:
        at_once = f" x {available.workers} jobs at once" if available.workers > 1 else ""
        cores = f"{available.cores} cores {'here' if available.here else 'of the job'}"
        report.warnings.append(f"hardware.threads={threads}{at_once} is more than the {cores}: slower")
    lines = [_located(composed, problem) for problem in problems]
    if lines and all(isinstance(problem, memory_check.MemoryProblem) for problem in problems):
        raise memory_check.InsufficientMemoryError(lines)
    raise_if_any(lines)
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
    config, choices, workers = composed.config, composed.choices, memory_check.num_workers(composed)
    if workers == 1 or getattr(config.stage, "DISTRIBUTED", False):
        return
    if memory_check.trains_in_several(composed):
        envs = memory_check.num_envs(composed)
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
    unweighted = [name for name, term in rewards.items() if term and term.get("weight") == 0]
    for path, kind, patterns in _patterns(env):
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            try:
                if kind == "rewards" and (problem := unweighted_problem(str(pattern), names[kind], unweighted)):
                    raise ConfigError(problem)
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
    memory_check.check_memory,
    _check_nan_dump,
    _check_folder,
]
"""All checks in order; later ones read what `_resolve_inputs` and `_check_robot` leave in the context."""
