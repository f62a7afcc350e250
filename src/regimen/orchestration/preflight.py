"""Find before the start what would fail later: memory, disk, device, interpreter, references."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen.config import structured
from regimen.config.compose import Composed
from regimen.config.schema import HardwareCfg
from regimen.envs.robots.robot import Robot, match
from regimen.envs.robots.robot import load as load_robot
from regimen.orchestration import resources
from regimen.orchestration.compatibility import agent_problems, checkpoint_problems, data_problems, file_problems
from regimen.orchestration.resources import Resources
from regimen.runs import inputs
from regimen.system.errors import ConfigError, RegimenError, refuse

PROCESS_BYTES = 600 * 2**20
"""A worker that has opened nothing yet: torch, skrl and MuJoCo imported (260 MiB measured), checkpoints, plots."""

ENV_BYTES = 24 * 2**10
"""The manager env's own float32 tensors for one environment: state, terms, buffers, with room for temporaries."""


@dataclass
class PreflightReport:
    """What was found.

    Attributes:
        memory: part -> bytes one worker is expected to take.
        available: bytes free now.
        disk_free: bytes free where the run will be.
        warnings: what does not prevent the start.
        inputs: name -> file that an input leads to.
        parents: ids of the runs the inputs come from.
        references: name of an input -> reference, as typed.
        pending: name of an input -> reference to what a run still has to make.
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
        """Return what the record of the run says of its inputs, see `creation.create`."""
        known = {name: getattr(self, name) for name in ("parents", "references", "pending")}
        return {"files": self.inputs, **known}


def preflight(
    composed: Composed, root: Path, parallel: int = 1, pending: dict[str, str] | None = None
) -> PreflightReport:
    """Check that this machine can do the run; inputs and threads are resolved in `composed.config`.

    Args:
        composed: the run.
        root: folder that will hold the run directory.
        parallel: workers running at once.
        pending: inputs that other runs still have to make: name -> reference, resolved when the run starts.

    Raises:
        ConfigError: listing everything that stands against it.
    """
    config = composed.config
    place = resources.resources_of(config, parallel)
    found = PreflightReport({}, place.memory, resources.disk_free(root), pending=dict(pending or {}))
    wrong = [
        *resources.problems(config, place),
        *_several_workers(composed),
        *_inputs(composed, found),
        *agent_problems(composed),
        *data_problems(composed, found.inputs),
        *_own_checks(composed),
    ]
    robot = _robot(composed, wrong)
    if robot is not None:
        wrong += _names(composed, robot) or checkpoint_problems(composed, found.inputs, robot)
        found.memory = estimate(composed, robot)
        alone = sum(estimate(composed, robot, envs=1).values())
        wrong += _memory(found, composed, place, alone)
    elif not config["env"].get("robot"):
        wrong += file_problems(composed, found.inputs)
    wrong += resources.folder_problems(root)
    if config["hardware"]["threads"] is None:
        config["hardware"]["threads"] = max(1, place.cores // place.workers)
    if (threads := config["hardware"]["threads"]) * place.workers > place.cores:
        at_once = f" x {place.workers} jobs at once" if place.workers > 1 else ""
        cores = f"{place.cores} cores {'here' if place.here else 'of the job'}"
        found.warnings.append(f"hardware.threads={threads}{at_once} is more than the {cores}: slower")
    refuse(wrong)
    return found


def estimate(composed: Composed, robot: Robot | None, envs: int | None = None) -> dict[str, int]:
    """Return part -> bytes one worker is expected to take: the process, the envs, and what each dataclass says.

    A configuration dataclass may define `memory_bytes(num_envs, observation, action)`. The widths are upper bounds: a
    term is at most as wide as the robot has joints, or 3. What an agent on a GPU takes is not of this memory.

    Args:
        composed: the run.
        robot: the task's robot; None for a task without one.
        envs: environments, by default those of the run.
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


def num_envs(composed: Composed) -> int:
    """Return how many environments the run opens: what its stage says in `num_envs(config)`, or the task's number."""
    stage = composed.types["stage"]
    if hasattr(stage, "num_envs"):
        return max(1, int(structured.build(stage, composed.config["stage"]).num_envs(composed.config)))
    return max(1, int(composed.config["env"].get("num_envs", 1)))


