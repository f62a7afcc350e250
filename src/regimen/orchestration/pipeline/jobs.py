"""From nodes to checked configurations: everything is composed before the first step starts."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regimen.config.compose import Composed, Refusal, compose, refuse
from regimen.config.hydra_adapter import quoted
from regimen.orchestration.pipeline.graph import Node
from regimen.orchestration.pipeline.spec import Pipeline
from regimen.orchestration.preflight import Preflight, preflight
from regimen.runs import code_snapshot, create
from regimen.runs import inputs as run_inputs
from regimen.runs.signature import INPUT_KEYS

ROOT = Path("outputs")

OWN = {"name": "each run is named for its step", "stage": "each step says its stage"}
"""Keys that no argument may set for all steps, and why."""


@dataclass
class Job:
    """A node with its configuration.

    Attributes:
        node: what the pipeline wants.
        composed: its configuration; inputs that other nodes make are not in it yet.
        at: `file:line` of its step.
        code: copy of the code as it was when the command was given, from which its run works; None in a mere plan.
    """

    node: Node
    composed: Composed
    at: str
    code: str | None = None

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def max_jobs(self) -> int:
        """How many runs may work at once while this one does."""
        return int(self.composed.config["hardware"]["max_jobs"])

    def freeze_code(self) -> None:
        """Keep the code as it is now: a step that starts in hours is what was asked for, whatever is edited."""
        self.code = str(code_snapshot.take(self.composed.config))

    def asks(self, key: str) -> bool:
        """Return whether a switch of the configuration, such as `force`, is on."""
        return bool(self.composed.config[key])


@dataclass
class Ready:
    """A job whose inputs are known: it can be created.

    Attributes:
        composed: the configuration with its inputs.
        found: what preflight saw.
        signature: the hashes that its run will be recorded with.
    """

    composed: Composed
    found: Preflight
    signature: dict[str, str]


def compose_all(pipeline: Pipeline, nodes: list[Node], arguments: list[str], config_dirs: list[Path]) -> list[Job]:
    """Compose and check every node, its inputs deferred.

    Args:
        pipeline: the file.
        nodes: its runs.
        arguments: from the command line, for every step.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: with the problems of all steps, each said once.
    """
    refuse([f"argument `{a}`: {OWN[_key(a)]}; take it away." for a in arguments if _key(a) in OWN])
    jobs, wrong = [], []
    for node in nodes:
        at = pipeline.at(f"steps.{node.number}")
        try:
            composed = compose(_arguments(pipeline, node, arguments), config_dirs)
            jobs.append(Job(node, composed, at))
            _take_inputs(jobs[-1])
        except Refusal as error:
            wrong += [f"{at}: step `{node.step.name}`: {line}" for line in error.lines]
    refuse(wrong)
    return jobs


def check_all(jobs: list[Job]) -> list[str]:
    """Check that this machine can do every job, and that each stage can take its inputs; return warnings.

    Raises:
        ConfigError: with the problems of all steps, each said once.
    """
    wrong, warnings = [], []
    for job in jobs:
        composed = replace(job.composed, config=copy.deepcopy(job.composed.config))
        links = job.node.inputs
        _put_inputs(composed, {name: link.given or str(link) for name, link in links.items()})
        pending = {name: str(link) for name, link in links.items() if not link.given}
        try:
            warnings += preflight(composed, ROOT, parallel(jobs), pending).warnings
        except Refusal as error:
            wrong += [f"{job.at}: step `{job.node.step.name}`: {line}" for line in error.lines]
    schedulers = {job.composed.config["hardware"]["scheduler"] for job in jobs}
    if len(schedulers) > 1:
        named = " and ".join(sorted(f"hardware.scheduler={s or 'null'}" for s in schedulers))
        wrong.append(
            f"{jobs[0].at}: the steps ask for {named}: a pipeline runs in one place. Choose hardware= for all."
        )
    refuse(wrong)
    return warnings


def prepare(job: Job, jobs: list[Job], inputs: dict[str, str], pending: bool = False) -> Ready:
    """Put references into a job's configuration and resolve them.

    Args:
        job: the job.
        jobs: all of the pipeline, which share the cores.
        inputs: input name -> reference to a run that exists.
        pending: whether the references lead somewhere only when those runs have finished.

    Raises:
        RegimenError: an input leads nowhere, or does not fit.
    """
    composed = replace(job.composed, config=copy.deepcopy(job.composed.config))
    _put_inputs(composed, inputs)
    composed.overrides = [*composed.overrides, *_input_arguments(inputs)]
    found = preflight(composed, ROOT, parallel(jobs), inputs if pending else None)
    known = {"inputs": run_inputs.read(found.inputs, found.references), "pending": found.pending, "code": job.code}
    return Ready(composed, found, create.sign(composed.config, known))


def parallel(jobs: list[Job]) -> int:
    """Return how many of the jobs can run at once, by the graph and by `hardware.max_jobs`."""
    depth: dict[str, int] = {}
    for job in jobs:
        depth[job.name] = 1 + max((depth[name] for name in job.node.after), default=0)
    widest = max(list(depth.values()).count(d) for d in depth.values())
    return min(widest, *(job.max_jobs for job in jobs)) if len(jobs) > 1 else 1


def _arguments(pipeline: Pipeline, node: Node, arguments: Iterable[str]) -> list[str]:
    """Return all arguments of a node; of several for the same key the last one counts."""
    named = f"name={pipeline.name}.{node.name}"
    layers = [named, *pipeline.config.overrides, f"stage={node.step.stage}", *node.overrides, *arguments]
    return list({_key(text): text for text in layers}.values())


def _key(argument: str) -> str:
    return argument.partition("=")[0].lstrip("+~")


def _take_inputs(job: Job) -> None:
    """Refuse an argument for an input that a step makes."""
    mine = {name.partition(".")[0] for name in job.node.inputs}
    for text in job.composed.overrides:
        if _key(text) in mine:
            raise Refusal([f"argument `{text}`: `{_key(text)}` is what another step makes, see its `inputs`."])


def _put_inputs(composed: Composed, references: dict[str, str]) -> None:
    for name, reference in references.items():
        key, _, number = name.partition(".")
        if number:
            composed.config[key] = [*composed.config[key][: int(number)], reference]
        else:
            composed.config[key] = reference


def _input_arguments(references: dict[str, str]) -> list[str]:
    """Return references as they would be typed."""
    found: dict[str, Any] = {}
    for name, reference in references.items():
        key, _, number = name.partition(".")
        found[key] = [*found.get(key, []), reference] if number else reference
    return [f"{key}={quoted(found[key])}" for key in INPUT_KEYS if key in found]
