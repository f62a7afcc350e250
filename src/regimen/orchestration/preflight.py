"""Checks before the start of a run: memory, disk, device, interpreter, references."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen.config import structured
from regimen.config.compose import ComposedConfig
from regimen.config.schema import HardwareCfg
from regimen.envs.robots.robot import Robot, match
from regimen.envs.robots.robot import load as load_robot
from regimen.orchestration import resources
from regimen.orchestration.compatibility import agent_problems, checkpoint_problems, data_problems, file_problems
from regimen.orchestration.resources import Resources
from regimen.runs import inputs
from regimen.system.errors import ConfigError, RegimenError, raise_if_any

PROCESS_BYTES = 600 * 2**20
"""Memory of a worker without envs: torch, skrl and MuJoCo imported (260 MiB measured), checkpoints, plots."""

ENV_BYTES = 24 * 2**10
"""Memory of the manager env for one environment: float32 tensors for state, terms, buffers and temporaries."""


@dataclass
class PreflightReport:
    """Result of the checks.

    Attributes:
        memory: part -> estimated bytes of one worker.
        available: free memory in bytes.
        disk_free: free bytes on the disk of the run.
        warnings: problems that do not prevent the start.
        inputs: name of an input -> resolved file.
        parents: ids of the runs that the inputs come from.
        references: name of an input -> reference, as typed.
        pending: name of an input -> reference that can be resolved only after another run has finished.
    """

    memory: dict[str, int]
    available: int
    disk_free: int
    warnings: list[str] = field(default_factory=list)
    inputs: dict[str, Path] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the arguments about inputs for `runs.create.create_run_dir`."""
        return {
            "files": self.inputs,
            "parents": self.parents,
            "references": self.references,
            "pending": self.pending,
        }


