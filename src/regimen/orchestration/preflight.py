"""Check before the start that a run can work: inputs, compatibility, memory, disk, device, interpreter."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.config.yaml_io import PlainSection
from regimen.envs.robots.mjcf_file import file_problems
from regimen.envs.robots.robot import load, match
from regimen.orchestration import compatibility, memory_estimate, resources
from regimen.orchestration.memory_estimate import num_workers, trains_in_several
from regimen.orchestration.preflight_report import PreflightContext, PreflightReport
from regimen.runs import inputs
from regimen.system import host
from regimen.system.errors import ConfigError, RegimenError, raise_if_any

MODEL_CHECK_S = 120.0
"""Time limit for the comparison of a robot's model; a longer one is left to the worker."""

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
    available = resources.resources_of(hardware, parallel)
    report = PreflightReport({}, available.memory, resources.disk_free(root), pending=dict(pending or {}))
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
    return _unlocated(resources.device_problems(composed.config.hardware, context.resources))


def _check_interpreter(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    return _unlocated(resources.interpreter_problems(composed.choices["sim"], host.interpreter(composed.plain)))


def _check_workers(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem if several workers are requested but neither stage nor agent supports them.

    A configuration dataclass declares support by `DISTRIBUTED: ClassVar[bool] = True`.
    """
    config, choices = composed.config, composed.choices
    if num_workers(composed) == 1 or trains_in_several(composed) or getattr(config.stage, "DISTRIBUTED", False):
        return
    several = f"hardware.nodes={config.hardware.nodes} hardware.processes={config.hardware.processes}"
    yield Problem(
        "",
        f"{several}: agent={choices['agent']} with stage={choices['stage']} runs in one process. Remove them, or "
        "choose an agent that supports several.",
    )


def _resolve_inputs(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Resolve policy, estimator, data, runs and experts to files; record the runs they come from as parents."""
    config, stage, report = composed.config, composed.choices["stage"], context.report
    accepted = getattr(config.stage, "TAKES", (*inputs.SINGLE, *inputs.LISTS))
    for name, reference in inputs.references(composed.plain).items():
        key = name.partition(".")[0]
        if key not in accepted:
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
        forms = "policy=<run reference>, policy=<file> or policy=pretrained:<name>"
        yield Problem("", f"stage={stage} needs a policy: {forms}.")


def _check_sections(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield the problems that configuration dataclasses find by their method `problems(config)`.

    A line that starts with `key=` is reported with the place where that key was set.
    """
    config = composed.config
    sections = {"env": config.env, "sim": config.sim, "agent": config.agent, "stage": config.stage}
    sections |= {f"logger.{name}": logger for name, logger in config.logger.items()}
    for node, section in {**sections, "hardware": config.hardware}.items():
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
    command = [python, "-W", "ignore", "-m", "regimen.envs.robots.model_check", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MODEL_CHECK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _patterns(env: PlainSection) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, `joints`, `bodies` or `rewards`, patterns) for each place in the task with patterns."""
    yield "env.actions.joints", "joints", (env.get("actions") or {}).get("joints") or []
    groups = {f"observations.{n}.terms": (g or {}).get("terms") for n, g in (env.get("observations") or {}).items()}
    groups |= {name: env.get(name) for name in ("commands", "rewards", "terminations", "events", "curriculum")}
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
    return _unlocated(resources.folder_problems(context.root))


CHECKS: list[Check] = [
    _check_device,
    _check_interpreter,
    _check_workers,
    _resolve_inputs,
    compatibility.take_agent_of_policy,
    compatibility.check_agent,
    compatibility.check_data,
    _check_sections,
    _check_robot,
    compatibility.check_policy,
    memory_estimate.check_memory,
    _check_nan_dump,
    _check_folder,
]
"""All checks in order; later ones read what `_resolve_inputs` and `_check_robot` leave in the context."""
