"""How long a pipeline will take, from how long such runs took before.

Runs of the same configuration count first; where there are none, those of the same task, agent and stage, in proportion
to the env steps of trainings and collections.
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
from regimen.orchestration.pipeline.reuse import DONE, Known
from regimen.runs import signature
from regimen.runs.index.summary import RunSummary
from regimen.system import files

MOST = 20
"""Past runs looked at for one step, the newest."""

FAR = 10.0
"""Ratio of env steps from which a past run tells nothing of another."""

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def seconds(job: Job, known: Known, rows: Sequence[RunSummary]) -> float | None:
    """Return how long a job will still work, None where no such run was ever finished.

    Args:
        job: the job.
        known: what is there of it.
        rows: all runs, newest first.
    """
    if known.state == DONE:
        return 0.0
    choices = job.composed.choices
    wanted = (choices["task"], choices["agent"], choices["stage"])
    past = list(islice((r for r in rows if r.status == "finished" and (r.task, r.agent, r.stage) == wanted), MOST))
    mine = _without_seed(job.composed.config)
    times = [r.wall_s for r in past if _signature(r.dir) == mine]
    times = times or [r.wall_s * n for r in past if (n := _times_longer(job.composed.config, r.dir)) is not None]
    if not times:
        return None
    whole = statistics.median(times)
    return max(0.0, whole * (1 - _share(known.row)) if known.row is not None else whole)


def _times_longer(config: dict[str, Any], past: Path) -> float | None:
    """Return how many times as many env steps a run does as a past one, 1 where either is not known.

    None if that is too far away to tell: a run of a minute does little but start.
    """
    mine, other = env_steps(config), env_steps(_read(past) or {})
    if not mine or not other:
        return 1.0
    return mine / other if 1 / FAR <= mine / other <= FAR else None


def env_steps(config: dict[str, Any]) -> int | None:
    """Return how many env steps a training or a collection does, None for other stages.

    Args:
        config: plain.
    """
    envs, agent, stage = (config.get("env") or {}).get("num_envs"), config.get("agent") or {}, config.get("stage") or {}
    counts = {"train": (agent.get("trainer") or {}).get("timesteps"), "collect": stage.get("steps")}
    steps = counts.get((config.get("choices") or {}).get("stage", ""))
    return int(envs) * int(steps) if envs and steps else None


def total(jobs: list[Job], left: Mapping[str, float | None]) -> float:
    """Return how long all will take with at most `hardware.max_jobs` at once; unknown times count as none.

    Args:
        jobs: all of a pipeline.
        left: job -> seconds.
    """
    most = min(job.max_jobs for job in jobs)
    ended: dict[str, float] = {}
    working: list[tuple[float, str]] = []
    waiting = list(jobs)
    now = 0.0
    while waiting or working:
        for job in [j for j in waiting if all(name in ended for name in j.node.after)]:
            duration = left[job.name] or 0.0
            if duration and len(working) >= most:
                continue
            waiting.remove(job)
            heapq.heappush(working, (now + duration, job.name))
        now, name = heapq.heappop(working)
        ended[name] = now
    return now


def _share(row: RunSummary | None) -> float:
    """Return the part of its work that a run has behind it."""
    progress = files.read_json(row.dir / "progress.json") if row is not None else None
    done, whole = ((progress or {}).get(key) for key in ("iteration", "iterations"))
    return min(1.0, done / whole) if done and whole else 0.0


@functools.cache
def _signature(folder: Path) -> str | None:
    """Return the signature of a past run's configuration without seed and inputs."""
    config = _read(folder)
    return None if config is None else _without_seed(config)


@functools.cache
def _read(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of a past run, None where it cannot be read."""
    try:
        config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Loader=Loader)
    except (OSError, yaml.YAMLError):
        return None
    return config if isinstance(config, dict) else None


def _without_seed(config: dict[str, Any]) -> str:
    return signature.config_signature({**copy.deepcopy(config), "seed": 0}, {})
