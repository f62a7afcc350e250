"""`regimen export`: export a policy (`walker format=onnx`), or a table of runs as CSV (`runs.csv task=reach`)."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from regimen.agents.deployment.exporting import (
    OBSERVATIONS,
    default_target,
    export_policy,
    find_source,
    require_format,
    summary,
)
from regimen.system.errors import ConfigError

SETTINGS = ("format", "observations")
"""Words `<setting>=<value>` of the command; the other words are overrides of the task."""


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
    words = [word.partition("=") for word in args.words]
    chosen = {key: value for key, _, value in words if key in SETTINGS}
    overrides = [word for word in args.words if word.partition("=")[0] not in SETTINGS]
    observations = chosen.get("observations", OBSERVATIONS[0])
    print("\n".join(export(args.policy, chosen["format"], args.out, overrides, args.config_dir, observations)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="regimen export", description="Export a policy as one file: regimen export <run> format=onnx."
    )
    parser.add_argument("policy", help="run reference, such as walker@best, pretrained:<name>, or a checkpoint")
    parser.add_argument(
        "words",
        nargs="+",
        metavar="format=onnx|torchscript",
        help="and observations=scaled|raw: what the inputs are; task=<name> of a lone file",
    )
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
    ref: str,
    name: str,
    out: Path | None = None,
    overrides: list[str] | None = None,
    folders: list[Path] | None = None,
    observations: str = OBSERVATIONS[0],
) -> list[str]:
    """Export a policy to one file, with its metadata as JSON beside it; return a summary as lines.

    Args:
        ref: run reference or file, see `references.resolve_policy`.
        name: format.
        out: file to write.
        overrides: task of a checkpoint outside of a run, as for launch.py.
        folders: folders of the user's own options.
        observations: what the inputs are, see `exporting.export_policy`.

    Raises:
        ConfigError: format, observations, file name or task is invalid.
        CheckpointError: the policy cannot be exported, or the exported one differs from it.
        PreflightError: onnxruntime is missing, or a file cannot be written.
    """
    require_format(name, observations)
    source = find_source(ref, overrides, folders)
    written = export_policy(source, name, observations, out or default_target(source.path, name))
    return summary(written, source.config, ref)
