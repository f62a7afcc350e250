"""`regimen queue`: the runs that a scheduler has, where they are and why they wait."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regimen.display.console import describe
from regimen.display.formatting import table
from regimen.orchestration.slurm import reconcile
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs.index.index import ROOTS, Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import ReferenceError_, did_you_mean

HEADER = ("id", "name", "job", "state", "node", "time / limit", "")
NOT_OPEN = ("finished", "failed", "diverged", "killed", "unreadable")


def queue_verb(argv: list[str]) -> int:
    """List what waits and runs: `regimen queue`, `regimen queue <sweep>`, `regimen queue --json`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen queue", description="List the runs that a scheduler has.")
    parser.add_argument("what", nargs="*", help="runs, sweeps or pipelines; by default all")
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON")
    args = parser.parse_args(argv)
    rows = having_jobs(args.what or ["all"])
    opened = {row.id: Run(row.dir) for row in rows}
    states = reconcile.reconcile(opened.values())
    going = [row for row in rows if row.id in states]
    ended = [line for row in rows if row.id not in states for line in _ended(opened[row.id])]
    if args.json:
        print(json.dumps([_plain(row, opened[row.id], states[row.id]) for row in going], indent=1))
        return 0
    cells = [_cells(row, opened[row.id], states[row.id]) for row in going]
    print("\n".join([*(table([HEADER, *cells]) if cells else ["no run waits or works for a scheduler"]), *ended]))
    return 0


def having_jobs(words: Sequence[str], roots: Sequence[Path] = ROOTS) -> list[RunSummary]:
    """Return the runs that are not over and that a scheduler has, in the order of their jobs.

    Args:
        words: ids of runs, their unique beginnings, names; ids of sweeps and pipelines; or `all`.
        roots: folders of runs and of sweeps.

    Raises:
        ReferenceError_: a word names no such run.
    """
    everything = [row for row in Index(roots).rows() if (row.queue or {}).get("kind") in ("slurm", "submitit_local")]
    rows = [row for row in everything if row.status not in NOT_OPEN and reconcile.has_job({"queue": row.queue})]
    chosen = {row.id for word in words for row in (rows if word == "all" else _named(word, rows, everything))}
    return sorted((row for row in rows if row.id in chosen), key=_by_job)


def _named(word: str, rows: Sequence[RunSummary], everything: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the runs that one word means: a run, or all runs of a sweep or pipeline."""
    name = Path(word).name
    of_many = [row for row in rows if name in (row.sweep, (row.pipeline or {}).get("id"))]
    found = of_many or [row for row in rows if name in (row.id, row.name)] or [r for r in rows if r.id.startswith(name)]
    if len({row.id for row in found}) > 1 and not of_many:
        raise ReferenceError_(f"`{word}` names {len(found)} runs: {', '.join(row.id for row in found)}. Say which.")
    if found:
        return found
    over = [row for row in everything if name in (row.id, row.name, row.sweep)]
    if over:
        raise ReferenceError_(f"`{word}` has no job any more: {over[0].id} is {over[0].status}.")
    known = [n for row in rows for n in (row.id, row.name, row.sweep) if n]
    raise ReferenceError_(f"No scheduler has `{word}`. {did_you_mean(word, known)}")


def _by_job(row: RunSummary) -> tuple[int, ...]:
    return tuple(int(part) for part in str((row.queue or {}).get("job")).split("_") if part.isdecimal())


def _cells(row: RunSummary, run: Run, state: JobState) -> tuple[str, ...]:
    said = state.reason or describe(files.read_json(run.dir / "progress.json") or {})
    time = f"{state.elapsed} / {state.limit}" if state.limit and not state.waits else state.limit or state.elapsed
    return (row.id, row.name or "", state.job, state.state.lower(), state.node, time, said)


def _plain(row: RunSummary, run: Run, state: JobState) -> dict[str, Any]:
    told = {name: getattr(state, name) for name in ("job", "state", "node", "elapsed", "limit", "reason", "code")}
    progress = files.read_json(run.dir / "progress.json")
    known = {"id": row.id, "name": row.name, "sweep": row.sweep, "pipeline": row.pipeline, "status": run.status}
    return {**known, "dir": str(run.dir), "log": str(reconcile.log(run.info["queue"])), **told, "progress": progress}


def _ended(run: Run) -> list[str]:
    """Return what has just been recorded of a run whose job was gone."""
    info = run.info
    return [f"{info['status']}: {run.id}: {info['reason']}"] if info["status"] in NOT_OPEN else []
