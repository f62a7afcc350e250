"""`regimen publish`: store a policy without its training state, with the record of its run, in the repository."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regimen.config.yaml_io import as_yaml
from regimen.runs import references
from regimen.runs.record import RunRecord, read_record
from regimen.runs.record_parts import InputEntry
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import ConfigError
from regimen.system.json_data import Json
from regimen.system.secrets import redacted

PRIVATE = ("supervisor", "queue", "code")
"""Fields of a record that are about processes and folders of a machine alone."""


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
    shorten = _shortening(_folders(run, record))
    config = as_yaml(_in_text(Run(run).config, shorten))
    bundle = checkpoint.load(source)
    bundle.pop("training", None)
    target.mkdir(parents=True)
    checkpoint.save(target / "policy.pt", bundle)
    files.write_json(target / "run.json", _public(record, shorten))
    (target / "config.yaml").write_text(redacted(config), "utf-8")
    return target / "policy.pt"


def _public(record: RunRecord, shorten: Callable[[str], str]) -> Json:
    """Return the record of a run without host name, paths and process ids."""
    data = record.to_dict()
    data |= {name: [redacted(str(word)) for word in data[name]] for name in ("argv", "overrides")}
    data["host"] = {name: value for name, value in (data["host"] or {}).items() if name not in ("name", "python")}
    data["inputs"] = {name: entry.to_dict() | {"path": _kept(entry)} for name, entry in record.inputs.items()}
    public: Json = _in_text({name: value for name, value in data.items() if name not in PRIVATE}, shorten)
    return public


def _kept(entry: InputEntry) -> str:
    """Return an input's path from the folder of its run on, else its name: the rest describes the machine."""
    parts = Path(entry.path).parts
    if entry.run in parts:
        return "/".join(parts[parts.index(entry.run) :])
    return "/".join(parts[-2:] if entry.run else parts[-1:])  # a published policy is in a folder of another name


def _folders(run: Path, record: RunRecord) -> dict[str, str]:
    """Return folder of this machine or of the run's -> what replaces it and the slash behind it."""
    inputs = [entry.path.removesuffix(_kept(entry)).rstrip("/") for entry in record.inputs.values()]
    here = [run.parent, run.resolve().parent, Path.cwd(), files.repository_root() or Path.cwd()]
    python = Path(record.host.python).parent.parent if record.host and record.host.python else Path("/")
    code = [record.code] if record.code else []
    environment = [str(python)] if len(python.parts) > 2 else []  # no replacement of /usr
    removed = {folder: "" for folder in [*inputs, *map(str, here), *code, *environment]}
    replaced = {str(Path.home()): "~/"} | removed
    return {folder: text for folder, text in replaced.items() if Path(folder).is_absolute() and Path(folder).parts[1:]}


def _shortening(folders: dict[str, str]) -> Callable[[str], str]:
    """Return a function that replaces the folders in a text, where they are whole names, the longest first."""
    longest_first = "|".join(map(re.escape, sorted(folders, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w.-])({longest_first})(/+|(?![\w.-]))")

    def replaced(found: re.Match[str]) -> str:
        return folders[found[1]] if found[2] else folders[found[1]] or "."

    return lambda text: pattern.sub(replaced, text)


def _in_text(data: Any, change: Callable[[str], str]) -> Any:
    """Return plain data with all its text changed, keys aside."""
    if isinstance(data, dict):
        return {name: _in_text(value, change) for name, value in data.items()}
    if isinstance(data, list):
        return [_in_text(value, change) for value in data]
    return change(data) if isinstance(data, str) else data


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
