"""`regimen export`: export a policy (`walker format=onnx`), or a table of runs as CSV (`runs.csv task=reach`)."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.agents.export import header
from regimen.agents.policy_header import read_header, require_declared_agents
from regimen.config.targets import use_options
from regimen.runs import references
from regimen.runs.outcome import naming
from regimen.runs.record import RunRecord
from regimen.system import files
from regimen.system.errors import CheckpointError, ConfigError, PreflightError, did_you_mean

if TYPE_CHECKING:
    from regimen.agents.export.header import PolicyDescription
    from regimen.config.yaml_io import PlainConfig

NAMES = ("onnx", "torchscript")


def export_verb(argv: list[str]) -> int:
    """Export a policy if `format=` is given, otherwise a table of runs.

    Args:
        argv: the arguments after the verb.
    """
    parser = _parser()
    if not any(word.startswith("format=") for word in argv):
        if "-h" in argv or "--help" in argv:
            print(parser.format_help())
        return _table(argv)
    args = parser.parse_intermixed_args(argv)
    if "=" in args.policy:
        raise ConfigError(f"{args.policy}: expected the run first: regimen export <run> format=onnx")
    chosen = [word.removeprefix("format=") for word in args.words if word.startswith("format=")]
    overrides = [word for word in args.words if not word.startswith("format=")]
    print("\n".join(export(args.policy, chosen[-1], args.out, overrides, args.config_dir)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="regimen export", description="Export a policy as one file: regimen export <run> format=onnx."
    )
    parser.add_argument("policy", help="run reference, such as walker@best, pretrained:<name>, or a checkpoint")
    parser.add_argument("words", nargs="+", metavar="format=onnx|torchscript", help="and task=<name> of a lone file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: <run>/exported/<checkpoint>.onnx")
    parser.add_argument("--config-dir", action="append", default=[], type=Path, help="folder of your own options")
    return parser


def _table(argv: list[str]) -> int:
    """Export a table of runs; raise if the first argument looks like a run."""
    from regimen.cli.export_runs import export_verb as table_verb

    if argv and re.fullmatch(r"[\w@:]+(-\w+)*", argv[0]):
        raise ConfigError(
            f"{argv[0]}: to export the policy of a run add format=onnx or format=torchscript; for a table of runs "
            f"name a file that ends with .csv: regimen export {argv[0]}.csv"
        )
    return table_verb(argv)


def export(
    ref: str, name: str, out: Path | None = None, overrides: list[str] | None = None, folders: list[Path] | None = None
) -> list[str]:
    """Export a policy to one file, with its metadata as JSON beside it; return a summary as lines.

    Args:
        ref: run reference or file, see `references.resolve_policy`.
        name: format.
        out: file to write.
        overrides: task of a checkpoint outside of a run, as for launch.py.
        folders: folders of the user's own options.

    Raises:
        ConfigError: format, file name or task is invalid.
        CheckpointError: the policy is recurrent, or the exported policy differs from it.
        PreflightError: onnxruntime is missing, or the file cannot be written.
    """
    if name not in NAMES:
        raise ConfigError(f"format={name}: {did_you_mean(name, NAMES)}")
    if name == "onnx":
        header.require_runtime()
    source = references.resolve_policy(ref)
    if header.is_exported(source):
        raise CheckpointError(
            f"{source} is an exported policy. Name the run or the checkpoint that it was exported from."
        )
    use_options(folders or [])
    require_declared_agents(read_header(source), source)
    config, run = _origin(source, overrides or [], folders or [])
    from regimen.agents.export.formats import FORMATS

    target = _target(source, FORMATS[name].SUFFIX, out)
    content, description = encode(source, name, config, run)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(target, content)
        files.write_json(target.with_name(f"{target.name}.json"), description.to_dict())
    except OSError as error:
        raise PreflightError(f"Cannot write {target}: {error.strerror}. Name another: --out <file>") from error
    return _summary(target, description, config, len(content))


def encode(source: Path, name: str, config: PlainConfig, run: RunRecord | None) -> tuple[bytes, PolicyDescription]:
    """Return an exported policy and its description, including the result of the check.

    Args:
        source: checkpoint.
        name: format.
        config: configuration of the task as plain data.
        run: record of the run.

    Raises:
        CheckpointError: the policy is recurrent, or the exported policy differs from it.
    """
    from regimen.agents.export import metadata, network
    from regimen.agents.export.formats import FORMATS
    from regimen.agents.policy_file import load_bundle
    from regimen.envs.vec_env import IOSpec

    bundle, form = load_bundle(str(source)), FORMATS[name]
    metadata.require_fit(bundle, config)
    io = IOSpec.from_dict(bundle["io"])
    policy, deployed, groups = network.load(bundle, io)
    details = metadata.describe(bundle, groups, config, run)
    model = form.traced(deployed, list(network.random_observations(io, groups, rows=3).values()), groups)
    gap = network.largest_difference(form(form.content(model, details)), policy, io, groups)
    if not gap <= network.TOLERANCE:
        raise CheckpointError(
            f"{source} was not exported: in {name} it differs from the policy by {gap:.2g} on random observations, "
            f"more than {network.TOLERANCE:g}. The format does not represent its network exactly; try "
            f"format={next(other for other in NAMES if other != name)}."
        )
    details = replace(details, check=header.ExportCheck(network.CHECKED, gap, form.runtime()))
    return form.content(model, details), details


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


def _target(source: Path, suffix: str, out: Path | None) -> Path:
    """Return the file to write.

    Raises:
        ConfigError: another suffix, or the file exists and is no exported policy.
    """
    if out is None:
        run = source.parent.parent
        if (run / "run.json").is_file():
            return run / "exported" / f"{source.stem}{suffix}"
        name = source.parent.name if (source.parent / "run.json").is_file() else re.sub(r"\.policy$", "", source.stem)
        return Path.cwd() / f"{name}{suffix}"
    ending = suffix[suffix.rindex(".") :]
    if out.suffix != ending:
        raise ConfigError(f"--out {out}: expected a name that ends with {ending}, such as {out.with_suffix(ending)}")
    if out.exists() and not header.is_exported(out):
        raise ConfigError(f"--out {out}: this file exists and is no exported policy. Choose another name.")
    return out


def _summary(target: Path, description: PolicyDescription, config: PlainConfig, size: int) -> list[str]:
    """Return file, inputs, outputs and check of an exported policy as lines."""
    io, check, robot = description.io_spec(), description.check, description.robot
    assert check is not None
    sizes = {group: "x".join(map(str, size)) for group, size in io.images.items()}
    reads = ", ".join(f"{group} {sizes.get(group) or io.size(group)}" for group in description.inputs)
    gains = f", gains of robot {robot.name}" if robot else ""
    return [
        f"{target} ({size / 1e6:.2f} MB), metadata in {target.name}.json",
        f"  inputs {reads} values, every {io.step_dt:g} s; outputs actions, targets of {io.num_actions} joints{gains}",
        f"  checked by {check.run_by} on {check.observations:,} random observations: differs from the policy by "
        f"{check.largest_difference:.1e} at most",
        f"  try it: python launch.py stage=evaluate {naming(str(description.task), config['env'])} policy={target}",
    ]
