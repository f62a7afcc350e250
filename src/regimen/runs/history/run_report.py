"""Report on one run: its record with states of files, relatives, reasons for doubt and the next command."""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from regimen.display import console
from regimen.display.formatting import duration, figure, size, table, visible, when
from regimen.runs import outcome
from regimen.runs.history.judged import Judged, JudgedCheckpoint, judged
from regimen.runs.history.lineage import FILE, Lineage, state
from regimen.runs.history.run_view import CHANGED, GONE, RunView, file_state
from regimen.runs.index.summary import RunSummary, seconds
from regimen.runs.record import RunRecord
from regimen.runs.record_parts import Artifact, MemoryEstimate
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files, host
from regimen.system.errors import RegimenError
from regimen.system.host import HostInfo

WIDTH = 110
LAST_LINES = 6
GROUPS = ("task", "sim", "agent", "hardware", "experiment")


def gather(run: RunView, verify: bool = False, family: Lineage | None = None) -> dict[str, Any]:
    """Return the record, with states of files, parents and children, reasons for doubt, and the next command.

    Args:
        run: the run.
        verify: whether to read every input and artifact and compare checksums.
        family: all runs, if they are known; by default those that the index finds.
    """
    inputs = {name: {**row.to_dict(), "state": run.input_state(name, verify)} for name, row in run.inputs.items()}
    artifacts = [{**row.to_dict(), "state": _artifact_state(run, row, verify)} for row in run.record.artifacts]
    family, checkpoints = family or Lineage.known(), judged(run)
    found = {
        **run.record.to_dict(),
        "status": run.status,
        "dir": str(run.dir),
        "inputs": inputs,
        "artifacts": artifacts,
        "patch_bytes": len(run.patch),
        "parents": [_relative(row) for row in family.parents(run.row)],
        "children": [_relative(row) for row in family.children(run.row)],
        "judged": None if checkpoints is None else checkpoints.to_dict(),
        "progress": files.read_json(run.dir / "progress.json") if run.status.is_open else None,
        "next": next_step(run),
    }
    return {**found, "doubts": list(caveats(run, found))}


def caveats(run: RunView, found: dict[str, Any]) -> Iterator[str]:
    """Yield reasons to doubt the result of a run.

    Args:
        run: the run.
        found: see `gather`.
    """
    record = run.record
    if run.status != Status.FINISHED:
        has_no_end = run.status.is_open or run.status == Status.LOST
        yield f"it is {run.status}" if has_no_end else f"it ended as {run.status}"
    elif record.reason:
        yield record.reason
    if record.started and record.ended and seconds(record.ended) < seconds(record.started):
        yield f"it ended before it started, by the clock of its host: {record.ended} and {record.started}"
    if record.git is None:
        yield "its code is in no git repository"
    elif record.git.dirty and not run.patch:
        yield "its code had changes that code.patch does not hold"
    files = {f"input {name}": row["state"] for name, row in found["inputs"].items()}
    files |= {row["path"]: row["state"] for row in found["artifacts"]}
    verbs = {GONE: "is", CHANGED: "has"}
    yield from (f"{name} {verbs[now]} {now}" for name, now in files.items() if now in verbs)
    unsure = [row for row in found["parents"] if row["status"] not in (Status.FINISHED, FILE)]
    yield from (f"its parent {row['id']} is {row['status']}" for row in unsure)
    for before, again in itertools.pairwise(record.attempts):
        changed = host.differences(before, again)
        if changed:
            yield f"resumed with other code: {', '.join(changed)}"
    yield from record.warnings


def describe(run: RunView, found: dict[str, Any]) -> str:
    """Return the output as text.

    Args:
        run: the run.
        found: see `gather`.
    """
    head = [" ".join(filter(None, [run.record.name, run.id])), end_line(run, found)]
    lines = [*map(visible, head), ""]
    for title, values in _sections(run, found):
        for line in values:
            wrapped = textwrap.wrap(visible(line), WIDTH, drop_whitespace=False, break_long_words=False) if line else []
            for part in wrapped:
                lines.append(f"{title:<10}{part.rstrip()}")
                title = ""
    return "\n".join(lines)


