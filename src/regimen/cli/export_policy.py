"""`regimen export`: a policy for a robot (`walker format=onnx`), or a table of runs as CSV (`runs.csv task=reach`)."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from regimen.agents.export import header
from regimen.runs import references
from regimen.runs.outcome import naming
from regimen.system import files
from regimen.system.errors import CheckpointError, ConfigError, PreflightError, did_you_mean

NAMES = ("onnx", "torchscript")


def export_verb(argv: list[str]) -> int:
    """Export a policy where a `format=` is given, otherwise a table of runs.

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
    """Export a table of runs, to what is a file's name and no run."""
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
    """Write a policy as one file, and what it tells of itself as JSON beside it; return lines that say what was done.

    Args:
        ref: run reference or file, see `refs.resolve_policy`.
        name: of the format.
        out: the file.
        overrides: the task of a checkpoint that lies in no run, as for launch.py.
        folders: of own options.

    Raises:
        ConfigError: the format, the file's name or the task is wrong.
        CheckpointError: the policy has a memory, or what was exported does not do the same.
        PreflightError: onnxruntime is missing, or the file cannot be written.
    """
    if name not in NAMES:
        raise ConfigError(f"format={name}: {did_you_mean(name, NAMES)}")
    if name == "onnx":
        header.require_runtime()
    source = references.resolve_policy(ref)
    if header.is_exported(source):
        raise CheckpointError(f"{source} is exported already. Name the run or the checkpoint that it was made from.")
    config, run = _origin(source, overrides or [], folders or [])
    from regimen.agents.export.formats import FORMATS

    target = _target(source, FORMATS[name].SUFFIX, out)
    content, told = encode(source, name, config, run)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(target, content)
        files.write_json(target.with_name(f"{target.name}.json"), told)
    except OSError as error:
        raise PreflightError(f"Cannot write {target}: {error.strerror}. Name another: --out <file>") from error
    return _account(target, told, config, len(content))


def encode(source: Path, name: str, config: dict[str, Any], run: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return a policy in a format, and what it tells of itself, the check included.

    Args:
        source: its checkpoint.
        name: of the format.
        config: plain configuration of the task.
        run: record of the run that made it.

    Raises:
        CheckpointError: it has a memory, or what was exported does not do the same.
    """
    from regimen.agents.export import metadata, network
    from regimen.agents.export.formats import FORMATS
    from regimen.envs.vec_env import IOSpec
    from regimen.stages.evaluate import load_bundle

    bundle, form = load_bundle(str(source)), FORMATS[name]
    metadata.require_fit(bundle, config)
    io = IOSpec.from_dict(bundle["io"])
    policy, deployed, groups = network.load(bundle, io)
    told = metadata.describe(bundle, groups, config, run)
    model = form.traced(deployed, list(network.random_observations(io, groups, rows=3).values()), groups)
    gap = network.largest_difference(form(form.content(model, told)), policy, io, groups)
    if not gap <= network.TOLERANCE:
        raise CheckpointError(
            f"{source} was not exported: in {name} it differs from the policy by {gap:.2g} on random observations, "
            f"more than {network.TOLERANCE:g}. Its network does something that this format does not keep; try "
            f"format={next(other for other in NAMES if other != name)}."
        )
    told["check"] = {"observations": network.CHECKED, "largest_difference": gap, "run_by": form.runtime()}
    return form.content(model, told), told


def _origin(source: Path, overrides: list[str], folders: list[Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of the task and the record of the run: robot and gains stand there, not in weights."""
    from regimen.agents.export import metadata

    found = metadata.origin(source)
    if found and overrides:
        raise ConfigError(f"{' '.join(overrides)}: the run of {source} says which task it is for. Leave it out.")
    if found:
        return found
    if not overrides:
        raise ConfigError(
            f"{source} lies in no run, which would say whose gains and pose belong to it. Name its task: "
            f"regimen export {source} format=onnx task=<name>"
        )
    from regimen.config.compose import compose
    from regimen.config.groups import config_home

    composed = compose(overrides, [config_home(), *folders])
    return {**composed.config, "choices": composed.choices}, {}


def _target(source: Path, suffix: str, out: Path | None) -> Path:
    """Return the file to write.

    Raises:
        ConfigError: another ending, or a file that is no exported policy is there.
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
        raise ConfigError(f"--out {out}: there is a file that is no exported policy. Choose another name.")
    return out


def _account(target: Path, told: dict[str, Any], config: dict[str, Any], size: int) -> list[str]:
    """Return what was written, what it takes and gives, and how it was checked."""
    from regimen.agents.export.metadata import io_of

    io = io_of(told)
    check, robot = told["check"], told["robot"]
    reads = ", ".join(f"{group} {io.size(group)}" for group in told["inputs"])
    gains = f", gains of robot {robot['name']}" if robot else ""
    return [
        f"{target} ({size / 1e6:.2f} MB), and what it tells of itself in {target.name}.json",
        f"  takes {reads} values, every {io.step_dt:g} s; gives actions and targets of {io.num_actions} joints{gains}",
        f"  checked by {check['run_by']} on {check['observations']:,} random observations: differs from the policy by "
        f"{check['largest_difference']:.1e} at most",
        f"  try it: python launch.py stage=evaluate {naming(str(told['task']), config['env'])} policy={target}",
    ]
