"""The description of an exported policy, read without torch, as the bundle of a checkpoint.

An ONNX file has it as metadata properties, one JSON value each; a TorchScript file as `extra/regimen.json`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import CheckpointError, PreflightError

FORMAT = 1
EXTRA = "regimen.json"
"""Name of the extra file in a TorchScript archive."""

AGENT = "regimen.agents.exported.Exported"
HOW = "Export one: regimen export <run> format=onnx (or torchscript)."


def is_exported(path: Path) -> bool:
    """Return whether a file is ONNX or TorchScript, written by this project or not."""
    return path.suffix == ".onnx" or any(name.endswith("/constants.pkl") for name in _members(path))


def described(path: Path) -> dict[str, Any]:
    """Return the description of an exported policy; see `metadata.describe`.

    Args:
        path: of an ONNX or TorchScript file.

    Raises:
        CheckpointError: it cannot be read, or has no description.
    """
    told = _of_onnx(path) if path.suffix == ".onnx" else _of_torchscript(path)
    if told.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has no description of its observations and joints, as exports of this project have. {HOW}"
        )
    return told


def bundle(path: Path) -> dict[str, Any]:
    """Return an exported policy as the bundle of a checkpoint, whose agent only acts.

    Raises:
        CheckpointError: see `described`.
        PreflightError: onnxruntime is not installed.
    """
    told = described(path)
    if path.suffix == ".onnx":
        require_runtime()
    policy = {"path": str(path), "inputs": list(told["inputs"])}
    head = {"agent": {"_target_": AGENT}, "io": io_of(told).to_dict(), "faults": told["faults"]}
    return head | {"run": told["run"], "step": told["step"], "policy": policy}


def io_of(told: dict[str, Any]) -> IOSpec:
    """Return the `IOSpec` of a description written by `metadata.describe`."""
    sizes = {g: {name: term["size"] for name, term in terms.items()} for g, terms in told["observations"].items()}
    meaning = {
        g: {name: rest for name, term in terms.items() if (rest := {k: v for k, v in term.items() if k != "size"})}
        for g, terms in told["observations"].items()
    }
    scale, offset, clip = (told[f"action_{name}"] for name in ("scale", "offset", "clip"))
    action = ActionSpec(told["joint_names"], scale, offset, clip, told["joint_limits"])
    return IOSpec(sizes, action, told["step_dt"], meaning)


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


def _of_onnx(path: Path) -> dict[str, Any]:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
        return {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    except (OSError, DecodeError) as error:
        raise CheckpointError(f"{path} is cut short or is no ONNX file. {HOW}") from error
    except json.JSONDecodeError:
        return {}


def _of_torchscript(path: Path) -> dict[str, Any]:
    inside = next((name for name in _members(path) if name.endswith(f"/extra/{EXTRA}")), None)
    if inside is None:
        return {}
    with zipfile.ZipFile(path) as archive:
        told: dict[str, Any] = json.loads(archive.read(inside))
    return told
