"""Requeue a job after its time limit or a preemption."""

from __future__ import annotations

import os
import signal
import subprocess

from regimen.runs.record import RunRecord
from regimen.runs.record_parts import QueueEntry
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
    step, queue = last_step(run), run.record.queue or QueueEntry()
    bound = int(run.config["hardware"]["submitit"].get("max_num_timeout") or 0)
    refusal = why_not_requeued(cause, step, queue, bound)
    if not refusal:
        run.change(lambda record: record.preempt(cause, step, signals.EXIT_PREEMPTED))
        refusal = _request_requeue()
    if refusal:
        run.change(lambda record: record.preempt(cause, step, signals.EXIT_PREEMPTED, refusal))
    print(f"{cause}: {refusal or 'the job is requeued'}", flush=True)
    return signals.EXIT_PREEMPTED


def begin(run: Run) -> None:
    """Remove `queue.again` from the record at the start of an attempt."""

    def alter(record: RunRecord) -> None:
        if record.queue is not None:
            record.queue.again = None

    queue = run.record.queue
    if queue is not None and queue.again is not None:
        run.change(alter)


def last_step(run: Run) -> int:
    """Return the step at which the last attempt stopped, 0 if unknown."""
    error = files.read_json(run.logs / "error.json") or {}
    if error.get("kind") == "StopRequested":
        return int(error["step"])
    return max((int(f.stem.removeprefix("step_")) for f in run.checkpoints.glob("step_*.pt")), default=0)


def slurm_job() -> str | None:
    """Return the id of the Slurm job that submitit started here, None for `submitit_local` within a Slurm job.

    A task of an array is `<array>_<task>`: the number of its last task is that of the array, and Slurm's commands
    take it for all tasks.
    """
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


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


def why_not_requeued(cause: str, step: int, queue: QueueEntry, bound: int) -> str:
    """Return why the job is not requeued, empty if it is.

    Only time limits count as restarts; preemptions do not depend on the run.

    Args:
        cause: `TIME_LIMIT` or `PREEMPTED`.
        step: step at which the attempt stopped.
        queue: the queue of the run, with its restarts.
        bound: largest number of restarts, 0 for no limit.
    """
    limits = [restart for restart in queue.restarts if restart.cause == TIME_LIMIT]
    if cause == TIME_LIMIT and limits and step <= limits[-1].step:
        return (
            f"no progress since the last time limit (still at step {step}); "
            "raise hardware.submitit.timeout_min, or lower stage.checkpoint_interval"
        )
    if cause == TIME_LIMIT and bound and len(limits) >= bound:
        return f"hardware.submitit.max_num_timeout={bound} restarts are exhausted"
    return ""


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
    """Return the fields of `scontrol show job`, empty if Slurm does not respond or does not list the job.

    Args:
        job: one job, such as `12` or `12_3`; the number of an array would mix the fields of its tasks.
    """
    try:
        done = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(word.split("=", 1) for word in done.stdout.split() if "=" in word) if done.returncode == 0 else {}
