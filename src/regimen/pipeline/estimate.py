"""How long a pipeline will take, from how long such runs took before."""

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

from regimen import record, signature
from regimen.history.row import RunRow
from regimen.pipeline.jobs import Job
from regimen.pipeline.reuse import DONE, Known

MOST = 20
"""Past runs looked at for one step, the newest."""

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def seconds(job: Job, known: Known, rows: Sequence[RunRow]) -> float | None:
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
    same = [r for r in past if _signature(r.dir) == mine] or past
    if not same:
        return None
    whole = statistics.median(r.wall_s for r in same)
    return max(0.0, whole * (1 - _share(known.row)) if known.row is not None else whole)


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


def _share(row: RunRow | None) -> float:
    """Return the part of its work that a run has behind it."""
    progress = record.read_json(row.dir / "progress.json") if row is not None else None
    done, whole = ((progress or {}).get(key) for key in ("iteration", "iterations"))
    return min(1.0, done / whole) if done and whole else 0.0


@functools.cache
def _signature(folder: Path) -> str | None:
    """Return the signature of a past run's configuration without seed and inputs."""
    try:
        return _without_seed(yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Loader=Loader))
    except (OSError, yaml.YAMLError, TypeError, AttributeError):
        return None


def _without_seed(config: dict[str, Any]) -> str:
    return signature.config_signature({**copy.deepcopy(config), "seed": 0}, {})
