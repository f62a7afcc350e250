"""Compose and check the configuration of every node before the first step starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig, compose
from regimen.config.hydra_adapter import quoted
from regimen.orchestration.pipeline.graph import Node, Pipeline
from regimen.orchestration.preflight import preflight
from regimen.orchestration.preflight_report import PreflightReport
from regimen.runs import create
from regimen.runs import inputs as run_inputs
from regimen.runs.code_snapshot import SharedCopies
from regimen.runs.record_parts import Signature
from regimen.runs.signature import INPUT_KEYS
from regimen.system.errors import ConfigErrors, raise_if_any

ROOT = Path("outputs")

RESERVED_KEYS = {"name": "each run is named after its step", "stage": "each step sets its stage"}
"""Keys that no argument may set for all steps -> reason."""


@dataclass
class Job:
    """A node with its configuration.

    Attributes:
        node: the node.
        composed: its configuration, without inputs that other nodes produce.
        at: `file:line` of its step.
        code: snapshot of the code that its run will use; None in a dry run.
    """

    node: Node
    composed: ComposedConfig
    at: str
    code: str | None = None

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.node.name

    @property
    def max_jobs(self) -> int:
        """Largest number of runs at once while this one runs."""
        return self.composed.config.hardware.max_jobs

    def freeze_code(self, copies: SharedCopies) -> None:
        """Take a snapshot of the code, so that later edits do not affect steps that start later."""
        self.code = copies.take(self.composed.plain)

    def asks(self, key: str) -> bool:
        """Return whether a switch of the configuration, such as `force`, is set."""
        return bool(getattr(self.composed.config, key))


@dataclass
class PreparedJob:
    """A job with resolved inputs, whose run can be created.

    Attributes:
        composed: configuration with inputs.
        report: preflight report.
        signature: signatures of the run: hashes of configuration and code.
    """

    composed: ComposedConfig
    report: PreflightReport
    signature: Signature


def compose_all(pipeline: Pipeline, nodes: list[Node], arguments: list[str], config_dirs: list[Path]) -> list[Job]:
    """Compose and check every node; its inputs are resolved later.

    Args:
        pipeline: the pipeline file.
        nodes: its nodes.
        arguments: arguments of the command line for every step.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: the problems of all steps, each listed once.
    """
    raise_if_any(
        [f"argument `{a}`: {RESERVED_KEYS[_key(a)]}; remove it." for a in arguments if _key(a) in RESERVED_KEYS]
    )
    jobs, wrong = [], []
    for node in nodes:
        at = pipeline.at(f"steps.{node.number}")
        try:
            composed = compose(_arguments(pipeline, node, arguments), config_dirs)
            jobs.append(Job(node, composed, at))
            _refuse_input_arguments(jobs[-1])
        except ConfigErrors as error:
            wrong += [f"{at}: step `{node.step.name}`: {line}" for line in error.lines]
    raise_if_any(wrong)
    return jobs


def check_all(jobs: list[Job]) -> list[str]:
    """Run the preflight checks of every job, with inputs of other steps pending; return warnings.

    Raises:
        ConfigError: the problems of all steps, each listed once.
    """
    wrong, warnings = [], []
    for job in jobs:
        composed = job.composed.copy()
        links = job.node.inputs
        _set_inputs(composed, {name: link.given or str(link) for name, link in links.items()})
        pending = {name: str(link) for name, link in links.items() if not link.given}
        try:
            warnings += preflight(composed, ROOT, parallel(jobs), pending).warnings
        except ConfigErrors as error:
            wrong += [f"{job.at}: step `{job.node.step.name}`: {line}" for line in error.lines]
    schedulers = {job.composed.config.hardware.scheduler for job in jobs}
    if len(schedulers) > 1:
        named = " and ".join(sorted(f"hardware.scheduler={s or 'null'}" for s in schedulers))
        wrong.append(
            f"{jobs[0].at}: the steps ask for {named}: a pipeline runs in one place. Choose hardware= for all."
        )
    raise_if_any(wrong)
    return warnings


def prepare(job: Job, jobs: list[Job], inputs: dict[str, str], pending: bool = False) -> PreparedJob:
    """Set the inputs of a job in its configuration and resolve them.

    The job shares the cores with others, but may take all the memory that is free: running ones have theirs, and
    `check_all` has compared the memory of all that run at once with what was free before the first started.

    Args:
        job: the job.
        jobs: all jobs of the pipeline, which share the cores.
        inputs: input name -> reference to an existing run.
        pending: whether the references can be resolved only after those runs have finished.

    Raises:
        RegimenError: an input cannot be resolved, or does not fit.
    """
    composed = job.composed.copy()
    _set_inputs(composed, inputs)
    composed.overrides = [*composed.overrides, *_input_arguments(inputs)]
    report = preflight(composed, ROOT, parallel(jobs), inputs if pending else None, starting=1)
    entries = run_inputs.read(report.inputs, report.references)
    return PreparedJob(composed, report, create.sign(composed.plain, entries, report.pending, job.code))


def parallel(jobs: list[Job]) -> int:
    """Return the largest number of jobs at once, limited by the graph and by `hardware.max_jobs`."""
    depth: dict[str, int] = {}
    for job in jobs:
        depth[job.name] = 1 + max((depth[name] for name in job.node.after), default=0)
    widest = max(list(depth.values()).count(d) for d in depth.values())
    return min(widest, *(job.max_jobs for job in jobs)) if len(jobs) > 1 else 1


def _arguments(pipeline: Pipeline, node: Node, arguments: Iterable[str]) -> list[str]:
    """Return all arguments of a node; the last argument for a key wins."""
    named = f"name={pipeline.name}.{node.name}"
    layers = [named, *pipeline.config.overrides, f"stage={node.step.stage}", *node.overrides, *arguments]
    return list({_key(text): text for text in layers}.values())


def _key(argument: str) -> str:
    return argument.partition("=")[0].lstrip("+~")


def _refuse_input_arguments(job: Job) -> None:
    """Raise if an argument sets an input that another step produces."""
    produced = {name.partition(".")[0] for name in job.node.inputs}
    for text in job.composed.overrides:
        if _key(text) in produced:
            raise ConfigErrors([f"argument `{text}`: another step produces `{_key(text)}`, see `inputs` of the step."])


def _set_inputs(composed: ComposedConfig, references: dict[str, str]) -> None:
    for name, reference in references.items():
        key, _, number = name.partition(".")
        before = composed.plain[key]
        composed.set_value(key, [*before[: int(number)], reference] if number else reference)


def _input_arguments(references: dict[str, str]) -> list[str]:
    """Return inputs as arguments of the command line."""
    arguments: dict[str, Any] = {}
    for name, reference in references.items():
        key, _, number = name.partition(".")
        arguments[key] = [*arguments.get(key, []), reference] if number else reference
    return [f"{key}={quoted(arguments[key])}" for key in INPUT_KEYS if key in arguments]
