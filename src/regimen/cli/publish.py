"""A trained policy made small enough for a repository: the part that acts, and the record of the run that made it."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from regimen.runs import references
from regimen.system import files
from regimen.system.errors import ConfigError


def publish(ref: str, name: str, folder: Path | None = None) -> Path:
    """Keep a run's policy as `pretrained:<name>`: no optimizer, no environment, no replay.

    Args:
        ref: run reference or file, see `references.resolve_policy`.
        name: a plain name for it.
        folder: where published policies are kept: by default `pretrained` of the checkout that Regimen is imported
            from, or, where Regimen is installed, of the current directory.

    Returns:
        The policy's file; the run's record and configuration lie beside it.

    Raises:
        ConfigError: if the name is taken or is not a plain name, or the checkpoint is not part of a run.
    """
    from regimen.runs import checkpoint

    target = (folder or (files.repository_root() or Path.cwd()) / "pretrained") / name
    if not name or Path(name).name != name:
        raise ConfigError(f"`{name}` is not a plain name such as go2_flat.")
    if target.exists():
        raise ConfigError(f"{target} exists already. Choose another name, or remove that folder first.")
    source = references.resolve_policy(ref)
    run = source.parent.parent
    made_by = files.read_json(run / "run.json")
    if made_by is None:
        raise ConfigError(f"{source} is not in the checkpoints of a run, so nothing would say where it came from.")
    bundle = checkpoint.load(source)
    bundle.pop("training", None)
    target.mkdir(parents=True)
    checkpoint.save(target / "policy.pt", bundle)
    files.write_json(target / "run.json", _public(made_by))
    shutil.copy(run / "config.yaml", target / "config.yaml")
    return target / "policy.pt"


def _public(made_by: dict[str, Any]) -> dict[str, Any]:
    """Return a run's record without what only its own machine can use: host name, paths, process numbers."""
    host = {k: v for k, v in made_by["host"].items() if k not in ("name", "python")}
    return {**{k: v for k, v in made_by.items() if k != "supervisor"}, "host": host}


def publish_verb(argv: list[str]) -> int:
    """Keep a run's policy: `regimen publish <run reference> <name>`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen publish", description="Keep a run's policy in the repository.")
    parser.add_argument("policy", help="run reference, such as walker@best")
    parser.add_argument("name", help="used as policy=pretrained:<name>")
    args = parser.parse_args(argv)
    path = publish(args.policy, args.name)
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB): use it as policy=pretrained:{args.name}")
    return 0
