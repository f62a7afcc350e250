"""`regimen publish`: store a policy without its training state, with the record of its run, in the repository."""

from __future__ import annotations

import argparse
from pathlib import Path

from regimen.runs import references
from regimen.runs.record import RunRecord, read_record
from regimen.system import files
from regimen.system.errors import ConfigError
from regimen.system.json_data import Json
from regimen.system.secrets import redacted


def publish(ref: str, name: str, folder: Path | None = None) -> Path:
    """Store the policy of a run as `pretrained:<name>`, without optimizer, environment and replay buffer.

    Args:
        ref: run reference or file, see `references.resolve_policy`.
        name: name without `/`.
        folder: folder of published policies.

    Returns:
        The file of the policy; record and configuration of the run are beside it.

    Raises:
        ConfigError: the name is taken or invalid, or the checkpoint is not part of a run.
    """
    from regimen.runs import checkpoint

    target = (folder or (files.repository_root() or Path.cwd()) / "pretrained") / name
    if not name or Path(name).name != name:
        raise ConfigError(f"`{name}` is not a plain name such as go2_flat.")
    if target.exists():
        raise ConfigError(f"{target} exists already. Choose another name, or remove that folder first.")
    source = references.resolve_policy(ref)
    run = source.parent.parent
    record = read_record(run)
    if record is None:
        raise ConfigError(f"{source} is not in the checkpoints of a run, so its origin is unknown.")
    if not (run / "config.yaml").resolve().is_relative_to(run.resolve()):
        raise ConfigError(f"{run / 'config.yaml'} leads out of the run: it is no file of the run and not published.")
    bundle = checkpoint.load(source)
    bundle.pop("training", None)
    target.mkdir(parents=True)
    checkpoint.save(target / "policy.pt", bundle)
    files.write_json(target / "run.json", _public(record))
    (target / "config.yaml").write_text(redacted((run / "config.yaml").read_text("utf-8")), "utf-8")
    return target / "policy.pt"


def _public(record: RunRecord) -> Json:
    """Return the record of a run without host name, paths and process ids."""
    data = record.to_dict()
    data |= {name: [redacted(str(word)) for word in data[name]] for name in ("argv", "overrides")}
    machine = {name: value for name, value in (data["host"] or {}).items() if name not in ("name", "python")}
    return {name: value for name, value in data.items() if name != "supervisor"} | {"host": machine}


def publish_verb(argv: list[str]) -> int:
    """Store the policy of a run in the repository: `regimen publish <run reference> <name>`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen publish", description="Store the policy of a run in the repository.")
    parser.add_argument("policy", help="run reference, such as walker@best")
    parser.add_argument("name", help="used as policy=pretrained:<name>")
    args = parser.parse_args(argv)
    path = publish(args.policy, args.name)
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB): use it as policy=pretrained:{args.name}")
    return 0
