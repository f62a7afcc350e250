"""After an attempt: whether the job goes on later, and asking for it."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

from regimen.runs.run import Run
from regimen.system import files, signals

TIME_LIMIT, PREEMPTED = "time limit", "preempted"


def after(run: Run, code: int) -> int:
    """Have the job started again if the scheduler took the machine away; return the exit code of the job.

    Args:
        run: as its supervisor left it.
        code: the supervisor's exit code.
    """
    cause = _cause(code)
    if not cause:
        return code
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the order to go ends this process by them
    step, queue = reached(run), run.info["queue"] or {}
    refusal = _no_more(cause, step, queue, _bound(run))
    if not refusal:
        _record(run, cause, step, again=True)
        refusal = _ask()
    if refusal:
        _record(run, cause, step, again=False, refusal=refusal)
    print(f"{cause}: {refusal or 'the job goes on when the scheduler lets it'}", flush=True)
    return signals.EXIT_PREEMPTED


def begin(run: Run) -> None:
    """Forget that the run waited to go on: it does now."""
    if "again" in (run.info["queue"] or {}):
        run.amend(lambda info: {"queue": {k: v for k, v in info["queue"].items() if k != "again"}})


def reached(run: Run) -> int:
    """Return the step at which the last attempt stopped, 0 where nothing tells."""
    error = files.read_json(run.logs / "error.json") or {}
    if error.get("kind") == "StopRequested":
        return int(error["step"])
    return max((int(f.stem.removeprefix("step_")) for f in run.checkpoints.glob("step_*.pt")), default=0)


def slurm_job() -> str | None:
    """Return the number of the Slurm job that submitit started here; a job of this machine may be inside of one."""
    return os.environ.get("SLURM_JOB_ID") if os.environ.get("SUBMITIT_EXECUTOR") == "slurm" else None


def _cause(code: int) -> str:
    """Return why the scheduler ended the attempt, or nothing if it was not the scheduler."""
    if code not in (signals.EXIT_PREEMPTED, 128 + signal.SIGTERM):
        return ""
    number = slurm_job()
    if number is None:
        return TIME_LIMIT if code == signals.EXIT_PREEMPTED else ""
    job = show(number)
    if job.get("JobState") == "CANCELLED":
        return ""
    if job.get("PreemptTime", "None") != "None" or job.get("JobState") == "PREEMPTED":
        return PREEMPTED
    # SIGTERM at the limit: the notice of it came too late to be used, or was none.
    return TIME_LIMIT if code == signals.EXIT_PREEMPTED or job.get("Reason") == "TimeLimit" else ""


def _no_more(cause: str, step: int, queue: dict[str, Any], bound: int) -> str:
    """Return why the chain ends here, empty if it goes on.

    Preemption is not the run's doing, so only time limits are counted.
    """
    limits = [row for row in queue.get("restarts", []) if row["cause"] == TIME_LIMIT]
    if cause == TIME_LIMIT and limits and step <= limits[-1]["step"]:
        return (
            f"no progress since the time limit before (step {step} again); "
            "raise hardware.submitit.timeout_min, or lower stage.checkpoint_interval"
        )
    if cause == TIME_LIMIT and bound and len(limits) >= bound:
        return f"hardware.submitit.max_num_timeout={bound} restarts are used up"
    return ""


def _bound(run: Run) -> int:
    import yaml

    config = yaml.safe_load(run.config_path.read_text())
    return int(config["hardware"]["submitit"].get("max_num_timeout") or 0)


def _record(run: Run, cause: str, step: int, again: bool, refusal: str = "") -> None:
    """Write that the run is preempted, and whether it goes on."""

    def change(info: dict[str, Any]) -> dict[str, Any]:
        queue = dict(info["queue"] or {})
        if again:
            queue["restarts"] = [*queue.get("restarts", []), {"at": files.now(), "cause": cause, "step": step}]
        what = refusal or "the job waits to go on"
        said = str(info["reason"] or "").partition(" — ")[0]
        return {
            "status": "preempted",
            "exit_code": signals.EXIT_PREEMPTED,
            "reason": f"{cause}: {said} — {what}",
            "queue": {**queue, "again": again},
        }

    run.amend(change)


def _ask() -> str:
    """Ask Slurm to start this job again; return why it would not. On this machine the queue's process does it."""
    number = slurm_job()
    if number is None:
        return ""
    try:
        done = subprocess.run(["scontrol", "requeue", number], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it could not be requeued: {error}"
    return f"it could not be requeued: {done.stderr.strip()}" if done.returncode else ""


def show(job: str) -> dict[str, str]:
    """Return the fields of `scontrol show job`, none where Slurm does not answer or does not know it."""
    try:
        done = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(word.split("=", 1) for word in done.stdout.split() if "=" in word) if done.returncode == 0 else {}
