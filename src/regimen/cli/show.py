"""`regimen show`: configuration, result, files and reasons for doubt of one run, on one screen."""

from __future__ import annotations

import argparse
import itertools
import json
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
from regimen.runs.history.run_view import CHANGED, GONE, RunView, file_state, open_view
from regimen.runs.index.summary import RunSummary, seconds
from regimen.runs.record import RunRecord
from regimen.runs.record_parts import Artifact
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files, host
from regimen.system.errors import RegimenError
from regimen.system.host import HostInfo

WIDTH = 110
LAST_LINES = 6
GROUPS = ("task", "sim", "agent", "hardware", "experiment")


def show_verb(argv: list[str]) -> int:
    """Print one run: `regimen show <run> [--verify] [--json]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen show", description="Print configuration, result and files of one run."
    )
    parser.add_argument("run", help="run reference: id, beginning of an id, name, latest, or directory")
    parser.add_argument("--verify", action="store_true", help="read every input and artifact and compare its checksum")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    args = parser.parse_args(argv)
    run = open_view(args.run)
    report = gather(run, args.verify)
    print(json.dumps(files.plain(report), indent=2) if args.json else describe(run, report))
    return 0


def gather(run: RunView, verify: bool = False) -> dict[str, Any]:
    """Return the record, with states of files, parents and children, reasons for doubt, and the next command.

    Args:
        run: the run.
        verify: whether to read every input and artifact and compare checksums.
    """
    inputs = {name: {**row.to_dict(), "state": run.input_state(name, verify)} for name, row in run.inputs.items()}
    artifacts = [{**row.to_dict(), "state": _artifact_state(run, row, verify)} for row in run.record.artifacts]
    family, checkpoints = Lineage.known(), judged(run)
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
        "next": _next(run),
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
    head = [" ".join(filter(None, [run.record.name, run.id])), _end(run, found)]
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
    choices = [f"{group}={run.choices[group]}" for group in GROUPS if run.choices.get(group) not in (None, "none")]
    yield "what", [f"{record.stage}  {'  '.join(choices)}  seed={record.seed}"]
    own = [o for o in record.overrides if o.partition("=")[0] not in (*GROUPS, "stage", "seed", "name")]
    yield "set", [" ".join(own)]
    yield "time", [_times(run)]
    yield "attempts", [f"resumed {when(row.at)}, it was {row.previous_status}" for row in record.resumed]
    yield "headline", table([(name, figure(value)) for name, value in run.headline.items()])
    yield "judged", _judged(judged(run))
    yield "code", _code(run)
    yield "versions", [", ".join(f"{name} {version}" for name, version in record.versions.items())]
    yield "inputs", table([(name, _input(row), row["state"]) for name, row in found["inputs"].items()])
    yield "pending", table([(name, str(ref)) for name, ref in record.pending.items()])
    for title in ("parents", "children"):
        yield title, table([(row["id"], row["stage"] or "", row["status"], row["name"] or "") for row in found[title]])
    yield "belongs", _belongs(record)
    yield "files", table([_file(run, row) for row in found["artifacts"]])
    yield "tags", [" ".join(record.tags)]
    yield "notes", [f"{when(note.at)}  {note.text}" for note in record.notes]
    yield "error", _last_words(run)
    yield "next", [found["next"]]


def _judged(found: Judged | None) -> list[str]:
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


def _end(run: RunView, found: dict[str, Any]) -> str:
    """Return status, exit code, duration and reason as one line."""
    code = run.record.exit_code
    after = "" if run.status.is_open else f" after {duration(run.record.wall_s)}"
    coded = f" (exit code {code})" if code is not None else ""
    age = files.age(run.dir / "progress.json") if found["progress"] else None
    now = console.describe(found["progress"] or {}, age)
    if age is not None and 1 < age < console.SILENT_S:
        now += f", {duration(age)} ago"
    reason = now or run.record.reason or ""
    if run.status == Status.LOST:
        reason = "its supervisor and worker died without recording the end"
    return f"{run.status}{coded}{after}" + (f": {reason}" if reason else "")


def _times(run: RunView) -> str:
    record, machine = run.record, run.record.host or HostInfo()
    ended = f", ended {when(record.ended)}" if record.ended else ""
    used = f"CPU {duration(record.cpu_s)}, peak memory {figure(record.peak_memory_gib)} GiB"
    gpus = "".join(f", {gpu}" for gpu in machine.gpus)
    place = f"{machine.name} ({machine.cores} cores{gpus})"
    return f"started {when(record.started)}{ended}; {used}; on {place}"


def _code(run: RunView) -> list[str]:
    git, signature, snapshot = run.record.git, run.record.signature, run.record.code
    lines = ["no git repository"]
    if git is not None:
        dirty = f", with changes not committed: code.patch, {size(len(run.patch))}" if git.dirty else ", clean"
        lines = [f"commit {str(git.commit)[:10]} on {git.branch}{dirty}"]
    if snapshot:
        lines.append(f"ran from the copy {os.path.relpath(snapshot)}")
    if signature.config or signature.code:
        lines.append(f"signatures: config {signature.config}, code {signature.code}")
    return lines


def _input(row: dict[str, Any]) -> str:
    return f"{row['ref']} → {os.path.relpath(row['path'])}" if row.get("ref") else os.path.relpath(row["path"])


def _belongs(record: RunRecord) -> list[str]:
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


def _last_words(run: RunView) -> list[str]:
    error = run.record.error
    if not error:
        return []
    lines = error.last_lines or [f"{error.type}: {error.message}"]
    return [line for line in lines if line.strip()][-LAST_LINES:]


def _next(run: RunView) -> str:
    """Return the next command to type, empty while the run is running or queued."""
    if run.status.is_open:
        return ""
    with suppress(RegimenError, OSError):  # of a run whose other files are damaged
        return outcome.next_command(Run(run.dir), run.status, run.record.exit_code or outcome.EXIT_FAILED)
    return ""
