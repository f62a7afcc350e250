"""Export of a policy: the file, its metadata, and for ONNX the runner that a robot can use it with."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.agents.export import header
from regimen.agents.policy_header import read_header, require_declared_agents
from regimen.config.targets import use_options
from regimen.runs import references
from regimen.runs.outcome import naming
from regimen.system import files
from regimen.system.errors import CheckpointError, ConfigError, PreflightError, did_you_mean

if TYPE_CHECKING:
    from regimen.agents.export.header import PolicyDescription
    from regimen.config.yaml_io import PlainConfig
    from regimen.runs.record import RunRecord

FORMATS = ("onnx", "torchscript")
SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript.pt"}
OBSERVATIONS = ("scaled", "raw")

RUNNER = Path(__file__).with_name("robot_runner.py")
SHA256 = "sha256"
"""Key of the file of metadata: name of a file that was written -> its checksum."""


@dataclass(frozen=True)
class PolicySource:
    """A checkpoint to export, and the task of its policy.

    Attributes:
        path: of the checkpoint.
        config: plain configuration of the task, with robot and gains.
        run: record of its run; None for a file outside of a run.
    """

    path: Path
    config: PlainConfig
    run: RunRecord | None


@dataclass(frozen=True)
class ExportedFiles:
    """What an export wrote.

    Attributes:
        policy: the file of the policy.
        runner: Python file that runs it; None for TorchScript.
        description: metadata.
        size: bytes of the policy.
    """

    policy: Path
    runner: Path | None
    description: PolicyDescription
    size: int


def require_format(name: str, observations: str) -> None:
    """Raise unless format and observations are known, and what the format needs is installed.

    Raises:
        ConfigError: one of them is unknown.
        PreflightError: onnxruntime is missing.
    """
    if name not in FORMATS:
        raise ConfigError(f"format={name}: {did_you_mean(name, FORMATS)}")
    if observations not in OBSERVATIONS:
        raise ConfigError(f"observations={observations}: {did_you_mean(observations, OBSERVATIONS)}")
    if name == "onnx":
        header.require_runtime()


def find_source(ref: str, overrides: list[str] | None = None, folders: list[Path] | None = None) -> PolicySource:
    """Return the checkpoint that a reference names, with its task.

    Args:
        ref: run reference or file, see `references.resolve_policy`.
        overrides: task of a checkpoint outside of a run, as for launch.py.
        folders: folders of the user's own options.

    Raises:
        ConfigError: the task is missing or superfluous.
        CheckpointError: it is an exported policy, or names code that is not the user's.
    """
    source = references.resolve_policy(ref)
    if header.is_exported(source):
        raise CheckpointError(
            f"{source} is an exported policy. Name the run or the checkpoint that it was exported from."
        )
    use_options(folders or [])
    require_declared_agents(read_header(source), source)
    return PolicySource(source, *_origin(source, overrides or [], folders or []))


def default_target(source: Path, name: str) -> Path:
    """Return the file that a checkpoint is exported to: `<run>/exported/<checkpoint>.onnx`, outside of a run here.

    Args:
        source: checkpoint.
        name: format.
    """
    run, suffix = source.parent.parent, SUFFIXES[name]
    if (run / "run.json").is_file():
        return run / "exported" / f"{source.stem}{suffix}"
    stem = source.parent.name if (source.parent / "run.json").is_file() else re.sub(r"\.policy$", "", source.stem)
    return Path.cwd() / f"{stem}{suffix}"


def runner_of(policy: Path) -> Path:
    """Return the file of the runner beside an exported policy, a name that Python can import."""
    return policy.with_name(f"{re.sub(r'[^0-9A-Za-z_]', '_', policy.stem)}_runner.py")


def metadata_of(policy: Path) -> Path:
    """Return the file of metadata beside an exported policy."""
    return policy.with_name(f"{policy.name}.json")


def summary(written: ExportedFiles, config: PlainConfig, ref: str) -> list[str]:
    """Return files, inputs, outputs and check of an exported policy as lines.

    Args:
        written: what was exported.
        config: plain configuration of the task.
        ref: reference of the policy.
    """
    target, description = written.policy, written.description
    io, check, robot = description.io_spec(), description.check, description.robot
    assert check is not None
    sizes = {group: "x".join(map(str, size)) for group, size in io.images.items()}
    sizes |= {name: str(sensor.size) for name, sensor in description.sensors.items()}
    reads = ", ".join(f"{name} {sizes.get(name) or io.size(name)}" for name in description.reads)
    gains = f", gains of robot {robot.name}" if robot else ""
    runner = f", runner in {written.runner.name}" if written.runner else ""
    state = f"  state {', '.join(description.state)}: zeros at the start of an episode"
    task = naming(str(description.task), config["env"])
    return [
        f"{target} ({written.size / 1e6:.2f} MB), metadata in {target.name}.json{runner}",
        f"  inputs {reads} values, every {io.step_dt:g} s; outputs actions, targets of {io.num_actions} joints{gains}",
        *([state] if description.state else []),
        f"  checked by {check.run_by} on {check.observations:,} random observations: differs from the policy by "
        f"{check.largest_difference:.1e} at most",
        f"  try it: python launch.py stage=evaluate {task} policy={target}",
        *([f"  check it in closed loop: regimen deploy-check {ref}"] if written.runner else []),
    ]


def export_policy(source: PolicySource, name: str, observations: str, target: Path) -> ExportedFiles:
    """Write a policy as one file, its metadata as JSON beside it, and for ONNX the runner.

    Args:
        source: checkpoint and task.
        name: format.
        observations: `scaled`: the inputs are observation groups; `raw`: they are readings of sensors.
        target: file to write.

    Raises:
        ConfigError: another suffix, or a file that exists would be lost.
        CheckpointError: the policy cannot be exported, or the exported one differs from it.
        PreflightError: a file cannot be written.
    """
    _require_target(target, SUFFIXES[name])
    runner = runner_of(target) if name == "onnx" else None
    if runner is not None:
        _require_own_runner(runner, target)
    content, description = encode(source.path, name, source.config, source.run, observations)
    sums = {}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for path, data in ((target, content), (runner, RUNNER.read_bytes())):
            if path is not None:
                files.write_atomic(path, data)
                sums[path.name] = files.sha256(path)
        files.write_json(metadata_of(target), {**description.to_dict(), SHA256: sums})
    except OSError as error:
        raise PreflightError(f"Cannot write {target}: {error.strerror}. Name another: --out <file>") from error
    return ExportedFiles(target, runner, description, len(content))


def encode(
    source: Path, name: str, config: PlainConfig, run: RunRecord | None, observations: str = "scaled"
) -> tuple[bytes, PolicyDescription]:
    """Return an exported policy and its description, including the result of the check.

    Args:
        source: checkpoint.
        name: format.
        config: configuration of the task as plain data.
        run: record of the run.
        observations: see `export_policy`.

    Raises:
        CheckpointError: the policy cannot be exported, or the exported one differs from it.
    """
    from regimen.agents.export import metadata, network
    from regimen.agents.export.descriptions import ExportCheck
    from regimen.agents.export.formats import FORMATS as FORMS
    from regimen.agents.policy_file import load_bundle
    from regimen.envs.vec_env import IOSpec

    bundle, form = load_bundle(str(source)), FORMS[name]
    metadata.require_fit(bundle, config)
    made = network.load(bundle, IOSpec.from_dict(bundle["io"]))
    if observations == "raw":
        made = network.with_pipeline(made, config["env"])
    details = metadata.describe(bundle, made.groups, config, run, made.state, made.sensors)
    model = form.traced(made.module, made.example(), made.outputs)
    gap = network.largest_difference(form(form.content(model, details)), made)
    if not gap <= network.TOLERANCE:
        raise CheckpointError(
            f"{source} was not exported: in {name} it differs from the policy by {gap:.2g} on random observations, "
            f"more than {network.TOLERANCE:g}. The format does not represent its network exactly; try "
            f"format={next(other for other in FORMATS if other != name)}."
        )
    details = replace(details, check=ExportCheck(network.CHECKED, gap, form.runtime()))
    return form.content(model, details), details


def written_checksums(policy: Path) -> dict[str, Any]:
    """Return name -> checksum of the files that the export of a policy wrote; empty where that is not recorded."""
    path = metadata_of(policy)
    try:
        told = json.loads(path.read_text(encoding="utf-8")).get(SHA256) if path.is_file() else None
    except (ValueError, AttributeError):
        return {}
    return told if isinstance(told, dict) else {}


def _origin(source: Path, overrides: list[str], folders: list[Path]) -> tuple[PlainConfig, RunRecord | None]:
    """Return the configuration of the task, with robot and gains, and the record of the run."""
    from regimen.agents.export import metadata

    found = metadata.origin(source)
    if found and overrides:
        raise ConfigError(f"{' '.join(overrides)}: the run of {source} determines the task. Remove it.")
    if found:
        return found
    if not overrides:
        raise ConfigError(
            f"{source} is outside of a run, so its gains and default pose are unknown. Name its task: "
            f"regimen export {source} format=onnx task=<name>"
        )
    from regimen.config.compose import compose
    from regimen.config.groups import config_home

    composed = compose(overrides, [config_home(), *folders])
    return composed.plain, None


def _require_target(out: Path, suffix: str) -> None:
    """Raise if a file has another suffix, or exists and is no exported policy."""
    ending = suffix[suffix.rindex(".") :]
    if out.suffix != ending:
        raise ConfigError(f"--out {out}: expected a name that ends with {ending}, such as {out.with_suffix(ending)}")
    if out.exists() and not header.is_exported(out):
        raise ConfigError(f"--out {out}: this file exists and is no exported policy. Choose another name.")


def _require_own_runner(runner: Path, policy: Path) -> None:
    """Raise if the file of the runner exists and was changed since it was written."""
    if not runner.exists() or runner.read_bytes() == RUNNER.read_bytes():
        return
    if written_checksums(policy).get(runner.name) != files.sha256(runner):
        raise ConfigError(
            f"{runner} was changed, and would be replaced. Rename it, or choose another name: --out <file>"
        )
