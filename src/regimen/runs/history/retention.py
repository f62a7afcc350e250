"""Retention of runs: reasons against a removal, such as an open status, a tag, or a run that depends on them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from regimen.runs import lock
from regimen.runs.index import liveness
from regimen.runs.index.summary import RunSummary
from regimen.runs.status import Status
from regimen.runs.timeouts import SETTLED_S
from regimen.system.files import read_bytes, read_json

KEEP = "keep"
"""A run with this tag is never removed."""

PLANS = {"sweep.json": ("sweep", "jobs"), "pipeline.json": ("pipeline", "steps")}
"""Record of several runs -> what it is, and the key of its list."""


def reason(run: RunSummary) -> str | None:
    """Return why a run must stay, judged by its own record and tags, or None.

    Args:
        run: its row.
    """
    if run.status.is_open:
        return f"it is {run.status}"
    if liveness.waits_to_go_on(run):
        return "it waits to continue"
    if os.path.islink(run.path):
        return f"it is a link to {os.path.realpath(run.path)}"
    if KEEP in run.tags:
        return f"it is tagged {KEEP}"
    has_no_end = run.status in (Status.LOST, Status.UNREADABLE)
    if has_no_end and not liveness.is_dead(run) and lock.seconds_since_heartbeat(run.dir) < SETTLED_S:
        return f"it is {run.status}, and a supervisor that cannot be asked worked on it less than a day ago"
    return None


def needed_by(runs: Sequence[RunSummary], everything: Sequence[RunSummary]) -> dict[str, str]:
    """Return id -> why it must stay, for those of `runs` that a run which stays was made from.

    Args:
        runs: those to be removed.
        everything: all runs.
    """
    going = {run.id: run for run in runs}
    needed: dict[str, str] = {}
    todo = [run for run in everything if run.id not in going]
    while todo:
        survivor = todo.pop()
        for parent in _sources(survivor, going):
            if parent in going:
                needed[parent] = f"{survivor.name or survivor.id} was made from it"
                todo.append(going.pop(parent))
    return needed


def planned(roots: Iterable[Path], asked: set[str], everything: Sequence[RunSummary]) -> dict[str, str]:
    """Return id -> why, of the runs in sweeps and pipelines that have not come to their end and can be continued.

    The plan of a killed process is outdated: the progress is read from the runs.

    Args:
        roots: folders of runs and of sweeps.
        asked: sweeps and pipelines that were named, whose runs may go.
        everything: all runs.
    """
    found: dict[str, str] = {}
    finished = {run.id for run in everything if run.status == Status.FINISHED}
    for file, plan in _newest_plans(roots):
        kind, key = PLANS[file.name]
        steps = [step for step in plan.get(key) or [] if isinstance(step, dict)]
        names = (file.parent.name, str(plan.get("name")))
        named = any(fnmatchcase(name, value) for name in names for value in asked)
        if not named and any(step.get("run") not in finished for step in steps):
            why = (
                f"the {kind} {file.parent.name} is not complete and would use it; {kind}={file.parent.name} lets it go"
            )
            found |= {str(step["run"]): why for step in steps if step.get("run")}
    return found


def _newest_plans(roots: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield (file, content) of all sweeps, and of the pipelines of a command the one that was given last."""
    files = [path for root in roots for name in PLANS for path in Path(root).glob(f"*/{name}")]
    commands: set[str] = set()
    for file in sorted(files, key=lambda path: path.parent.name, reverse=True):
        plan = read_json(file) or {}
        command = " ".join(map(str, plan.get("argv") or [file]))
        if file.name == "pipeline.json" and command in commands:
            continue
        commands.add(command)
        yield file, plan


def _sources(run: RunSummary, going: dict[str, RunSummary]) -> Iterator[str]:
    """Yield the ids of the runs that a run names: as parents, by its inputs, or by what it will read."""
    yield from run.parents
    if run.rerun_of and (run.status.is_open or liveness.waits_to_go_on(run)):
        yield run.rerun_of  # it is compared with that run at its end
    for entry in run.inputs.values():
        yield from [entry.run] if entry.run else []
        yield from (folder.name for folder in Path(entry.path).parents[:3])
    yield from (os.path.basename(reference.rpartition("@")[0] or reference) for reference in run.pending.values())
    if run.unreadable:
        yield from _mentioned(run, going)


def _mentioned(run: RunSummary, going: dict[str, RunSummary]) -> list[str]:
    """Return which ids stand in the files of a run whose record cannot be read."""
    text = b""
    for name in ("run.json", "config.yaml"):
        try:
            text += read_bytes(run.dir / name)
        except OSError:
            continue
    return [run_id for run_id in going if run_id.encode() in text]
