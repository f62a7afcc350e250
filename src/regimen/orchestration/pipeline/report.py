"""Text output of a pipeline: the plan with the expected duration, and the closing table of its steps."""

from __future__ import annotations

import copy
import functools
import heapq
import os
import shlex
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from regimen.config import groups
from regimen.display.console import say
from regimen.display.formatting import duration, table
from regimen.orchestration.job_table import NOT_STARTED
from regimen.orchestration.pipeline.graph import Pipeline, step_of
from regimen.orchestration.pipeline.jobs import Job, parallel
from regimen.orchestration.pipeline.record import BLOCKED, FILE, PipelineRecord, Step
from regimen.orchestration.pipeline.reuse import DONE, RESUMABLE, RUNNING, ExistingRun
from regimen.runs import outcome, signature
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import read_record
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files
from regimen.system.errors import RunReferenceError
from regimen.system.files import display_path

FIGURE = "pipeline.png"


def describe(
    pipeline: Pipeline, jobs: list[Job], existing: Mapping[str, ExistingRun], rows: Sequence[RunSummary]
) -> str:
    """Return the plan: each step with its existing run and expected duration.

    Args:
        pipeline: the pipeline file.
        jobs: its jobs, sorted topologically.
        existing: job name -> existing run.
        rows: all runs, newest first.
    """
    left = {job.name: seconds(job, existing[job.name], rows) for job in jobs}
    cells = [("step", "stage", "state", "time", "")]
    counts = Counter(job.node.step.name for job in jobs)
    cells += [_plan_row(job, existing[job.name], pipeline.name, left[job.name], counts) for job in jobs]
    done = sum(run.state == DONE for run in existing.values())
    name = f"{pipeline.name} size={pipeline.size}" if pipeline.size else pipeline.name
    head = f"{name} ({display_path(pipeline.file)}): {groups.description(pipeline.file)}".rstrip(": ")
    return "\n".join([head, "", *table(cells), "", f"{done} of {len(jobs)} steps done; {_remaining(jobs, left, done)}"])


def _remaining(jobs: list[Job], left: Mapping[str, float | None], done: int) -> str:
    """Return the expected remaining time as text."""
    unknown = sum(seconds is None for seconds in left.values())
    if done == len(jobs):
        return "nothing to do"
    if unknown == len(jobs) - done:
        return "no comparable run has finished, so there is no estimate"
    span = f"about {duration(total(jobs, left))}"
    span += f" and {unknown} steps of unknown duration" if unknown else ""
    return f"{span}, {most} at once" if (most := parallel(jobs)) > 1 else span


def _plan_row(
    job: Job, existing: ExistingRun, pipeline: str, left: float | None, counts: Mapping[str, int]
) -> tuple[str, str, str, str, str]:
    row, state, notes = existing.row, existing.state, []
    if row is not None:
        same_step = bool(row.pipeline and (row.pipeline.name, row.pipeline.step) == (pipeline, job.name))
        state = "reusable" if state == DONE and not same_step else state
        state = row.status if state == RUNNING else state
        notes.append(row.id)
    if existing.state == RESUMABLE and row is not None:
        notes.append(f"{row.status}: {row.reason}" if row.reason else row.status)
    if existing.note:
        notes.append(existing.note)
    if existing.row is None and job.node.after:
        notes.append(f"after {', '.join(_folded(job.node.after, counts))}")
    time = "" if existing.state == DONE else "unknown" if left is None else f"about {duration(left)}"
    return job.name, job.composed.choices["stage"], state, time, "; ".join(notes)


def _folded(nodes: list[str], counts: Mapping[str, int]) -> list[str]:
    """Return names of nodes, with all nodes of a step as `all 3 walk`; `counts` has the nodes of each step."""
    by_step: dict[str, list[str]] = {}
    for node in nodes:
        by_step.setdefault(step_of(node), []).append(node)
    complete = {step for step, names in by_step.items() if len(names) == counts[step] > 1}
    return [
        text
        for step, names in by_step.items()
        for text in ([f"all {len(names)} {step}"] if step in complete else names)
    ]


def command_to_continue(name: str, arguments: list[str], config_dirs: list[Path]) -> str:
    """Return the command that continues a pipeline."""
    own = [word for folder in config_dirs[1:] for word in ("--config-dir", os.path.relpath(folder))]
    kept = [a for a in arguments if not a.startswith("force=")]
    return f"python launch.py {shlex.join([*own, f'pipeline={name}', *kept])}"


def report(record: PipelineRecord, command: str) -> int:
    """Print the status of each step and advice on failures, draw the graph, and return the exit code.

    Steps that are queued or running on a scheduler are no failure.

    Args:
        record: record of the pipeline.
        command: command that continues the pipeline.
    """
    steps = list(record.steps.values())
    say("")
    for line in table([("step", "run", "status", "headline", "duration"), *map(_row, steps)]):
        say(line)
    done, open_ = [step for step in steps if step.is_done], [step for step in steps if step.is_open]
    say(f"\n{len(done)} of {len(steps)} steps finished; {os.path.relpath(record.folder / FILE)} lists them")
    draw(record)
    for step in done:
        for path in _pages(step):
            say(f"{step.name}: {path}")
    for step in steps:
        failed = not (step.is_done or step.is_open or step.status == NOT_STARTED)
        if failed and not step.status.startswith(BLOCKED):
            say(f"  {step.name}: {_advice(step)}")
    if open_:
        say(f"{len(open_)} are queued or running; to see them: regimen queue, or the same command:\n  {command}")
    elif len(done) < len(steps):
        say(f"To continue (finished steps are kept):\n  {command}")
    return 0 if len(done) + len(open_) == len(steps) else outcome.EXIT_FAILED


