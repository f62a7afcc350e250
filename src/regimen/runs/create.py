"""The first moment of a run: its directory, its frozen configuration, and all that is known before the work starts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from regimen.runs import inputs, signature
from regimen.system import host
from regimen.system.errors import PreflightError
from regimen.system.files import claim, keep_reserve, now, unwritable, write_atomic, write_json
from regimen.system.git import repository_state

DECIDED = ("status", "queue", "parents", "references", "pending", "sweep", "pipeline", "rerun_of", "code")
"""Fields of run.json that the caller of `create` decides."""


def create(
    root: Path,
    config: dict[str, Any],
    argv: list[str],
    overrides: list[str],
    run_id: str | None = None,
    files: dict[str, Path] | None = None,
    repository: Path = Path(__file__).parent,
    git: tuple[dict[str, Any] | None, str] | None = None,
    **known: Any,
) -> Path:
    """Claim a new directory under `root`, record in it all that is known, and return it.

    Args:
        root: folder of runs, such as `outputs`.
        config: the resolved configuration, plain data; frozen as `config.yaml`.
        argv: the command line.
        overrides: its `key=value` part.
        run_id: directory name wanted by a sweep; by default time, task, agent and four random digits.
        files: input name -> file or folder it reads, such as the policy; recorded with its SHA-256.
        repository: a folder of the repository whose commit and changes are recorded.
        git: what `repository_state` returned, for callers that make many runs; by default it is read now.
        known: fields of run.json, of `DECIDED`: `status` (`queued` for a run that someone starts later),
            `queue`, `parents`, `references` (input name -> as typed), `pending` (input name -> reference that will
            exist when a parent has finished), `sweep`, `pipeline`, `rerun_of`, `code` (see `snapshot.take`).

    Raises:
        PreflightError: `run_id` is taken, the disk is full, or nothing may be written there.
    """
    if unknown := set(known) - set(DECIDED):
        raise TypeError(f"the record of a run has no {', '.join(sorted(unknown))} for its creator to decide")
    choices = config.get("choices") or {}
    if run_id is None:
        folder = claim(root, choices.get("task", ""), choices.get("agent", ""))
    else:
        folder = _claim_named(root / run_id)
    try:
        info = _first_record(folder.name, config, argv, overrides) | known
        _fill(folder, config, files or {}, git or repository_state(repository), info)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise unwritable(root, error) from error
        raise
    return folder


def _fill(
    folder: Path,
    config: dict[str, Any],
    files: dict[str, Path],
    git: tuple[dict[str, Any] | None, str],
    info: dict[str, Any],
) -> None:
    keep_reserve(folder / ".reserve")
    (folder / "logs").mkdir()
    freeze(folder, config)
    info["git"], patch = git
    if patch:
        (folder / "code.patch").write_bytes(patch.encode(errors="surrogateescape"))
    info["inputs"] = inputs.read(files, info.pop("references", {}))
    info["signature"] = sign(config, info)
    write_json(folder / "run.json", info, folder / ".reserve")
    _require_there(files)


def _require_there(files: dict[str, Path]) -> None:
    """Refuse an input that a clean has taken away by now; one that takes it away later sees this record first."""
    for name, path in files.items():
        if not path.exists():
            raise PreflightError(f"The {name} {path} was removed while the run was being made. Name another one.")


def freeze(folder: Path, config: dict[str, Any]) -> None:
    """Write the configuration that the worker will read.

    Args:
        folder: the run directory.
        config: resolved plain configuration.
    """
    write_atomic(folder / "config.yaml", as_yaml(config).encode())


def sign(config: dict[str, Any], info: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of configuration and code that decide the result of a run.

    Args:
        config: the resolved configuration.
        info: the record, with `inputs`, `pending` and `code`.
    """
    read = {name: row["sha256"] for name, row in info["inputs"].items()} | info["pending"]
    code = signature.code_signature(config, info.get("code"))
    return {"config": signature.config_signature(config, read), "code": code}


def as_yaml(data: Any) -> str:
    """Return plain data as YAML, by the C writer where PyYAML has it: the same text, many times faster."""
    writer = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(data, Dumper=writer, sort_keys=False, allow_unicode=True))


def _claim_named(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        if not folder.is_dir():
            raise unwritable(folder.parent, error) from error
        raise PreflightError(
            f"The run directory {folder} exists already. Choose another name, or continue that run: "
            f"python launch.py resume={folder}"
        ) from None
    return folder


def _first_record(
    run_id: str,
    config: dict[str, Any],
    argv: list[str],
    overrides: list[str],
) -> dict[str, Any]:
    choices = config.get("choices") or {}
    return {
        "format": 1,
        "id": run_id,
        "name": config.get("name"),
        "stage": choices.get("stage"),
        "status": "running",
        "exit_code": None,
        "reason": None,
        "argv": argv,
        "overrides": overrides,
        "choices": choices,
        "rerun_of": None,
        "sweep": None,
        "pipeline": None,
        "queue": None,
        "parents": [],
        "pending": {},
        "inputs": {},
        "seed": config.get("seed"),
        "git": None,
        "code": None,
        "signature": {},
        "versions": host.versions(),
        "host": host.host(),
        "created": now(),
        "started": now(),
        "ended": None,
        "wall_s": 0.0,
        "cpu_s": 0.0,
        "peak_memory_gib": 0.0,
        "headline": {},
        "artifacts": [],
        "error": None,
        "signal": None,
        "supervisor": None,
        "resumed": [],
        "warnings": [],
        "notes": [],
        "tags": [],
    }
