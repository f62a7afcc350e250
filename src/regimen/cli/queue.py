"""`regimen queue`: queued and running jobs, their nodes, and why they wait."""

from __future__ import annotations

import argparse
import json
from typing import Any

from regimen.display.console import describe
from regimen.display.formatting import table
from regimen.orchestration.slurm import job_states
from regimen.orchestration.slurm.job_runs import runs_with_jobs
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs.index.summary import RunSummary
from regimen.runs.record_parts import QueueEntry
from regimen.runs.run import Run
from regimen.system import files

HEADER = ("id", "name", "job", "state", "node", "time / limit", "")


def queue_verb(argv: list[str]) -> int:
    """List queued and running jobs: `regimen queue`, `regimen queue <sweep>`, `regimen queue --json`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen queue", description="List the runs with queued or running jobs.")
    parser.add_argument("what", nargs="*", help="runs, sweeps or pipelines; by default all")
    parser.add_argument("--json", action="store_true", help="print all fields as JSON")
    args = parser.parse_args(argv)
    rows = runs_with_jobs(args.what or ["all"])
    opened = {row.id: Run(row.dir) for row in rows}
    states = job_states.reconcile(opened.values())
    live = [row for row in rows if row.id in states]
    ended = [line for row in rows if row.id not in states for line in _ended(opened[row.id])]
    if args.json:
        print(json.dumps([_plain(row, opened[row.id], states[row.id]) for row in live], indent=1))
        return 0
    cells = [_cells(row, opened[row.id], states[row.id]) for row in live]
    print("\n".join([*(table([HEADER, *cells]) if cells else ["no queued or running jobs"]), *ended]))
    return 0


def _cells(row: RunSummary, run: Run, state: JobState) -> tuple[str, ...]:
    note = state.reason or describe(files.read_json(run.dir / "progress.json") or {})
    time = f"{state.elapsed} / {state.limit}" if state.limit and not state.waits else state.limit or state.elapsed
    return (row.id, row.name or "", state.job, state.state.lower(), state.node, time, note)


def _plain(row: RunSummary, run: Run, state: JobState) -> dict[str, Any]:
    names = ("job", "state", "node", "elapsed", "limit", "reason", "code")
    plain = {
        "id": row.id,
        "name": row.name,
        "sweep": row.sweep,
        "pipeline": row.pipeline.to_dict() if row.pipeline else None,
        "status": run.status,
    }
    plain |= {"dir": str(run.dir), "log": str(job_states.job_log(run.record.queue or QueueEntry()))}
    plain |= {name: getattr(state, name) for name in names}
    return plain | {"progress": files.read_json(run.dir / "progress.json")}


def _ended(run: Run) -> list[str]:
    """Return a line for a run whose lost job has just been recorded."""
    record = run.record
    return [] if record.status.may_have_job else [f"{record.status}: {run.id}: {record.reason}"]