def _pages(step: Step) -> list[str]:
    """Return the report pages of a finished run."""
    record = read_record(Path(str(step.dir)))
    artifacts = record.artifacts if record else []
    return [os.path.join(str(step.dir), artifact.path) for artifact in artifacts if artifact.kind == "page"]


def draw(record: PipelineRecord) -> None:
    """Draw the graph, coloured by status; a failure to write it is only a warning."""
    from regimen.display.graph_figure import BAD, COLORS, Arrow, Box, draw

    boxes = [
        Box(s.name, s.name, [f"{s.stage}  {s.status}", s.run or ""], COLORS.get(s.status, BAD), dashed=s.run is None)
        for s in record.steps.values()
    ]
    arrows = [Arrow(parent, s.name) for s in record.steps.values() for parent in s.after]
    try:
        draw(record.folder / FIGURE, boxes, arrows)
    except OSError as error:
        say(f"warning: {FIGURE} could not be written: {error}")


def _row(step: Step) -> tuple[str, str, str, str, str]:
    wall = "" if step.wall_s is None else duration(step.wall_s)
    return step.name, step.run or "", step.status_text(), step.headline_text(), wall


def _advice(step: Step) -> str:
    """Return why a step did not finish, and the path of its log."""
    why = step.reason or step.status
    if step.dir is None:
        return why
    return f"{why} — see {os.path.join(step.dir, 'logs', 'worker.log')}"


MAX_PAST_RUNS = 20
"""Number of past runs used for one step, newest first."""

MAX_STEP_RATIO = 10.0
"""Largest ratio of env steps over which a duration is scaled."""


def seconds(job: Job, existing: ExistingRun, rows: Sequence[RunSummary]) -> float | None:
    """Return the expected remaining time of a job in s, None if no comparable run has finished.

    Args:
        job: the job.
        existing: its run, if there is one.
        rows: all runs, newest first.
    """
    if existing.state == DONE:
        return 0.0
    choices = job.composed.choices
    wanted = (choices["task"], choices["agent"], choices["stage"])
    past = list(
        islice((r for r in rows if r.status == Status.FINISHED and (r.task, r.agent, r.stage) == wanted), MAX_PAST_RUNS)
    )
    signature_without_seed = _without_seed(job.composed.plain)
    times = [r.wall_s for r in past if _signature(r.dir) == signature_without_seed]
    times = times or [r.wall_s * n for r in past if (n := _step_ratio(job.composed.plain, r.dir)) is not None]
    if not times:
        return None
    total = statistics.median(times)
    return max(0.0, total * (1 - _completed_share(existing.row)) if existing.row is not None else total)


def _step_ratio(config: dict[str, Any], past: Path) -> float | None:
    """Return the ratio of env steps to those of a past run, 1 if either is unknown.

    None beyond `MAX_STEP_RATIO`: the duration of a short run is mostly start-up time.
    """
    steps, past_steps = env_steps(config), env_steps(_read(past) or {})
    if not steps or not past_steps:
        return 1.0
    return steps / past_steps if 1 / MAX_STEP_RATIO <= steps / past_steps <= MAX_STEP_RATIO else None


def env_steps(config: dict[str, Any]) -> int | None:
    """Return the number of env steps of a training or a collection, None for other stages.

    Args:
        config: resolved configuration as plain data.
    """
    envs, agent, stage = (config.get("env") or {}).get("num_envs"), config.get("agent") or {}, config.get("stage") or {}
    counts = {"train": (agent.get("trainer") or {}).get("timesteps"), "collect": stage.get("steps")}
    steps = counts.get((config.get("choices") or {}).get("stage", ""))
    return int(envs) * int(steps) if envs and steps else None


def total(jobs: list[Job], left: Mapping[str, float | None]) -> float:
    """Return the expected time in s with at most `hardware.max_jobs` jobs at once; unknown times count as 0.

    Args:
        jobs: all jobs of a pipeline.
        left: job -> remaining time in s.
    """
    most = min(job.max_jobs for job in jobs)
    ended: dict[str, float] = {}
    running: list[tuple[float, str]] = []
    waiting = list(jobs)
    now = 0.0
    while waiting or running:
        for job in [j for j in waiting if all(name in ended for name in j.node.after)]:
            duration = left[job.name] or 0.0
            if duration and len(running) >= most:
                continue
            waiting.remove(job)
            heapq.heappush(running, (now + duration, job.name))
        now, name = heapq.heappop(running)
        ended[name] = now
    return now


def _completed_share(row: RunSummary | None) -> float:
    """Return the completed share of a run, 0 to 1."""
    progress = files.read_json(row.dir / "progress.json") if row is not None else None
    done, total = ((progress or {}).get(key) for key in ("iteration", "iterations"))
    return min(1.0, done / total) if done and total else 0.0


@functools.cache
def _signature(folder: Path) -> str | None:
    """Return the signature of the configuration of a past run, without seed and inputs."""
    config = _read(folder)
    return None if config is None else _without_seed(config)


@functools.cache
def _read(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of a past run, None if it cannot be read."""
    try:
        return Run(folder).config
    except RunReferenceError:
        return None


def _without_seed(config: dict[str, Any]) -> str:
    return signature.config_signature({**copy.deepcopy(config), "seed": 0}, {})
