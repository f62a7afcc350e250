"""Submit runs to their schedulers; runs with equal resources become one array."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from regimen.display.console import say
from regimen.orchestration.slurm import local_queue
from regimen.orchestration.slurm.executor import job_name, problems, record_job, slurm_executor
from regimen.runs import lock, outcome, resume_check
from regimen.runs.record import Outcome
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.timeouts import SLURM_ANSWER_S
from regimen.system.errors import PreflightError

MAX_ARRAY_SIZE = 1000
"""Largest array of jobs: Slurm's default limit."""

COMMANDS = ("sbatch", "srun", "squeue", "sinfo", "scancel", "scontrol")
UNAVAILABLE = "Requested node configuration is not available"
NODES_AWAY = ["sinfo", "--noheader", "--format=%D", "--states=down,drain,fail,maint"]


def check(configs: list[dict[str, Any]]) -> list[str]:
    """Return why runs cannot be submitted, one line for each reason; write nothing.

    Args:
        configs: resolved configurations; those without a scheduler are skipped.
    """
    requested = [config["hardware"] for config in configs if config["hardware"]["scheduler"]]
    different = {json.dumps(hardware, sort_keys=True): hardware for hardware in requested}
    lines = [line for hardware in different.values() for line in problems(hardware)]
    if not lines and any(hardware["scheduler"] == "slurm" for hardware in requested):
        missing = [name for name in COMMANDS if not shutil.which(name)]
        if missing:
            return [
                f"`hardware.scheduler=slurm`: {', '.join(missing)} not found on this machine. Launch where Slurm's "
                "commands are (a login node), or choose hardware=submitit_local or hardware=cpu."
            ]
        lines = [_refusal(hardware) for hardware in different.values() if hardware["scheduler"] == "slurm"]
    return list(dict.fromkeys(filter(None, lines)))


def _refusal(hardware: dict[str, Any]) -> str:
    """Return why Slurm would refuse such a job, empty if it accepts it; tested with the script to be submitted."""
    executor = slurm_executor(Path.cwd() / ".submitit", hardware, "test")
    script = executor._make_submission_file_text("true", "test")
    try:
        done = _run(["sbatch", "--test-only"], script)
        # --test-only also fails while nodes are drained; sbatch itself accepts the job then.
        refused = done.returncode != 0 and not (UNAVAILABLE in done.stderr and _run(NODES_AWAY).stdout.strip())
    except subprocess.TimeoutExpired:
        return f"Slurm does not respond: no answer from sbatch within {SLURM_ANSWER_S:.0f} s. Try `sinfo`."
    if not refused:
        return ""
    requested = ", ".join(f"{k}={v}" for k, v in hardware["submitit"].items()) or "defaults"
    error = done.stderr.strip().replace("sbatch: error: ", "").replace("\n", "; ")
    return f"Slurm refuses the job: {error}. Requested (hardware.submitit): {requested}. `sinfo` lists the nodes."


def _run(command: list[str], script: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=SLURM_ANSWER_S)


def submit(runs: list[Run], after: dict[str, list[str]] | None = None) -> dict[str, str]:
    """Submit queued runs to the schedulers of their configurations; return run id -> job.

    A run that the scheduler refuses is recorded as failed and is absent from the result.

    Args:
        runs: runs with status `queued`.
        after: run id -> jobs that must succeed first; if one fails, Slurm removes the job of the run.

    Raises:
        PreflightError: the scheduler refused all runs.
    """
    jobs: dict[str, str] = {}
    refusals: list[str] = []
    for members, hardware, code, parents in _groups(runs, after or {}):
        try:
            if hardware["scheduler"] == "slurm":
                accepted = _submit_array(members, hardware, code, parents)
            elif hardware["scheduler"] == "submitit_local":
                accepted = local_queue.start(members, hardware, code, parents)
            else:
                raise PreflightError("hardware.scheduler=null: none is named. Type python launch.py resume=<run>.")
        except Exception as error:  # submitit raises several types for errors of sbatch
            refusals.append(_record_refusal(members, error))
        else:
            jobs |= accepted
    if refusals and not jobs:
        raise PreflightError("\n".join(refusals))
    for line in refusals:
        say(line)
    return jobs


def resume(run: Run) -> int:
    """Submit a stopped run again; return an exit code.

    Args:
        run: run whose configuration names a scheduler.

    Raises:
        PreflightError: the run is running or queued, or the scheduler refuses it.
    """
    from regimen.orchestration.slurm import job_states

    config = run.config
    if lines := check([config]):
        raise PreflightError("\n".join(lines))
    where = os.path.relpath(run.dir)
    if active := job_states.reconcile([run]):
        raise PreflightError(f"{where} is already {run.status} as job {active[run.id].job}. See: regimen queue")
    if run.status == Status.FINISHED:
        say(f"already finished: {where}")
        return 0
    if not lock.is_free(run):
        raise PreflightError(f"{where} is running. Stop it first, or wait for it.")
    if run.record.supervisor is not None:
        resume_check.require_resumable(run)
    run.change(lambda record: record.queue_again(None))
    say(f"submitted: {where} as job {submit([run])[run.id]}. To follow it: regimen queue")
    return 0


Group = tuple[list[Run], dict[str, Any], str | None, list[str]]


def _groups(runs: list[Run], after: dict[str, list[str]]) -> list[Group]:
    """Group runs with equal resources, code and parents, in arrays of at most `MAX_ARRAY_SIZE`."""
    found: dict[str, Group] = {}
    for run in runs:
        hardware, code = dict(run.config["hardware"]), run.record.code
        parents = sorted(after.get(run.id, []))
        key = json.dumps([str(run.dir.parent), hardware, code, parents], sort_keys=True)
        found.setdefault(key, ([], hardware, code, parents))[0].append(run)
    return [
        (members[i : i + MAX_ARRAY_SIZE], hardware, code, parents)
        for members, hardware, code, parents in found.values()
        for i in range(0, len(members), MAX_ARRAY_SIZE)
    ]


def _submit_array(runs: list[Run], hardware: dict[str, Any], code: str | None, parents: list[str]) -> dict[str, str]:
    from regimen.orchestration.slurm.job import SlurmJob

    folder = runs[0].dir.parent / ".submitit"
    executor = slurm_executor(folder, hardware, job_name(runs), code, parents)
    with _outside_of_a_job(), redirect_stderr(io.StringIO()):  # submitit also prints the error that it raises
        jobs = executor.submit_array([SlurmJob(str(run.dir)) for run in runs])
    accepted = {run.id: str(job.job_id) for run, job in zip(runs, jobs, strict=True)}
    for run in runs:
        record_job(run, "slurm", accepted[run.id], folder, parents)
    return accepted


@contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Hide the SLURM_ variables of the job of this process: a new job would inherit them, and srun would fail."""
    hidden = [k for k in os.environ if k.startswith("SLURM_") and k != "SLURM_CONF"]
    values = {k: os.environ.pop(k) for k in hidden} if "SLURM_JOB_ID" in os.environ else {}
    try:
        yield
    finally:
        os.environ.update(values)


def _record_refusal(runs: list[Run], error: Exception) -> str:
    text = str(error).strip().replace("sbatch: error: ", "").replace("\n", "; ") or type(error).__name__
    reason = f"not started: the scheduler refused the job: {text}"
    for run in runs:
        outcome.record_end(run, Outcome(Status.FAILED, outcome.EXIT_BAD_INPUT, reason))
    names = runs[0].id if len(runs) == 1 else f"{len(runs)} runs, {runs[0].id} … {runs[-1].id}"
    return f"failed: {names}: {reason}"
