"""What is printed of a pipeline: its plan, and at the end a table of its steps with what to type next."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from regimen.config import groups
from regimen.config.provenance import shown
from regimen.display.console import say
from regimen.display.formatting import duration, table
from regimen.orchestration.pipeline.duration import seconds, total
from regimen.orchestration.pipeline.graph import step_of
from regimen.orchestration.pipeline.jobs import Job, parallel
from regimen.orchestration.pipeline.record import BLOCKED, DONE, FILE, NOT_STARTED, OPEN, Book, Step
from regimen.orchestration.pipeline.reuse import DONE as KNOWN_DONE
from regimen.orchestration.pipeline.reuse import RESUMABLE, RUNNING, Known
from regimen.orchestration.pipeline.spec import Pipeline
from regimen.runs import outcome
from regimen.runs.index.summary import RunSummary
from regimen.system import files

PICTURE = "pipeline.png"


def describe(pipeline: Pipeline, jobs: list[Job], known: Mapping[str, Known], rows: Sequence[RunSummary]) -> str:
    """Return the plan: each step with what is there of it and how long it will take.

    Args:
        pipeline: the file.
        jobs: its steps, each after those it needs.
        known: what is there of them.
        rows: all runs, newest first.
    """
    left = {job.name: seconds(job, known[job.name], rows) for job in jobs}
    cells = [("step", "stage", "state", "time", "")]
    counts = Counter(job.node.step.name for job in jobs)
    cells += [_plan_row(job, known[job.name], pipeline.name, left[job.name], counts) for job in jobs]
    done = sum(k.state == KNOWN_DONE for k in known.values())
    name = f"{pipeline.name} size={pipeline.size}" if pipeline.size else pipeline.name
    head = f"{name} ({shown(pipeline.file)}): {groups.description(pipeline.file)}".rstrip(": ")
    return "\n".join([head, "", *table(cells), "", f"{done} of {len(jobs)} steps done; {_left(jobs, left, done)}"])


def _left(jobs: list[Job], left: Mapping[str, float | None], done: int) -> str:
    """Return how long what is left will take."""
    unknown = sum(seconds is None for seconds in left.values())
    if done == len(jobs):
        return "nothing is left to do"
    if unknown == len(jobs) - done:
        return "no such run was ever finished, so there is no estimate"
    span = f"about {duration(total(jobs, left))}"
    span += f" and {unknown} of which nothing is known" if unknown else ""
    return f"{span}, {most} at once" if (most := parallel(jobs)) > 1 else span


def _plan_row(
    job: Job, known: Known, pipeline: str, left: float | None, counts: Mapping[str, int]
) -> tuple[str, str, str, str, str]:
    row, state, words = known.row, known.state, []
    if row is not None:
        mine = (row.pipeline or {}).get("name") == pipeline and (row.pipeline or {}).get("step") == job.name
        state = "reusable" if state == KNOWN_DONE and not mine else state
        state = row.status if state == RUNNING else state
        words.append(row.id)
    if known.state == RESUMABLE and row is not None:
        words.append(f"{row.status}: {row.reason}" if row.reason else row.status)
    if known.note:
        words.append(known.note)
    if known.row is None and job.node.after:
        words.append(f"after {', '.join(_folded(job.node.after, counts))}")
    time = "" if known.state == KNOWN_DONE else "unknown" if left is None else f"about {duration(left)}"
    return job.name, job.composed.choices["stage"], state, time, "; ".join(words)


def _folded(nodes: list[str], counts: Mapping[str, int]) -> list[str]:
    """Return names of nodes, all of a step told as one; `counts` is how many nodes each step has."""
    by_step: dict[str, list[str]] = {}
    for node in nodes:
        by_step.setdefault(step_of(node), []).append(node)
    whole = {step for step, names in by_step.items() if len(names) == counts[step] > 1}
    return [
        text for step, names in by_step.items() for text in ([f"all {len(names)} {step}"] if step in whole else names)
    ]


def again(name: str, arguments: list[str], config_dirs: list[Path]) -> str:
    """Return the command that continues a pipeline."""
    own = [word for folder in config_dirs[1:] for word in ("--config-dir", os.path.relpath(folder))]
    kept = [a for a in arguments if not a.startswith("force=")]
    return f"python launch.py {shlex.join([*own, f'pipeline={name}', *kept])}"


def report(book: Book, command: str) -> int:
    """Print how each step ended, draw the graph, say what to do about failures; return the exit code.

    Steps that a scheduler has are no failure.

    Args:
        book: the record.
        command: that continues the pipeline.
    """
    steps = list(book.steps.values())
    say("")
    for line in table([("step", "run", "status", "headline", "duration"), *map(_row, steps)]):
        say(line)
    done, open_ = ([s for s in steps if s.status in group] for group in (DONE, OPEN))
    say(f"\n{len(done)} of {len(steps)} steps finished; {os.path.relpath(book.folder / FILE)} lists them")
    draw(book)
    for step in done:
        for path in _pages(step):
            say(f"{step.name}: {path}")
    for step in steps:
        if step.status not in (*DONE, *OPEN, NOT_STARTED) and not step.status.startswith(BLOCKED):
            say(f"  {step.name}: {_advice(step)}")
    if open_:
        shown_by = "`regimen queue` shows them, as does the same command"
        say(f"{len(open_)} are with the scheduler: {shown_by}:\n  {command}")
    elif len(done) < len(steps):
        say(f"To continue, with what is finished kept:\n  {command}")
    return 0 if len(done) + len(open_) == len(steps) else outcome.EXIT_FAILED


def _pages(step: Step) -> list[str]:
    """Return the pages that a finished run left to be read."""
    info = files.read_json(Path(str(step.dir)) / "run.json") or {}
    rows = info.get("artifacts") or []
    return [os.path.join(str(step.dir), row["path"]) for row in rows if row["kind"] == "page"]


def draw(book: Book) -> None:
    """Draw the graph, coloured by status; a picture that cannot be made is no failure."""
    from regimen.display.graph_figure import BAD, COLORS, Arrow, Box, draw

    boxes = [
        Box(s.name, s.name, [f"{s.stage}  {s.status}", s.run or ""], COLORS.get(s.status, BAD), dashed=s.run is None)
        for s in book.steps.values()
    ]
    arrows = [Arrow(parent, s.name) for s in book.steps.values() for parent in s.after]
    try:
        draw(book.folder / PICTURE, boxes, arrows)
    except OSError as error:
        say(f"warning: {PICTURE} could not be written: {error}")


def _row(step: Step) -> tuple[str, str, str, str, str]:
    status = step.status if step.exit_code in (0, None) else f"{step.status} ({step.exit_code})"
    name, value = next(iter(step.headline.items()), ("", None))
    headline = f"{name} {value:.4g}" if value is not None else ""
    worked = "" if step.wall_s is None else duration(step.wall_s)
    return step.name, step.run or "", status, headline, worked


def _advice(step: Step) -> str:
    """Return why a step did not finish, and where more about it is written."""
    why = step.reason or step.status
    if step.dir is None:
        return why
    return f"{why} — see {os.path.join(step.dir, 'logs', 'worker.log')}"
