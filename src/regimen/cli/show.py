"""`regimen show`: what a run was, how it ended, and whether it can be trusted, on one screen."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import textwrap
from collections.abc import Iterator
from typing import Any

from regimen.display import console
from regimen.display.formatting import duration, figure, size, table, when
from regimen.runs import outcome
from regimen.runs.history.lineage import FILE, Family
from regimen.runs.history.run_view import CHANGED, GONE, RunView, file_state, see
from regimen.runs.index.summary import RunSummary
from regimen.runs.run import Run
from regimen.system import files, host

WIDTH = 110
LAST_LINES = 6
NOT_ENDED = ("running", "queued")
GROUPS = ("task", "sim", "agent", "hardware", "experiment")


def show_verb(argv: list[str]) -> int:
    """Print one run: `regimen show <run> [--verify] [--json]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen show", description="One run: what, how it ended, can it be trusted.")
    parser.add_argument("run", help="run reference: id, beginning of an id, name, latest, or directory")
    parser.add_argument("--verify", action="store_true", help="read every input and artifact and compare its checksum")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    args = parser.parse_args(argv)
    run = see(args.run)
    facts_ = gather(run, args.verify)
    print(json.dumps(files.plain(facts_), indent=2) if args.json else describe(run, facts_))
    return 0


def gather(run: RunView, verify: bool = False) -> dict[str, Any]:
    """Return the record with what can only be known now: states of files, relatives, doubts, the next command.

    Args:
        run: the run.
        verify: read every input and artifact.
    """
    inputs = {name: {**row, "state": run.input_state(name, verify)} for name, row in run.inputs.items()}
    artifacts = [{**row, "state": _artifact_state(run, row, verify)} for row in run.info.get("artifacts") or []]
    family = Family.known()
    found = {
        **run.info,
        "status": run.status,
        "dir": str(run.dir),
        "inputs": inputs,
        "artifacts": artifacts,
        "patch_bytes": len(run.patch),
        "parents": [_relative(row) for row in family.parents(run.row)],
        "children": [_relative(row) for row in family.children(run.row)],
        "progress": files.read_json(run.dir / "progress.json") if run.status in NOT_ENDED else None,
        "next": _next(run),
    }
    return {**found, "doubts": list(doubts(run, found))}


def doubts(run: RunView, found: dict[str, Any]) -> Iterator[str]:
    """Yield what speaks against relying on a run.

    Args:
        run: the run.
        found: see `gather`.
    """
    if run.status != "finished":
        yield f"it is {run.status}" if run.status in (*NOT_ENDED, "lost") else f"it ended as {run.status}"
    elif run.info.get("reason"):
        yield str(run.info["reason"])
    git = run.info.get("git")
    if git is None:
        yield "its code is in no git repository"
    elif git.get("dirty") and not run.patch:
        yield "its code had changes that code.patch does not hold"
    files = {f"input {name}": row["state"] for name, row in found["inputs"].items()}
    files |= {row["path"]: row["state"] for row in found["artifacts"]}
    verbs = {GONE: "is", CHANGED: "has"}
    yield from (f"{name} {verbs[now]} {now}" for name, now in files.items() if now in verbs)
    unsure = [row for row in found["parents"] if row["status"] not in ("finished", FILE)]
    yield from (f"its parent {row['id']} is {row['status']}" for row in unsure)
    for before, again in _attempts(run):
        changed = host.differences(before, again)
        if changed:
            yield f"resumed with other code: {', '.join(changed)}"
    yield from run.info.get("warnings") or []


def describe(run: RunView, found: dict[str, Any]) -> str:
    """Return the screen.

    Args:
        run: the run.
        found: see `gather`.
    """
    lines: list[str] = [" ".join(filter(None, [run.info.get("name"), run.id])), _end(run, found), ""]
    for title, values in _sections(run, found):
        for line in values:
            wrapped = textwrap.wrap(line, WIDTH, drop_whitespace=False, break_long_words=False) if line else []
            for part in wrapped:
                lines.append(f"{title:<10}{part.rstrip()}")
                title = ""
    return "\n".join(lines)


def _sections(run: RunView, found: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    info = run.info
    doubts_ = found["doubts"] or ["nothing speaks against it"]
    yield "trust", doubts_
    choices = [f"{group}={run.choices[group]}" for group in GROUPS if run.choices.get(group) not in (None, "none")]
    yield "what", [f"{info.get('stage')}  {'  '.join(choices)}  seed={info.get('seed')}"]
    own = [o for o in info.get("overrides") or [] if o.partition("=")[0] not in (*GROUPS, "stage", "seed", "name")]
    yield "set", [" ".join(own)]
    yield "time", [_times(run)]
    yield "attempts", [_attempt(row) for row in info.get("resumed") or []]
    yield "headline", table([(name, figure(value)) for name, value in run.headline.items()])
    yield "code", _code(run)
    yield "versions", [", ".join(f"{name} {version}" for name, version in (info.get("versions") or {}).items())]
    yield "inputs", table([(name, _input(row), row["state"]) for name, row in found["inputs"].items()])
    yield "pending", table([(name, str(ref)) for name, ref in (info.get("pending") or {}).items()])
    for title in ("parents", "children"):
        yield title, table([(row["id"], row["stage"] or "", row["status"], row["name"] or "") for row in found[title]])
    yield "belongs", _belongs(info)
    yield "files", table([_file(run, row) for row in found["artifacts"]])
    yield "tags", [" ".join(info.get("tags") or [])]
    yield "notes", [f"{when(note['at'])}  {note['text']}" for note in info.get("notes") or []]
    yield "error", _last_words(run)
    yield "next", [found["next"]]


def _end(run: RunView, found: dict[str, Any]) -> str:
    """Return how it ended, in one sentence."""
    code = run.info.get("exit_code")
    after = f" after {duration(run.info.get('wall_s'))}" if run.status not in NOT_ENDED else ""
    coded = f" (exit code {code})" if code is not None else ""
    now = console.describe(found["progress"] or {})
    said = now or run.info.get("reason") or ""
    if run.status == "lost":
        said = "its supervisor and worker are gone, and neither could say how it ended"
    return f"{run.status}{coded}{after}" + (f": {said}" if said else "")


def _times(run: RunView) -> str:
    info, host = run.info, run.info.get("host") or {}
    ended = f", ended {when(info['ended'])}" if info.get("ended") else ""
    used = f"CPU {duration(info.get('cpu_s'))}, peak memory {figure(info.get('peak_memory_gib'))} GiB"
    gpus = "".join(f", {gpu}" for gpu in host.get("gpus") or [])
    machine = f"{host.get('name')} ({host.get('cores')} cores{gpus})"
    return f"started {when(info.get('started'))}{ended}; {used}; on {machine}"


def _attempt(row: dict[str, Any]) -> str:
    return f"resumed {when(row.get('at'))}, it was {row.get('previous_status')}"


def _attempts(run: RunView) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield pairs of attempts that followed each other and recorded their code."""
    rows = [run.info, *(run.info.get("resumed") or [])]
    known = [row for row in rows if "versions" in row and "git" in row]
    yield from itertools.pairwise(known)


def _code(run: RunView) -> list[str]:
    git, signature = run.info.get("git"), run.info.get("signature") or {}
    lines = ["no git repository"]
    if git is not None:
        dirty = f", with changes not committed: code.patch, {size(len(run.patch))}" if git.get("dirty") else ", clean"
        lines = [f"commit {str(git.get('commit'))[:10]} on {git.get('branch')}{dirty}"]
    if run.info.get("code"):
        lines.append(f"ran from the copy {os.path.relpath(run.info['code'])}")
    if signature:
        lines.append(f"signatures: config {signature.get('config')}, code {signature.get('code')}")
    return lines


def _input(row: dict[str, Any]) -> str:
    return f"{row['ref']} → {os.path.relpath(row['path'])}" if row.get("ref") else os.path.relpath(row["path"])


def _belongs(info: dict[str, Any]) -> list[str]:
    pipeline = info.get("pipeline") or {}
    parts = [f"sweep {info['sweep']}" if info.get("sweep") else ""]
    if pipeline:
        parts.append(f"pipeline {pipeline.get('name')} ({pipeline.get('id')}), step {pipeline.get('step')}")
    parts += [f"repeats {info['rerun_of']}" if info.get("rerun_of") else ""]
    return [part for part in parts if part]


def _artifact_state(run: RunView, row: dict[str, Any], verify: bool) -> str:
    path = run.dir / row["path"]
    if verify:
        return file_state(path, row.get("sha256"), run.info.get("ended"), read_all=True)
    return "" if path.exists() else GONE


def _file(run: RunView, row: dict[str, Any]) -> tuple[str, str, str, str]:
    return f"{run.where}/{row['path']}", row.get("kind") or "", size(row.get("bytes") or 0), row["state"]


def _relative(row: RunSummary) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "stage": row.stage, "status": row.status}


def _last_words(run: RunView) -> list[str]:
    error = run.info.get("error")
    if not error:
        return []
    lines = error.get("last_lines") or [f"{error.get('type')}: {error.get('message')}"]
    return [line for line in lines if line.strip()][-LAST_LINES:]


def _next(run: RunView) -> str:
    """Return what to type next, nothing while the run goes on by itself."""
    if run.status in NOT_ENDED:
        return ""
    return outcome.next_command(Run(run.dir), run.status, run.info.get("exit_code") or outcome.EXIT_FAILED)
