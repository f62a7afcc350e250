"""Conditions of a resume, checked before anything is changed; the advice at the end of a run has the same ones."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from regimen.config import static_types
from regimen.runs import checkpoint_header, inputs
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import CheckpointError, ConfigError, PreflightError, RegimenError


def require_resumable(run: Run) -> None:
    """Raise unless a stopped run can be resumed.

    Args:
        run: stopped, with a record.

    Raises:
        PreflightError: with the reasons, and what to type instead.
    """
    if lines := list(refusals(run)):
        raise PreflightError(f"Cannot resume {run.id}: {' '.join(lines)} Start a new run: {alternative(run)}")


def refusals(run: Run, read_all: bool = True) -> Iterator[str]:
    """Yield why a resume of a run would be refused.

    Args:
        run: stopped, with a record.
        read_all: compare the checksums of large inputs too; otherwise their time of change decides.
    """
    last = run.checkpoints / "last.pt"
    try:
        since = None if read_all else run.record.started
        inputs.require_unchanged(run, except_for=inputs.not_read_again(run), since=since)
    except RegimenError as error:
        yield str(error)
    last_error = run.record.error
    if last_error and _could_not_restore(run) and not _is_newer(run):
        yield f"the last attempt could not restore the checkpoint: {last_error.message.rstrip('.')}."
    elif last.exists():
        yield from _checkpoint_refusals(run, last)


def alternative(run: Run) -> str:
    """Return the command that starts a new run instead; that of a training begins with the last policy, if possible.

    A student begins with its first step, because `policy` is its teacher.

    Args:
        run: the run.
    """
    record = run.record
    arguments = list(record.argv[1:])
    if record.pipeline:  # it makes the step again
        return shlex.join(["python", "launch.py", *arguments])
    if not arguments or any(a in ("-m", "--multirun") for a in arguments):  # one job of a sweep
        arguments = [*config_dirs(arguments), *record.overrides]
    begins_with_policy = record.stage == "train" and not inputs.has_teacher(run)
    dropped = ("policy", "resume", "pipeline", "dry_run") if begins_with_policy else ("resume", "dry_run")
    kept = [a for a in arguments if a.lstrip("+").partition("=")[0] not in dropped]
    if begins_with_policy and _has_readable_checkpoint(run):
        kept.append(
            f"policy={run.id if run.dir.parent == Path('outputs').resolve() else os.path.relpath(run.dir)}@last"
        )
    return shlex.join(["python", "launch.py", *kept])


def _checkpoint_refusals(run: Run, last: Path) -> Iterator[str]:
    """Yield why the last checkpoint cannot be used: it is damaged, or the state of its envs is incomplete."""
    config = run.config if run.config_path.is_file() else {}
    own_format = str((config.get("stage") or {}).get("_target_", "")).startswith("regimen.")
    try:
        restores = checkpoint_header.restores_envs(last)
    except CheckpointError as error:
        if own_format:
            yield str(error)
        return
    if restores:
        return
    agent = str((config.get("agent") or {}).get("_target_", ""))
    task = (config.get("env") or {}).get("id") or run.record.choices.get("task")
    with suppress(ConfigError):
        if run.record.stage == "train" and "restart" in static_types.methods(agent):
            return
    if run.record.stage == "train":
        yield f"the state of {task} cannot be restored, and {agent} has no `restart`, which begins new episodes."
    else:
        yield f"the state of {task} cannot be restored, so the recorded episodes cannot be continued."


def _could_not_restore(run: Run) -> bool:
    """Whether the last attempt failed at the checkpoint it was to continue from."""
    error = run.record.error
    if error is None or error.type != CheckpointError.__name__ or not run.record.resumed:
        return False
    account = files.read_json(run.logs / "error.json") or {}
    return not account.get("no_space")  # before there was `SaveError`, a full disk had the same type


def _is_newer(run: Run) -> bool:
    """Whether the last checkpoint was written after the run ended: a person has put another one there."""
    last, ended = run.checkpoints / "last.pt", run.dir / "logs" / "error.json"
    return last.exists() and ended.exists() and last.stat().st_mtime > ended.stat().st_mtime


def _has_readable_checkpoint(run: Run) -> bool:
    with suppress(CheckpointError, OSError):
        checkpoint_header.read_plain(run.checkpoints / "last.pt")
        return True
    return False


def config_dirs(arguments: list[str]) -> list[str]:
    """Return the options among the arguments that name a folder of options, with their values."""
    found = []
    for name, value in pairwise([*arguments, ""]):
        if name in ("--config-dir", "-cd"):
            found += [name, value]
        elif name.startswith("--config-dir="):
            found.append(name)
    return found
