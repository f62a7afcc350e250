"""Creation of a run: its directory, its frozen configuration, and the first record."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from regimen.config import static_types
from regimen.config.determinism import declared_class
from regimen.config.yaml_io import as_yaml
from regimen.runs import inputs, signature
from regimen.runs.record import FILE, RunRecord
from regimen.runs.record_parts import InputEntry, MemoryEstimate, PipelineStep, QueueEntry, Signature, SizeChoice
from regimen.runs.status import Status
from regimen.system import host
from regimen.system.errors import PreflightError
from regimen.system.files import (
    cannot_create_error,
    create_unique_dir,
    iso_now,
    reserve_space,
    write_atomic,
    write_json,
)
from regimen.system.git import Repository, repository_state
from regimen.system.secrets import redacted


class Decided(TypedDict, total=False):
    """Fields of the first record that the caller of `create_run_dir` decides.

    Attributes:
        status: `running`, or `queued` for a run that is started later.
        queue: process or scheduler that starts it.
        parents: ids of the runs whose files it reads.
        environment: environment variables of its worker.
        pending: input name -> reference that can be resolved once a parent has finished.
        sweep: id of its sweep.
        pipeline: its pipeline and step.
        rerun_of: id of the run that it repeats.
        code: snapshot of the code, see `code_snapshot.take`.
        estimated_memory: of one worker, before the start.
        size_choice: how the number of environments was chosen by a measurement.
    """

    status: Status
    queue: QueueEntry | None
    parents: list[str]
    environment: dict[str, str] | None
    pending: dict[str, str]
    sweep: str | None
    pipeline: PipelineStep | None
    rerun_of: str | None
    code: str | None
    estimated_memory: MemoryEstimate | None
    size_choice: SizeChoice | None


def create_run_dir(
    root: Path,
    config: dict[str, Any],
    argv: list[str],
    overrides: list[str],
    run_id: str | None = None,
    files: dict[str, Path] | None = None,
    repository: Path = Path(__file__).parent,
    git: Repository | None = None,
    references: Mapping[str, str] | None = None,
    **decided: Unpack[Decided],
) -> Path:
    """Create a run directory under `root` with frozen configuration and first record; return it.

    Args:
        root: folder of runs, such as `outputs`.
        config: the resolved configuration, plain data; frozen as `config.yaml`.
        argv: the command line.
        overrides: its `key=value` part.
        run_id: directory name wanted by a sweep; by default time, `id_words` and four random digits.
        files: input name -> file or folder it reads, such as the policy; recorded with its SHA-256.
        repository: a folder of the repository whose commit and changes are recorded.
        git: result of `repository_state(repository)`, for a caller that creates many runs; by default it is read now.
        references: input name -> reference, as typed.
        decided: further fields of the record.

    Raises:
        PreflightError: `run_id` is taken, the disk is full, or nothing may be written there.
    """
    choices = config.get("choices") or {}
    folder = create_unique_dir(root, *id_words(config)) if run_id is None else _claim_named(root / run_id)
    try:
        record = RunRecord(
            id=folder.name,
            name=config.get("name"),
            stage=choices.get("stage"),
            argv=[redacted(word) for word in argv],
            overrides=[redacted(text) for text in overrides],
            choices=choices,
            inputs=inputs.read(files or {}, references or {}),
            seed=config.get("seed"),
            determinism=declared_class(config),
            host=host.host(),
            created=iso_now(),
            started=iso_now(),
            **decided,
        )
        _fill(folder, config, files or {}, git or repository_state(repository), record)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise cannot_create_error(root, error) from error
        raise
    return folder


def id_words(config: dict[str, Any]) -> list[str]:
    """Return the words of the id of a run: the task, and the agent unless it has no part in the run.

    It has none where the stage neither calls a method of it nor reads a policy, and where the policy is one of the
    stage's own, such as `scripted`.

    Args:
        config: the resolved configuration.
    """
    choices, stage = config.get("choices") or {}, config.get("stage") or {}
    needs, takes, words = (static_types.class_variable(stage, name) for name in ("NEEDS", "TAKES", "DEMONSTRATORS"))
    without = needs is None and takes is not None and "policy" not in takes
    if without or config.get("policy") in (words or ()):
        return [choices.get("task", "")]
    return [choices.get("task", ""), choices.get("agent", "")]


def _fill(
    folder: Path,
    config: dict[str, Any],
    files: dict[str, Path],
    git: Repository,
    record: RunRecord,
) -> None:
    reserve_space(folder / ".reserve")
    (folder / "logs").mkdir()
    freeze(folder, config)
    record.git = git.state
    record.warnings += git.warnings
    if git.patch:
        (folder / "code.patch").write_bytes(git.patch.encode(errors="surrogateescape"))
    record.signature = sign(config, record.inputs, record.pending, record.code)
    write_json(folder / FILE, record.to_dict(), folder / ".reserve")
    _require_there(files)


def _require_there(files: dict[str, Path]) -> None:
    """Raise if an input was removed meanwhile; `regimen clean` keeps it once this record exists."""
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


def sign(
    config: dict[str, Any], inputs: Mapping[str, InputEntry], pending: Mapping[str, str], code: str | None
) -> Signature:
    """Return the hashes of configuration and code that decide the result of a run.

    Args:
        config: the resolved configuration.
        inputs: what the run reads.
        pending: input name -> reference of what it will read.
        code: the code snapshot that it works from.
    """
    checksums = {name: entry.sha256 for name, entry in inputs.items()} | dict(pending)
    return Signature(signature.config_signature(config, checksums), signature.code_signature(config, code))


def _claim_named(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        if not folder.is_dir():
            raise cannot_create_error(folder.parent, error) from error
        raise PreflightError(
            f"The run directory {folder} exists already. Choose another name, or continue that run: "
            f"python launch.py resume={folder}"
        ) from None
    return folder
