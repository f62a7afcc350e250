"""Estimate the duration of a pipeline from past runs.

Runs with the same configuration are used if there are any; otherwise runs of the same task, agent and stage, scaled by
the number of env steps of trainings and collections.
"""

from __future__ import annotations

import copy
import functools
import heapq
import statistics
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from regimen.orchestration.pipeline.jobs import Job
from regimen.orchestration.pipeline.reuse import DONE, ExistingRun
from regimen.runs import signature
from regimen.runs.index.summary import RunSummary
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files

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
        config = Run(folder).config
    except (OSError, yaml.YAMLError):
        return None
    return config if isinstance(config, dict) else None


def _without_seed(config: dict[str, Any]) -> str:
    return signature.config_signature({**copy.deepcopy(config), "seed": 0}, {})