def _sections(run: RunView, found: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    record = run.record
    caveats_ = found["doubts"] or ["no known problems"]
    yield "trust", caveats_
    yield "what", [f"{record.stage}  {'  '.join(chosen(run))}  seed={record.seed}"]
    yield "set", [" ".join(own_settings(run))]
    yield "time", [times(run)]
    yield "memory", memory_lines(record)
    yield "attempts", [f"resumed {when(row.at)}, it was {row.previous_status}" for row in record.resumed]
    yield "headline", table([(name, figure(value)) for name, value in run.headline.items()])
    yield "judged", judged_lines(judged(run))
    yield "code", code_lines(run)
    yield "versions", [", ".join(f"{name} {version}" for name, version in record.versions.items())]
    yield "inputs", table([(name, _input(row), row["state"]) for name, row in found["inputs"].items()])
    yield "pending", table([(name, str(ref)) for name, ref in record.pending.items()])
    for title in ("parents", "children"):
        yield title, table([(row["id"], row["stage"] or "", row["status"], row["name"] or "") for row in found[title]])
    yield "belongs", belongs(record)
    yield "files", table([_file(run, row) for row in found["artifacts"]])
    yield "tags", [" ".join(record.tags)]
    yield "notes", [f"{when(note.at)}  {note.text}" for note in record.notes]
    yield "error", last_words(run)
    yield "next", [found["next"]]


def chosen(run: RunView) -> list[str]:
    """Return the chosen options as `group=option`."""
    return [f"{group}={run.choices[group]}" for group in GROUPS if run.choices.get(group) not in (None, "none")]


def own_settings(run: RunView) -> list[str]:
    """Return the arguments of a run beside its options, its seed and its name."""
    return [o for o in run.record.overrides if o.partition("=")[0] not in (*GROUPS, "stage", "seed", "name")]


def judged_lines(found: Judged | None) -> list[str]:
    """Return the best and the newest judged checkpoint of a training, one line for each simulator."""
    if found is None:
        return []
    lines = [f"{found.metric}, of the 95 % interval the {found.counts} counts"]
    for sim, one in found.sims.items():
        shown = f"{sim}: best at step {one.best.step}: {_interval(one.best)}{' = @best' * (sim == found.own)}"
        if one.newest is not None and one.newest.step != one.best.step:
            shown += f"; newest at step {one.newest.step}: {_interval(one.newest)}"
        lines.append(f"{shown}; {one.judgements} checkpoint{'s' * (one.judgements != 1)}")
    return lines


def _interval(one: JudgedCheckpoint) -> str:
    return f"{figure(one.value)} ({figure(one.low)} … {figure(one.high)})"


def end_line(run: RunView, found: dict[str, Any]) -> str:
    """Return status, exit code, duration and reason as one line."""
    code = run.record.exit_code
    after = "" if run.status.is_open or not run.record.wall_s else f" after {duration(run.record.wall_s)}"
    coded = f" (exit code {code})" if code is not None else ""
    age = files.age(run.dir / "progress.json") if found["progress"] else None
    now = console.describe(found["progress"] or {}, age)
    if age is not None and 1 < age < console.SILENT_S:
        now += f", {duration(age)} ago"
    reason = now or run.record.reason or ""
    if run.status == Status.LOST:
        reason = "its supervisor and worker died without recording the end"
    return f"{run.status}{coded}{after}" + (f": {reason}" if reason else "")


def times(run: RunView) -> str:
    """Return start, end, CPU time and machine as one line."""
    record, machine = run.record, run.record.host or HostInfo()
    ended = f", ended {when(record.ended)}" if record.ended else ""
    used = f"CPU {duration(record.cpu_s)}"
    gpus = "".join(f", {gpu}" for gpu in machine.gpus)
    place = f"{machine.name} ({machine.cores} cores{gpus})"
    return f"started {when(record.started)}{ended}; {used}; on {place}"


def memory_lines(record: RunRecord) -> list[str]:
    """Return the estimate before the start and the peak, of main memory and of GPU memory; records may lack either."""
    estimate = record.estimated_memory or MemoryEstimate()
    sizes = {
        "main": (estimate.main_bytes / 2**30, record.peak_memory_gib),
        "GPU": (estimate.gpu_bytes / 2**30, record.peak_gpu_gib or 0.0),
    }
    parts = []
    for place, (estimated, peak) in sizes.items():
        shown = [f"estimated {estimated:.2f} GiB"] if estimated else []
        shown += [f"peak {peak:.2f} GiB"] if peak else []
        parts += [f"{', '.join(shown)} ({place})"] if shown else []
    return ["; ".join(parts)] if parts else []


def code_lines(run: RunView) -> list[str]:
    """Return commit, snapshot and signatures, one line each."""
    git, signature, snapshot = run.record.git, run.record.signature, run.record.code
    lines = ["no git repository"]
    if git is not None:
        dirty = f", with changes not committed: code.patch, {size(len(run.patch))}" if git.dirty else ", clean"
        lines = [f"commit {str(git.commit)[:10]} on {git.branch}{dirty}"]
    if snapshot:
        lines.append(f"ran from the copy {os.path.relpath(snapshot)}")
    if signature.config or signature.code:
        lines.append(f"signatures: config {signature.config}, code {signature.code}")
    if run.record.determinism is not None:
        lines.append(f"determinism class of the simulator: {run.record.determinism}")
    return lines


def _input(row: dict[str, Any]) -> str:
    return f"{row['ref']} → {os.path.relpath(row['path'])}" if row.get("ref") else os.path.relpath(row["path"])


def belongs(record: RunRecord) -> list[str]:
    """Return the sweep, the pipeline and the repeated run that a run belongs to, one line each."""
    pipeline = record.pipeline
    parts = [f"sweep {record.sweep}" if record.sweep else ""]
    if pipeline:
        parts.append(f"pipeline {pipeline.name} ({pipeline.id}), step {pipeline.step}")
    parts += [f"repeats {record.rerun_of}" if record.rerun_of else ""]
    return [part for part in parts if part]


def _artifact_state(run: RunView, artifact: Artifact, verify: bool) -> str:
    path = run.dir / artifact.path
    if verify:
        return file_state(path, artifact.sha256, run.record.ended, read_all=True)
    return "" if path.exists() else GONE


def _file(run: RunView, row: dict[str, Any]) -> tuple[str, str, str, str]:
    return f"{run.where}/{row['path']}", row.get("kind") or "", size(row.get("bytes") or 0), row["state"]


def _relative(row: RunSummary) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "stage": row.stage, "status": state(row)}


def last_words(run: RunView) -> list[str]:
    """Return the last lines of the output of a run that failed."""
    error = run.record.error
    if not error:
        return []
    lines = error.last_lines or [f"{error.type}: {error.message}"]
    return [line for line in lines if line.strip()][-LAST_LINES:]


def next_step(run: RunView) -> str:
    """Return the next command to type, empty while the run is running or queued."""
    if run.status.is_open:
        return ""
    with suppress(RegimenError, OSError):  # of a run whose other files are damaged
        return outcome.next_command(Run(run.dir), run.status, run.record.exit_code or outcome.EXIT_FAILED)
    return ""