def preflight(
    composed: ComposedConfig, root: Path, parallel: int = 1, pending: dict[str, str] | None = None
) -> PreflightReport:
    """Check that the run can start; set resolved inputs and the number of threads in `composed.config`.

    Args:
        composed: checked configuration.
        root: folder of the run directory.
        parallel: number of workers at once.
        pending: inputs that other runs produce: name -> reference, resolved when the run starts.

    Raises:
        ConfigError: all problems.
    """
    config = composed.config
    place = resources.resources_of(config, parallel)
    report = PreflightReport({}, place.memory, resources.disk_free(root), pending=dict(pending or {}))
    wrong = [
        *resources.problems(config, place),
        *_several_workers(composed),
        *_inputs(composed, report),
        *agent_problems(composed),
        *data_problems(composed, report.inputs),
        *_own_checks(composed),
    ]
    robot = _robot(composed, wrong)
    if robot is not None:
        wrong += _names(composed, robot) or checkpoint_problems(composed, report.inputs, robot)
        report.memory = estimate(composed, robot)
        alone = sum(estimate(composed, robot, envs=1).values())
        wrong += _memory(report, composed, place, alone)
    elif not config["env"].get("robot"):
        wrong += file_problems(composed, report.inputs)
    wrong += resources.folder_problems(root)
    if config["hardware"]["threads"] is None:
        config["hardware"]["threads"] = max(1, place.cores // place.workers)
    if (threads := config["hardware"]["threads"]) * place.workers > place.cores:
        at_once = f" x {place.workers} jobs at once" if place.workers > 1 else ""
        cores = f"{place.cores} cores {'here' if place.here else 'of the job'}"
        report.warnings.append(f"hardware.threads={threads}{at_once} is more than the {cores}: slower")
    raise_if_any(wrong)
    return report


def estimate(composed: ComposedConfig, robot: Robot | None, envs: int | None = None) -> dict[str, int]:
    """Return part -> estimated bytes of one worker: process, envs, and the estimates of the dataclasses.

    A configuration dataclass may define `memory_bytes(num_envs, observation, action)`. The widths are upper bounds: a
    term has at most as many values as the robot has joints, or 3. GPU memory of an agent is not included.

    Args:
        composed: checked configuration.
        robot: robot of the task; None for a task without one.
        envs: number of environments, by default those of the run.
    """
    config = composed.config
    env = config["env"]
    envs = envs or _envs_of_a_worker(composed)
    action = len(robot.joints) if robot else 8
    groups = env.get("observations", {}).values()
    observation = sum(max(action, 3) * len(group.get("terms") or {}) for group in groups)
    parts = {"process": PROCESS_BYTES, "env": envs * (ENV_BYTES + 8 * observation)}
    acts_only = composed.choices["stage"] in ("evaluate", "collect", "collect_histories", "in_context")
    elsewhere = acts_only or str(config["hardware"]["device"]).startswith("cuda")
    for node, kind in composed.types.items():
        if hasattr(kind, "memory_bytes") and not (node == "agent" and elsewhere):
            parts[node] = int(structured.build(kind, config[node]).memory_bytes(envs, observation, action))
    return parts


def num_envs(composed: ComposedConfig) -> int:
    """Return the number of environments of the run: `num_envs(config)` of its stage, or that of the task."""
    stage = composed.types["stage"]
    if hasattr(stage, "num_envs"):
        return max(1, int(structured.build(stage, composed.config["stage"]).num_envs(composed.config)))
    return max(1, int(composed.config["env"].get("num_envs", 1)))


def _envs_of_a_worker(composed: ComposedConfig) -> int:
    hardware = composed.config["hardware"]
    workers = hardware["nodes"] * hardware["processes"] if _learns_in_several(composed) else 1
    return max(1, num_envs(composed) // workers)


def _memory(report: PreflightReport, composed: ComposedConfig, place: Resources, alone: int) -> list[str]:
    """Return a line if the memory does not suffice; `alone` is the estimate for a worker with a single env.

    An agent whose memory does not depend on the envs alone declares the keys to lower by `LOWER: ClassVar[str]`.
    """
    gib = 2**30
    each, share = sum(report.memory.values()), report.available / place.workers
    if each <= share:
        return []
    envs, stage, own = num_envs(composed), composed.choices["stage"], _envs_of_a_worker(composed)
    fits = max(1, int((share - alone) / max(each - alone, 1) * (own - 1) + 1)) * (envs // own)
    lower = f"the {envs} envs that stage={stage} opens" if hasattr(composed.types["stage"], "num_envs") else ""
    advice = f"Lower {lower or f'env.num_envs={envs}'} (about {fits} fit)"
    if "agent" in report.memory and (sizes := getattr(composed.types["agent"], "LOWER", "")):
        own_need = f"The agent needs {report.memory['agent'] / gib:.1f} GiB of it: lower {sizes}"
        advice = own_need if alone > share else f"{own_need}, or l{advice[1:]}"
    advice += " or hardware.max_jobs." if place.workers > 1 else "."
    needed, short = each * place.workers / gib, (each - share) * place.workers / gib
    return [
        f"memory: about {needed:.1f} GiB needed, {report.available / gib:.1f} GiB available, "
        f"{short:.1f} GiB missing. {advice}"
    ]


def _several_workers(composed: ComposedConfig) -> list[str]:
    """Return a line if several workers are requested but neither stage nor agent supports them.

    A configuration dataclass declares support by `DISTRIBUTED: ClassVar[bool] = True`.
    """
    hardware, choices = composed.config["hardware"], composed.choices
    workers = hardware["nodes"] * hardware["processes"]
    if workers == 1 or _learns_in_several(composed) or getattr(composed.types["stage"], "DISTRIBUTED", False):
        return []
    return [
        f"hardware.nodes={hardware['nodes']} hardware.processes={hardware['processes']}: agent={choices['agent']} with "
        f"stage={choices['stage']} runs in one process. Remove them, or choose an agent that supports several."
    ]


def _learns_in_several(composed: ComposedConfig) -> bool:
    """Return whether the agent trains in several processes, which then divide the envs of the task."""
    learning = composed.choices["stage"] in ("train", "distill")
    return learning and getattr(composed.types["agent"], "DISTRIBUTED", False)


def _inputs(composed: ComposedConfig, report: PreflightReport) -> list[str]:
    """Resolve policy, estimator, data and runs to files, and record their runs as parents."""
    config, stage = composed.config, composed.choices["stage"]
    takes = getattr(composed.types["stage"], "TAKES", (*inputs.SINGLE, *inputs.LISTS))
    wrong = []
    for name, reference in inputs.references(config).items():
        if name.partition(".")[0] not in takes:
            reads = " and ".join(takes) or "no input"
            wrong.append(f"{name}={reference}: stage={stage} reads {reads}. Remove it, or choose another stage.")
        elif name not in report.pending:
            wrong += _resolve(config, name, reference, report)
    if stage in ("evaluate", "collect") and config.get("policy") is None:
        wrong.append(
            f"stage={stage} needs a policy: policy=<run reference>, policy=<file> or policy=pretrained:<name>."
        )
    return wrong


def _resolve(config: dict[str, Any], name: str, reference: str, report: PreflightReport) -> list[str]:
    """Set the path of a reference in the configuration; return a line if it cannot be resolved."""
    try:
        path = inputs.resolve(name, reference)
    except RegimenError as error:
        return [f"{name.partition('.')[0]}={reference}: {error}"]
    inputs.put(config, name, path)
    report.inputs[name], report.references[name] = path, reference
    run = inputs.owner(path)
    if run and run not in report.parents:
        report.parents.append(run)
    return []


def _own_checks(composed: ComposedConfig) -> list[str]:
    """Return the problems that configuration dataclasses find by their method `problems(config)`.

    A line that starts with `key=` is reported with the place where that key was set.
    """
    return [
        _located(composed, node, line)
        for node, kind in {**composed.types, "hardware": HardwareCfg}.items()
        if hasattr(kind, "problems")
        for line in structured.build(kind, composed.config[node]).problems(composed.config)
    ]


def _located(composed: ComposedConfig, node: str, line: str) -> str:
    path = f"{node}.{line.partition('=')[0]}"
    if "=" in line and composed.tree.has(path):
        return f"{composed.tree.source_of(path).location(path)}: {node}.{line}"
    return f"{node}: {line}"


def _robot(composed: ComposedConfig, wrong: list[str]) -> Robot | None:
    name = composed.config["env"].get("robot")
    try:
        return load_robot(name) if name else None
    except ConfigError as error:
        source = composed.tree.source_of("env.robot").location("env.robot")
        wrong.append(f"{source}: {error}")
        return None


def _names(composed: ComposedConfig, robot: Robot) -> list[str]:
    """Return a line for each pattern of joints, bodies or rewards in the task that has no match."""
    names = {"joints": robot.joints, "bodies": (*robot.feet, *robot.fall_bodies)}
    rewards = composed.config["env"].get("rewards") or {}
    names["rewards"] = tuple(name for name, term in rewards.items() if term and term.get("weight"))
    wrong = []
    for path, kind, patterns in _patterns(composed.config["env"]):
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            try:
                match(names[kind], str(pattern))
            except (ConfigError, re.error) as error:
                text = f"`{pattern}` is no regular expression: {error}." if isinstance(error, re.error) else error
                wrong.append(f"{composed.tree.source_of(path).location(path)}: {path}: {text}")
    return wrong


def _patterns(env: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
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
