"""Create a run that repeats another one with its frozen configuration, and list why its result may differ."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regimen.runs import files_read, signature
from regimen.runs.create import create_run_dir
from regimen.runs.history.run_view import CHANGED, GONE, UNCHANGED, RunView
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import host
from regimen.system.errors import RunReferenceError
from regimen.system.git import repository_state
from regimen.system.host import CodeState

OUTPUTS = Path("outputs")


def cautions(run: RunView) -> Iterator[str]:
    """Yield reasons why the result may differ from that of `run`.

    Raises:
        RunReferenceError: the run cannot be repeated, because its configuration or an input is missing.
    """
    if not run.config:
        raise RunReferenceError(f"{run.id} cannot be repeated: {run.where}/config.yaml is missing or cannot be read.")
    if run.record.pending:
        pending = ", ".join(f"{name} ({ref})" for name, ref in run.record.pending.items())
        raise RunReferenceError(f"{run.id} cannot be repeated before it has started: it waits for {pending}.")
    for name, entry in run.inputs.items():
        state = run.input_state(name, read_all=True)
        if state == GONE:
            raise RunReferenceError(
                f"{run.id} cannot be repeated: its input {name}, {entry.path}, is missing. Create it again, or launch "
                f"with another one: python launch.py {' '.join(run.record.overrides)}"
            )
        if state != UNCHANGED:
            yield f"input {name}, {os.path.relpath(entry.path)}: {CHANGED if state == CHANGED else state}"
    yield from _code_cautions(run)
    device = str((run.config.get("hardware") or {}).get("device"))
    if not device.startswith("cpu"):
        yield f"it runs on {device}, where repeated runs may not be bit-identical"
    if run.record.resumed:
        yield "it was resumed, possibly with other code; results are equal only if resuming is exact"


def _code_cautions(run: RunView) -> Iterator[str]:
    """Yield differences of code and packages from those of the run, the packages being those of its interpreter."""
    python = host.interpreter(run.config)
    now = CodeState(repository_state(Path(__file__).parent).state, host.versions_in(python))
    changed = host.differences(CodeState(run.record.git, run.record.versions), now)
    packages = [line for line in changed if not line.startswith(("commit ", "uncommitted changes "))]
    if not now.versions:
        yield f"its packages are not compared: {python} does not answer"
    elif packages and run.record.versions:
        yield f"other packages: {', '.join(packages)}"
    if _existing_snapshot(run):
        return  # the rerun uses the same code snapshot
    commits = [line for line in changed if line not in packages]
    recorded = run.record.signature.code
    if recorded is None and commits:
        yield f"other code: {', '.join(commits)}"
    elif recorded is not None and recorded != signature.code_signature(run.config):
        yield f"other code: {', '.join(commits) or 'uncommitted changes'}; see git diff"
    elif differences := list(files_read.changed(run.dir)):
        yield f"other files: {'; '.join(differences)}"
    elif commits:
        yield f"{', '.join(commits)}; the files that a run imports are the same"


def create(run: RunView, argv: list[str]) -> Run:
    """Create a run with the same configuration, not started.

    It has no name, because references by name must still mean the original.

    Args:
        run: the original.
        argv: the command line.
    """
    again = Run(
        create_run_dir(
            OUTPUTS,
            {**run.config, "name": None},
            argv,
            run.record.overrides,
            files={name: Path(entry.path) for name, entry in run.inputs.items()},
            references={name: entry.ref or entry.path for name, entry in run.inputs.items()},
            parents=run.record.parents,
            environment=run.record.environment,
            rerun_of=run.id,
            estimated_memory=run.record.estimated_memory,
            **_placement(run),
        )
    )
    if (run.dir / ".hydra").is_dir():
        shutil.copytree(run.dir / ".hydra", again.dir / ".hydra", symlinks=True, ignore=_links)
    return again


def _links(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_symlink()]


def _placement(run: RunView) -> dict[str, Any]:
    """Return code snapshot and first status of the new run: `queued` for a run of a scheduler."""
    from regimen.runs import code_snapshot

    if is_scheduled(run.config):
        return {"status": Status.QUEUED, "code": _existing_snapshot(run) or str(code_snapshot.take(run.config))}
    return {"code": _existing_snapshot(run)}


def _existing_snapshot(run: RunView) -> str | None:
    """Return the code snapshot of a run, None if it does not exist any more."""
    code = run.record.code
    return code if code and Path(code).is_dir() else None


def is_scheduled(config: dict[str, Any]) -> bool:
    """Return whether a scheduler starts runs of this configuration."""
    return bool((config.get("hardware") or {}).get("scheduler"))
