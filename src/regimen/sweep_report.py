"""What is said at the end of a sweep: how each job ended, and what to type for those that did not finish."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen import outcome, record
from regimen.progress import say
from regimen.run import Run


@dataclass
class Job:
    """One run of a sweep.

    Attributes:
        run: id of the run, which is also the name of its directory.
        overrides: its arguments.
        status: `waiting`, `running`, or how the run ended.
        exit_code: of its supervisor.
        headline: its headline metrics.
        policy: file that its argument `policy` led to.
    """

    run: str
    overrides: list[str]
    status: str = "waiting"
    exit_code: int | None = None
    headline: dict[str, float] = field(default_factory=dict)
    policy: str | None = None


def report(folder: Path, config_dir: Path | None = None) -> int:
    """Print how each job of a sweep ended and how to rerun those that failed; return the exit code.

    Args:
        folder: the sweep's directory.
        config_dir: the user's own folder of options, part of the commands.
    """
    data: dict[str, Any] = record.read_json(folder / "sweep.json") or {"jobs": []}
    jobs = [Job(**row) for row in data["jobs"]]
    if not jobs:
        say("no job was started")
        return outcome.EXIT_FAILED
    shared = set.intersection(*(set(j.overrides) for j in jobs)) if len(jobs) > 1 else set()
    rows = [("job", "overrides", "status", "headline"), *(_row(j, shared) for j in jobs)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    say("")
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    failed = [j for j in jobs if j.status != "finished"]
    say(f"\n{len(jobs) - len(failed)} of {len(jobs)} jobs finished; {os.path.relpath(folder)}/sweep.json lists them")
    if failed:
        say("To rerun only the others:")
    for job in failed:
        say(f"  {_again(folder, job, config_dir)}")
    if data.get("signal"):
        return outcome.signalled(int(data["signal"])).exit_code
    return outcome.EXIT_FAILED if failed else 0


def _again(folder: Path, job: Job, config_dir: Path | None) -> str:
    """Return the command that continues a job that was stopped, or else starts it anew with the same policy."""
    run = Run(folder / job.run)
    if job.status in ("killed", "preempted") and (run.checkpoints / "last.pt").exists():
        return outcome.next_command(run, job.status, job.exit_code or outcome.EXIT_FAILED)
    own = ["--config-dir", str(config_dir)] if config_dir else []
    policy = os.path.relpath(job.policy) if job.policy else ""
    quoted = policy if re.fullmatch(r"[\w/.@+-]+", policy) else f"'{policy}'"
    overrides = [f"policy={quoted}" if policy and o.startswith("policy=") else o for o in job.overrides]
    return f"python launch.py {shlex.join([*own, *overrides])}"


def _row(job: Job, shared: set[str]) -> tuple[str, str, str, str]:
    swept = " ".join(o for o in job.overrides if o not in shared)
    status = job.status if job.exit_code in (0, None) else f"{job.status} ({job.exit_code})"
    name, value = next(iter(job.headline.items()), ("", None))
    return job.run.rpartition(".")[2], swept, status, f"{name} {value:.4g}" if value is not None else ""