def _envs_of_a_worker(composed: Composed) -> int:
    hardware = composed.config["hardware"]
    workers = hardware["nodes"] * hardware["processes"] if _learns_in_several(composed) else 1
    return max(1, num_envs(composed) // workers)


def _memory(found: PreflightReport, composed: Composed, place: Resources, alone: int) -> list[str]:
    """Return a line if the memory does not suffice; `alone` is what a worker with a single env takes.

    An agent whose need comes from more than the environments says what to lower by `LOWER: ClassVar[str]`.
    """
    gib = 2**30
    each, share = sum(found.memory.values()), found.available / place.workers
    if each <= share:
        return []
    envs, stage, own = num_envs(composed), composed.choices["stage"], _envs_of_a_worker(composed)
    fits = max(1, int((share - alone) / max(each - alone, 1) * (own - 1) + 1)) * (envs // own)
    lower = f"the {envs} envs that stage={stage} opens" if hasattr(composed.types["stage"], "num_envs") else ""
    advice = f"Lower {lower or f'env.num_envs={envs}'} (about {fits} fit)"
    if "agent" in found.memory and (sizes := getattr(composed.types["agent"], "LOWER", "")):
        own_need = f"The agent takes {found.memory['agent'] / gib:.1f} GiB of it: lower {sizes}"
        advice = own_need if alone > share else f"{own_need}, or l{advice[1:]}"
    advice += " or hardware.max_jobs." if place.workers > 1 else "."
    needed, short = each * place.workers / gib, (each - share) * place.workers / gib
    return [
        f"memory: about {needed:.1f} GiB needed, {found.available / gib:.1f} GiB available, "
        f"{short:.1f} GiB too little. {advice}"
    ]


def _several_workers(composed: Composed) -> list[str]:
    """Return a line if several workers are asked for and neither stage nor agent can work with others.

    A configuration dataclass says that it can by `DISTRIBUTED: ClassVar[bool] = True`.
    """
    hardware, choices = composed.config["hardware"], composed.choices
    workers = hardware["nodes"] * hardware["processes"]
    if workers == 1 or _learns_in_several(composed) or getattr(composed.types["stage"], "DISTRIBUTED", False):
        return []
    return [
        f"hardware.nodes={hardware['nodes']} hardware.processes={hardware['processes']}: agent={choices['agent']} with "
        f"stage={choices['stage']} works in one process. Take them away, or choose an agent that learns in several."
    ]


def _learns_in_several(composed: Composed) -> bool:
    """Whether the agent learns in this stage, and can with other workers; a task's environments are divided then."""
    learning = composed.choices["stage"] in ("train", "distill")
    return learning and getattr(composed.types["agent"], "DISTRIBUTED", False)


def _inputs(composed: Composed, found: PreflightReport) -> list[str]:
    """Resolve policy, estimator, data and runs to files; the runs they lie in become parents."""
    config, stage = composed.config, composed.choices["stage"]
    takes = getattr(composed.types["stage"], "TAKES", (*inputs.SINGLE, *inputs.LISTS))
    wrong = []
    for name, reference in inputs.references(config).items():
        if name.partition(".")[0] not in takes:
            reads = " and ".join(takes) or "no input"
            wrong.append(f"{name}={reference}: stage={stage} reads {reads}. Take it away, or choose another stage.")
        elif name not in found.pending:
            wrong += _resolve(config, name, reference, found)
    if stage in ("evaluate", "collect") and config.get("policy") is None:
        wrong.append(
            f"stage={stage} needs a policy: policy=<run reference>, policy=<file> or policy=pretrained:<name>."
        )
    return wrong


def _resolve(config: dict[str, Any], name: str, reference: str, found: PreflightReport) -> list[str]:
    """Put the path that a reference leads to into the configuration; return a line if it leads nowhere."""
    try:
        path = inputs.resolve(name, reference)
    except RegimenError as error:
        return [f"{name.partition('.')[0]}={reference}: {error}"]
    inputs.put(config, name, path)
    found.inputs[name], found.references[name] = path, reference
    run = inputs.owner(path)
    if run and run not in found.parents:
        found.parents.append(run)
    return []


def _own_checks(composed: Composed) -> list[str]:
    """Ask each dataclass that defines `problems(config)` for what it has against the whole configuration.

    A line that begins with `key=` is told with the place that key was set in.
    """
    return [
        _told(composed, node, line)
        for node, kind in {**composed.types, "hardware": HardwareCfg}.items()
        if hasattr(kind, "problems")
        for line in structured.build(kind, composed.config[node]).problems(composed.config)
    ]


def _told(composed: Composed, node: str, line: str) -> str:
    path = f"{node}.{line.partition('=')[0]}"
    if "=" in line and composed.tree.has(path):
        return f"{composed.tree.who(path).at(path)}: {node}.{line}"
    return f"{node}: {line}"


def _robot(composed: Composed, wrong: list[str]) -> Robot | None:
    name = composed.config["env"].get("robot")
    try:
        return load_robot(name) if name else None
    except ConfigError as error:
        source = composed.tree.who("env.robot").at("env.robot")
        wrong.append(f"{source}: {error}")
        return None


def _names(composed: Composed, robot: Robot) -> list[str]:
    """Return a line for each pattern of joints, bodies or rewards in the task that matches nothing it has."""
    known = {"joints": robot.joints, "bodies": (*robot.feet, *robot.fall_bodies)}
    rewards = composed.config["env"].get("rewards") or {}
    known["rewards"] = tuple(name for name, term in rewards.items() if term and term.get("weight"))
    wrong = []
    for path, kind, patterns in _patterns(composed.config["env"]):
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            try:
                match(known[kind], str(pattern))
            except (ConfigError, re.error) as error:
                said = f"`{pattern}` is no regular expression: {error}." if isinstance(error, re.error) else error
                wrong.append(f"{composed.tree.who(path).at(path)}: {path}: {said}")
    return wrong


def _patterns(env: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, `joints`, `bodies` or `rewards`, patterns) wherever a task names them."""
    yield "env.actions.joints", "joints", (env.get("actions") or {}).get("joints") or []
    groups = {f"observations.{n}.terms": (g or {}).get("terms") for n, g in (env.get("observations") or {}).items()}
    groups |= {name: env.get(name) for name in ("commands", "rewards", "terminations", "events", "curriculum")}
    for group, terms in groups.items():
        for name, term in (terms or {}).items():
            params = (term or {}).get("params") or {}
            for kind in ("joints", "bodies", "rewards"):
                if kind in params:
                    yield f"env.{group}.{name}.params.{kind}", kind, params[kind]
