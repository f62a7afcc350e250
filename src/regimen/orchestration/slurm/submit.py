"""Giving runs to a scheduler: checked before anything is written, equal requests as one array."""

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

import yaml

from regimen.display.console import say
from regimen.orchestration.slurm import local_queue
from regimen.orchestration.slurm.executor import job_name, problems, slurm_executor
from regimen.orchestration.slurm.queue_record import note
from regimen.runs import lock, outcome
from regimen.runs.run import Run
from regimen.system.errors import PreflightError

MOST_IN_ARRAY = 1000
"""Jobs of one array: Slurm's own limit, unless a site has changed it."""

COMMANDS = ("sbatch", "srun", "squeue", "sinfo", "scancel", "scontrol")
PATIENCE_S = 60.0
UNAVAILABLE = "Requested node configuration is not available"
NODES_AWAY = ["sinfo", "--noheader", "--format=%D", "--states=down,drain,fail,maint"]


def check(configs: list[dict[str, Any]]) -> list[str]:
    """Return what speaks against giving runs to their schedulers, one line each; writes nothing.

    Args:
        configs: resolved configurations; those without a scheduler are passed over.
    """
    asked = [config["hardware"] for config in configs if config["hardware"]["scheduler"]]
    different = {json.dumps(hardware, sort_keys=True): hardware for hardware in asked}
    lines = [line for hardware in different.values() for line in problems(hardware)]
    if not lines and any(hardware["scheduler"] == "slurm" for hardware in asked):
        missing = [
            name for name in ("sbatch", "srun", "squeue", "sinfo", "scancel", "scontrol") if not shutil.which(name)
        ]
        if missing:
            return [
                f"`hardware.scheduler=slurm`: there is no {', '.join(missing)} on this machine. Launch where Slurm's "
                "commands are (a login node), or choose hardware=submitit_local or hardware=cpu."
            ]
        lines = [_refusal(hardware) for hardware in different.values() if hardware["scheduler"] == "slurm"]
    return list(dict.fromkeys(filter(None, lines)))


def _refusal(hardware: dict[str, Any]) -> str:
    """Return why Slurm would not take such a job, empty if it would; asked with the very script that will be sent."""
    executor = slurm_executor(Path.cwd() / ".submitit", hardware, "test")
    script = executor._make_submission_file_text("true", "test")
    try:
        done = _ask(["sbatch", "--test-only"], script)
        # Also said while nodes are drained, when sbatch itself takes the job for later.
        refused = done.returncode != 0 and not (UNAVAILABLE in done.stderr and _ask(NODES_AWAY).stdout.strip())
    except subprocess.TimeoutExpired:
        return f"Slurm does not answer: sbatch said nothing for {PATIENCE_S:.0f} s. Try `sinfo`."
    if not refused:
        return ""
    asked = ", ".join(f"{k}={v}" for k, v in hardware["submitit"].items()) or "nothing in particular"
    said = done.stderr.strip().replace("sbatch: error: ", "").replace("\n", "; ")
    return f"Slurm refuses the job: {said}. Asked for (hardware.submitit): {asked}. `sinfo` lists what there is."


def _ask(command: list[str], script: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=script, capture_output=True, text=True, timeout=PATIENCE_S)


def submit(runs: list[Run], after: dict[str, list[str]] | None = None) -> dict[str, str]:
    """Give queued runs to the schedulers that their configurations name; return run id -> job.

    A run that is refused after all is recorded as failed and is absent from the result.

    Args:
        runs: created with status `queued`.
        after: run id -> jobs that must have succeeded before; if one fails, the run's job is removed.

    Raises:
        PreflightError: none was taken.
    """
    jobs: dict[str, str] = {}
    refusals: list[str] = []
    for members, hardware, code, parents in _groups(runs, after or {}):
        try:
            if hardware["scheduler"] == "slurm":
                taken = _to_slurm(members, hardware, code, parents)
            else:
                taken = local_queue.start(members, hardware, code, parents)
        except Exception as error:  # submitit raises what sbatch said in errors of several kinds
            refusals.append(_record_refusal(members, error))
        else:
            jobs |= taken
    if refusals and not jobs:
        raise PreflightError("\n".join(refusals))
    for line in refusals:
        say(line)
    return jobs


