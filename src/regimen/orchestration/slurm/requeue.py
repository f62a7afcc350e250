"""Requeue a job after its time limit or a preemption."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

from regimen.runs.run import Run
from regimen.system import files, signals

TIME_LIMIT, PREEMPTED = "time limit", "preempted"


def requeue_if_preempted(run: Run, code: int) -> int:
    """Requeue the job if the scheduler ended the attempt; return the exit code of the job.

    Args:
        run: run whose supervisor has ended.
        code: exit code of the supervisor.
    """
    cause = _cause(code)
    if not cause:
        return code
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # `scontrol requeue` sends them to this process
    step, queue = last_step(run), run.info["queue"] or {}
    refusal = why_not_requeued(cause, step, queue, _bound(run))
    if not refusal:
        _record(run, cause, step, again=True)
        refusal = _request_requeue()
    if refusal:
        _record(run, cause, step, again=False, refusal=refusal)
    print(f"{cause}: {refusal or 'the job is requeued'}", flush=True)
    return signals.EXIT_PREEMPTED


def begin(run: Run) -> None:
    """Remove `queue.again` from the record at the start of an attempt."""
    if "again" in (run.info["queue"] or {}):
        run.amend(lambda info: {"queue": {k: v for k, v in info["queue"].items() if k != "again"}})


def last_step(run: Run) -> int:
    """Return the step at which the last attempt stopped, 0 if unknown."""
    error = files.read_json(run.logs / "error.json") or {}
    if error.get("kind") == "StopRequested":
        return int(error["step"])
    return max((int(f.stem.removeprefix("step_")) for f in run.checkpoints.glob("step_*.pt")), default=0)


def slurm_job() -> str | None:
    """Return the id of the Slurm job that submitit started here, None for `submitit_local` within a Slurm job."""
    return os.environ.get("SLURM_JOB_ID") if os.environ.get("SUBMITIT_EXECUTOR") == "slurm" else None


def _cause(code: int) -> str:
    """Return why the scheduler ended the attempt, empty if the scheduler did not end it."""
    if code not in (signals.EXIT_PREEMPTED, 128 + signal.SIGTERM):
        return ""
    number = slurm_job()
    if number is None:
        return TIME_LIMIT if code == signals.EXIT_PREEMPTED else ""
    job = show_job(number)
    if job.get("JobState") == "CANCELLED":
        return ""
    if job.get("PreemptTime", "None") != "None" or job.get("JobState") == "PREEMPTED":
        return PREEMPTED
    # SIGTERM at the limit: the warning signal came too late, or not at all.
    return TIME_LIMIT if code == signals.EXIT_PREEMPTED or job.get("Reason") == "TimeLimit" else ""


def why_not_requeued(cause: str, step: int, queue: dict[str, Any], bound: int) -> str:
    """Return why the job is not requeued, empty if it is.

    Only time limits count as restarts; preemptions do not depend on the run.

    Args:
        cause: `TIME_LIMIT` or `PREEMPTED`.
        step: step at which the attempt stopped.
        queue: field `queue` of run.json.
        bound: largest number of restarts, 0 for no limit.
    """
    limits = [row for row in queue.get("restarts", []) if row["cause"] == TIME_LIMIT]
    if cause == TIME_LIMIT and limits and step <= limits[-1]["step"]:
        return (
            f"no progress since the last time limit (still at step {step}); "
            "raise hardware.submitit.timeout_min, or lower stage.checkpoint_interval"
        )
    if cause == TIME_LIMIT and bound and len(limits) >= bound:
        return f"hardware.submitit.max_num_timeout={bound} restarts are exhausted"
    return ""


def _bound(run: Run) -> int:
    import yaml

    config = yaml.safe_load(run.config_path.read_text())
    return int(config["hardware"]["submitit"].get("max_num_timeout") or 0)


def _record(run: Run, cause: str, step: int, again: bool, refusal: str = "") -> None:
    """Record that the run is preempted, and whether its job is requeued."""

    def change(info: dict[str, Any]) -> dict[str, Any]:
        queue = dict(info["queue"] or {})
        if again:
            queue["restarts"] = [*queue.get("restarts", []), {"at": files.now(), "cause": cause, "step": step}]
        then = refusal or "the job waits to continue"
        reason = str(info["reason"] or "").partition(" — ")[0]
        return {
            "status": "preempted",
            "exit_code": signals.EXIT_PREEMPTED,
            "reason": f"{cause}: {reason} — {then}",
            "queue": {**queue, "again": again},
        }

    run.amend(change)


def _request_requeue() -> str:
    """Ask Slurm to requeue this job; return why it refuses. `submitit_local` requeues without a request."""
    number = slurm_job()
    if number is None:
        return ""
    try:
        done = subprocess.run(["scontrol", "requeue", number], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"requeueing failed: {error}"
    return f"requeueing failed: {done.stderr.strip()}" if done.returncode else ""


def show_job(job: str) -> dict[str, str]:
    """Return the fields of `scontrol show job`, empty if Slurm does not respond or does not know the job."""
    try:
        done = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(word.split("=", 1) for word in done.stdout.split() if "=" in word) if done.returncode == 0 else {}
