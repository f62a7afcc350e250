"""Check that agent, policy, data and detector fit the task and stage, without importing or opening them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from regimen.agents.export import header
from regimen.agents.policy_header import read_header
from regimen.config import static_types
from regimen.config.compose import ComposedConfig
from regimen.config.yaml_io import read_yaml
from regimen.envs.fault_estimate.columns import PROBABILITY, SINCE
from regimen.envs.robots.robot import Robot, match
from regimen.orchestration import policy_fit
from regimen.runs.checkpoint_header import ForeignError
from regimen.system.errors import ConfigError, RegimenError

ESTIMATE_NEEDED = "This policy needs a fault estimate: set estimator=<run> or env.estimate.mode=oracle|none."
ESTIMATE_UNUSED = (
    "This policy reads no fault estimate: remove estimator= and env.estimate.mode=, or choose another policy."
)


def agent_problems(composed: ComposedConfig) -> list[str]:
    """Return a line if the agent lacks a method that the stage calls, or if its estimator is missing.

    A stage declares the method by `NEEDS: ClassVar[str]` in its dataclass.
    """
    needed = getattr(composed.types["stage"], "NEEDS", None)
    agent, stage = composed.choices["agent"], composed.choices["stage"]
    if needed and needed not in static_types.methods(composed.config["agent"]["_target_"]):
        return [
            f"agent={agent} has no `{needed}`, which stage={stage} calls. Agents with it: {_with(composed, needed)}."
        ]
    watches = getattr(composed.types["agent"], "WATCHES", False)
    if stage == "evaluate" and watches and not composed.config.get("estimator"):
        return [f"stage=evaluate agent={agent} evaluates a detector: estimator=<run reference> is missing."]
    return []


KINDS = {".h5": "recorded episodes (stage=collect)", ".json": "learning histories (stage=collect_histories)"}
"""Suffix of a dataset file -> its content."""


def data_problems(composed: ComposedConfig, files: Mapping[str, Path]) -> list[str]:
    """Return a line for each dataset of another kind than the agent learns from.

    An agent declares the kind by `DATA: ClassVar[str]`: `.h5` for episodes, `.json` for histories.

    Args:
        composed: checked configuration.
        files: name of an input -> file.
    """
    wanted = getattr(composed.types["agent"], "DATA", None)
    paths = [path for name, path in files.items() if name.startswith("data.")]
    return [
        f"data={path} are {KINDS[path.suffix]}; agent={composed.choices['agent']} learns from {KINDS[wanted]}."
        for path in paths
        if wanted in KINDS and path.suffix in KINDS and path.suffix != wanted
    ]


def _with(composed: ComposedConfig, method: str) -> str:
    """Return the names of the agents in the same folder of options that have `method`."""
    names = []
    for name, target in _agents(composed):
        with suppress(ConfigError):
            if method in static_types.methods(target):
                names.append(name)
    return ", ".join(names) or "none here"


def _agents(composed: ComposedConfig) -> Iterator[tuple[str, str]]:
    """Yield name and class of the agents in the same folder of options."""
    for file in sorted(composed.files["agent"].parent.glob("*.yaml")):
        target = (read_yaml(file) or {}).get("_target_")
        if target:
            yield file.stem, target


def checkpoint_problems(composed: ComposedConfig, files: Mapping[str, Path], robot: Robot) -> list[str]:
    """Return a line for a policy that does not fit the task, with every difference, and for a file without a detector.

    A policy may read fewer terms than the task offers in the stages `train` and `assemble`, and with an agent that
    declares `WATCHES: ClassVar[bool] = True`: such an agent is evaluated while the policy acts without its estimate.

    Args:
        composed: checked configuration.
        files: name of an input -> file.
        robot: robot of the task.
    """
    if not composed.config["env"]["_target_"].endswith(".ManagerEnv"):
        return []
    checks = {"policy": _policy, "estimator": _estimator}
    wrong = []
    for name, check in checks.items():
        path = files.get(name)
        if path is not None and path.suffix in (".pt", ".onnx"):
            try:
                wrong += check(path, composed, robot)
            except RegimenError as error:
                wrong.append(f"{name}={path}: {error}")
    return wrong


def file_problems(composed: ComposedConfig, files: Mapping[str, Path]) -> list[str]:
    """Return a line for a policy that is no checkpoint, or is a checkpoint of another agent.

    This is the check for tasks whose observations and joints are known only once they are open. Stages outside of this
    package may take other files as a policy, so they are not checked.
    """
    path, stage = files.get("policy"), composed.config["stage"]["_target_"]
    if path is None or path.suffix not in (".pt", ".onnx") or not stage.startswith("regimen.stages."):
        return []
    try:
        return _of_another_agent(path, read_header(path), composed)
    except RegimenError as error:
        return [f"policy={path}: {error}"]


def _of_another_agent(path: Path, bundle: Mapping[str, Any], composed: ComposedConfig) -> list[str]:
    """Return a line if a training would start from the policy of another agent of this package."""
    theirs, ours = str((bundle.get("agent") or {}).get("_target_")), str(composed.config["agent"]["_target_"])
    if theirs == ours or composed.choices["stage"] != "train":
        return []
    if theirs == header.AGENT:
        return [
            f"policy={path} is an exported policy, which cannot be trained. Name the run that it was exported from."
        ]
    if not all(target.startswith("regimen.agents.") for target in (theirs, ours)):
        return []  # agents of other packages may be able to start from it
    options = " or ".join(f"agent={name}" for name, target in _agents(composed) if target == theirs)
    return [
        f"policy={path} is a policy of {theirs.rpartition('.')[2]}; agent={composed.choices['agent']} cannot start "
        f"from it: it has other networks. Set {options or 'the agent of its run'}, or remove policy=."
    ]


def _policy(path: Path, composed: ComposedConfig, robot: Robot) -> list[str]:
    joints = composed.config["stage"].get("joints") if composed.choices["stage"] == "evaluate" else None
    try:
        bundle = read_header(path)
    except ForeignError:
        if joints is None:
            raise
        return _foreign(joints, composed, robot)
    if joints is not None:
        return [f"stage.joints={joints}: {path} records its joints itself. Remove stage.joints."]
    if "detector" in bundle:
        return [f"policy={path} is a detector of broken joints, not a policy. Set estimator={path}."]
    if bundle.get("agent", {}).get("_target_") == header.AGENT and composed.choices["stage"] == "assemble":
        return [
            f"policy={path} is an exported policy, which cannot be trained. Name the run that it was exported from."
        ]
    if other := _of_another_agent(path, bundle, composed):
        return other
    partial = composed.choices["stage"] in ("train", "assemble") or getattr(composed.types["agent"], "WATCHES", False)
    ios = bundle.get("ios", [bundle["io"]])  # a model of several groups of tasks: the best match
    lines = min((policy_fit.mismatches(io, composed.config, robot, partial) for io in ios), key=len)
    if not lines:
        return []
    estimates = [line for line in lines if any(f"policy.{term}:" in line for term in (PROBABILITY, SINCE))]
    hint = [ESTIMATE_NEEDED if "only the policy" in estimates[0] else ESTIMATE_UNUSED] if estimates else []
    return ["\n  ".join([f"policy={path} does not fit task={composed.choices['task']}:", *lines, *hint])]


def _foreign(joints: list[str], composed: ComposedConfig, robot: Robot) -> list[str]:
    """Return the problems of evaluating a checkpoint written by rsl_rl itself."""
    lines = []
    if not composed.config["agent"]["_target_"].endswith(".RslRlPpo"):
        lines.append(f"agent={composed.choices['agent']}: this is a policy of rsl_rl. Set agent=rsl_rl_ppo.")
    acting = match(robot.joints, *composed.config["env"]["actions"]["joints"])
    if joints != ["task"] and sorted(joints) != sorted(acting):
        lines.append(f"stage.joints={joints}: expected, in the policy's order, {', '.join(acting)}; or [task].")
    return lines


def _estimator(path: Path, composed: ComposedConfig, robot: Robot) -> list[str]:
    bundle = read_header(path)
    if "detector" not in bundle:
        return [f"estimator={path} is a policy, not a detector. To train a detector: stage=distill agent=failure_gru."]
    lines = policy_fit.mismatches(bundle["io"], composed.config, robot, groups=(bundle["detector"]["group"],))
    lines = [line.replace(": policy ", ": detector ").replace("only the policy", "only the detector") for line in lines]
    return ["\n  ".join([f"estimator={path} does not fit task={composed.choices['task']}:", *lines])] if lines else []