def resume(run: Run) -> int:
    """Give a run that stopped to its scheduler again; return an exit code.

    Args:
        run: whose configuration names a scheduler.

    Raises:
        PreflightError: it is worked on, it waits already, or the scheduler does not take it.
    """
    from regimen.orchestration.slurm import reconcile

    config = yaml.safe_load(run.config_path.read_text())
    if lines := check([config]):
        raise PreflightError("\n".join(lines))
    where = os.path.relpath(run.dir)
    if going := reconcile.reconcile([run]):
        raise PreflightError(f"{where} is {run.status} as job {going[run.id].job} already. See: regimen queue")
    if run.status == "finished":
        say(f"finished already: {where} has nothing left to do")
        return 0
    if not lock.is_free(run):
        raise PreflightError(f"{where} is being worked on. Stop that first, or wait for it.")
    run.update(status="queued", queue=None, ended=None, exit_code=None, reason=None, signal=None)
    say(f"submitted: {where} as job {submit([run])[run.id]}. To follow it: regimen queue")
    return 0


Group = tuple[list[Run], dict[str, Any], str | None, list[str]]


def _groups(runs: list[Run], after: dict[str, list[str]]) -> list[Group]:
    """Return runs that ask for the same together, with what they ask for."""
    found: dict[str, Group] = {}
    for run in runs:
        hardware, code = _hardware(run), run.info.get("code")
        parents = sorted(after.get(run.id, []))
        key = json.dumps([str(run.dir.parent), hardware, code, parents], sort_keys=True)
        found.setdefault(key, ([], hardware, code, parents))[0].append(run)
    return [
        (members[i : i + MOST_IN_ARRAY], hardware, code, parents)
        for members, hardware, code, parents in found.values()
        for i in range(0, len(members), MOST_IN_ARRAY)
    ]


def _hardware(run: Run) -> dict[str, Any]:
    config = yaml.load(run.config_path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return dict(config["hardware"])


def _to_slurm(runs: list[Run], hardware: dict[str, Any], code: str | None, parents: list[str]) -> dict[str, str]:
    from regimen.orchestration.slurm.job import SlurmJob

    folder = runs[0].dir.parent / ".submitit"
    executor = slurm_executor(folder, hardware, job_name(runs), code, parents)
    with _outside_of_a_job(), redirect_stderr(io.StringIO()):  # submitit prints what its exception says again
        jobs = executor.submit_array([SlurmJob(str(run.dir)) for run in runs])
    taken = {run.id: str(job.job_id) for run, job in zip(runs, jobs, strict=True)}
    for run in runs:
        note(run, "slurm", taken[run.id], folder, parents)
    return taken


@contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Hide what Slurm has set for the job this process is in: the new one would inherit it, and srun refuse it."""
    hidden = [k for k in os.environ if k.startswith("SLURM_") and k != "SLURM_CONF"]
    kept = {k: os.environ.pop(k) for k in hidden} if "SLURM_JOB_ID" in os.environ else {}
    try:
        yield
    finally:
        os.environ.update(kept)


def _record_refusal(runs: list[Run], error: Exception) -> str:
    said = str(error).strip().replace("sbatch: error: ", "").replace("\n", "; ") or type(error).__name__
    reason = f"not started: the scheduler refused the job: {said}"
    for run in runs:
        outcome.record_end(run, outcome.Outcome("failed", outcome.EXIT_BAD_INPUT, reason))
    names = runs[0].id if len(runs) == 1 else f"{len(runs)} runs, {runs[0].id} … {runs[-1].id}"
    return f"failed: {names}: {reason}"
