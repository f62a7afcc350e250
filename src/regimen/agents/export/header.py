"""The description of an exported policy, read without torch, as the bundle of a checkpoint.

An ONNX file has it as metadata properties, one JSON value each; a TorchScript file as `extra/regimen.json`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.agents.export.descriptions import (
    LAST_ACTION,
    CommandDescription,
    DelayDescription,
    ExportCheck,
    RobotDescription,
    SensorDescription,
)
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import CheckpointError, PreflightError
from regimen.system.file_kinds import this_is

if TYPE_CHECKING:
    import onnx

    from regimen.envs.vec_env import TermMeaning
    from regimen.runs.checkpoint_header import PolicyBundle

FORMAT = 1
WITH_STATE = 2
"""Format of a file whose network has a state or sensors as inputs, which earlier versions cannot run."""

STATE_IN, STATE_OUT = "state_in_", "state_out_"
"""Beginnings of the names of inputs and outputs with a part of the state."""

ONNX = b"\x08"
"""First byte of an ONNX file: the field with the version of the format."""

EXTRA = "regimen.json"
"""Name of the extra file in a TorchScript archive."""

AGENT = "regimen.agents.exported.Exported"
HOW = "Export one: regimen export <run> format=onnx (or torchscript)."


@dataclass(frozen=True)
class PolicyDescription:
    """The description in an exported policy; docs/export.md explains its keys.

    Attributes:
        inputs: observation group that the network reads -> shape and content.
        outputs: output -> shape and content.
        step_dt: seconds between two actions.
        observations: group -> term -> `size` and `TermMeaning`.
        images: group of one image that the network reads -> [H, W, C].
        state: part of the network's state -> its shape for one robot; zeros at the start of an episode. The input
            `state_in_<name>` has it before a step and the output `state_out_<name>` after it.
        sensors: inputs of a file with the observation pipeline inside, by name; empty where the inputs are groups.
        feedback: terms `group.term` that hold the action of the last step.
        delays: `actions` or `group.term` -> its delay in the training.
        joint_names: joints of an action, in order.
        action_scale: rad for an action of 1, of each joint.
        action_offset: target at action 0, rad.
        action_clip: bound on the absolute action, or None.
        joint_limits: lowest and highest angle of each joint, rad; None where they are not known.
        faults: joints that failed in the training.
        run: id of the run.
        step: of the checkpoint.
        task: option of the task.
        commit: of the training, followed by `+` if there were uncommitted changes.
        agent: class of the agent.
        robot: None for a task without a robot.
        physics_dt: seconds of a physics step; None for a task without a robot.
        commands: command -> what it is and how it is computed, of those that the observations contain.
        regimen: version that exported the policy.
        format: version of the description.
        check: None before the exported network was compared.
    """

    format: int
    inputs: dict[str, str]
    step_dt: float
    observations: dict[str, dict[str, TermMeaning]]
    joint_names: list[str]
    action_scale: list[float]
    action_offset: list[float]
    action_clip: float | None
    joint_limits: list[list[float]] | None
    faults: list[str]
    run: str | None
    step: int | None
    regimen: str = ""
    task: str | None = None
    commit: str | None = None
    agent: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    robot: RobotDescription | None = None
    physics_dt: float | None = None
    commands: dict[str, CommandDescription] = field(default_factory=dict)
    check: ExportCheck | None = None
    images: dict[str, list[int]] = field(default_factory=dict)
    state: dict[str, list[int]] = field(default_factory=dict)
    sensors: dict[str, SensorDescription] = field(default_factory=dict)
    feedback: list[str] = field(default_factory=list)
    delays: dict[str, DelayDescription] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PolicyDescription:
        """Return the description in a file; keys of later versions are ignored.

        Raises:
            CheckpointError: a key is missing.
        """
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        try:
            if known.get("robot") is not None:
                known["robot"] = RobotDescription.from_dict(known["robot"])
            if known.get("check") is not None:
                known["check"] = ExportCheck(**known["check"])
            commands = known.get("commands") or {}
            known["commands"] = {name: CommandDescription.from_dict(part) for name, part in commands.items()}
            for name, kind in (("sensors", SensorDescription), ("delays", DelayDescription)):
                known[name] = {key: kind(**part) for key, part in (known.get(name) or {}).items()}
            return cls(**known)
        except TypeError as error:
            raise CheckpointError(f"The description of an exported policy is incomplete: {error}.") from error

    def to_dict(self) -> dict[str, object]:
        """Return plain data in the order of the keys in a file; a check that is still to come is left out."""
        data = asdict(self)
        return {key: data[key] for key in _KEYS if key != "check" or self.check is not None}

    @property
    def reads(self) -> list[str]:
        """Names of the inputs without those of the state, in order."""
        return [name for name in self.inputs if not name.startswith(STATE_IN)]

    def readings(self) -> dict[str, str]:
        """Return input -> a term `group.term` that reads it, of a file with the observation pipeline, in order.

        The part of the state with the last action is among them.
        """
        fed = {LAST_ACTION: self.feedback[0]} if LAST_ACTION in self.state else {}
        return {name: sensor.terms[0] for name, sensor in self.sensors.items()} | fed

    def io_spec(self) -> IOSpec:
        """Return observations and actions of the policy."""
        sizes = {g: {name: term["size"] for name, term in terms.items()} for g, terms in self.observations.items()}
        meaning = {
            g: {name: rest for name, term in terms.items() if (rest := {k: v for k, v in term.items() if k != "size"})}
            for g, terms in self.observations.items()
        }
        action = ActionSpec(
            self.joint_names, self.action_scale, self.action_offset, self.action_clip, self.joint_limits
        )
        return IOSpec(sizes, action, self.step_dt, meaning, images=self.images)


_KEYS = (
    *("format", "regimen", "task", "run", "step", "commit", "agent", "faults", "inputs", "outputs", "step_dt"),
    *("observations", "images", "sensors", "feedback", "state", "delays"),
    *("joint_names", "action_scale", "action_offset", "action_clip", "joint_limits", "robot"),
    *("physics_dt", "commands", "check"),
)


def is_exported(path: Path) -> bool:
    """Return whether a file is ONNX or TorchScript, written by this project or not."""
    return path.suffix == ".onnx" or any(name.endswith("/constants.pkl") for name in _members(path))


def read_description(path: Path) -> PolicyDescription:
    """Return the description of an exported policy; see `metadata.describe`.

    Args:
        path: of an ONNX or TorchScript file.

    Raises:
        CheckpointError: it cannot be read, or has no description.
    """
    content = _of_onnx(path) if path.suffix == ".onnx" else _of_torchscript(path)
    if content.get("format") not in (FORMAT, WITH_STATE):
        raise CheckpointError(
            f"{path} has no description of its observations and joints, as exports of this project have. {HOW}"
        )
    return PolicyDescription.from_dict(content)


def bundle(path: Path) -> PolicyBundle:
    """Return an exported policy as the bundle of a checkpoint, whose agent only acts.

    Raises:
        CheckpointError: see `read_description`.
        PreflightError: onnxruntime is not installed.
    """
    description = read_description(path)
    if path.suffix == ".onnx":
        require_runtime()
    return {
        "agent": {"_target_": AGENT},
        "io": description.io_spec().to_dict(),
        "faults": description.faults,
        "run": description.run,
        "step": description.step,
        "policy": {
            "path": str(path),
            "inputs": description.reads,
            "state": description.state,
            "readings": description.readings(),
        },
    }


def require_runtime() -> None:
    """Raise unless onnxruntime, which checks and runs ONNX files, is installed.

    Raises:
        PreflightError: it is not; the message has the command that installs it.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise PreflightError(
            f"ONNX files are run by onnxruntime, which {sys.executable} does not have. "
            f"Type: {sys.executable} -m pip install -e '.[onnx]', or take format=torchscript."
        )


def _members(path: Path) -> list[str]:
    return zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []


def _of_onnx(path: Path) -> Mapping[str, Any]:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load(path, load_external_data=False)
        outside = [tensor.name for tensor in _tensors(model.graph) if uses_external_data(tensor)]
        if outside:
            raise CheckpointError(
                f"{path} keeps weights in other files ({', '.join(outside[:3])}), which are not read. Save the model "
                "as one file, by onnx.save(onnx.load(path), path), or export the policy again: "
                "regimen export <run> format=onnx."
            )
        return {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    except (OSError, DecodeError) as error:
        raise CheckpointError(f"{path} is cut short or is no ONNX file. {this_is(path, ONNX)}{HOW}") from error
    except json.JSONDecodeError:
        return {}


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the stored tensors of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


def _of_torchscript(path: Path) -> Mapping[str, Any]:
    inside = next((name for name in _members(path) if name.endswith(f"/extra/{EXTRA}")), None)
    if inside is None:
        return {}
    with zipfile.ZipFile(path) as archive:
        content: Mapping[str, Any] = json.loads(archive.read(inside))
    return content
