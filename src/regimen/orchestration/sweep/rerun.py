"""`sweep=<directory>`: rerun the jobs of a sweep that did not finish."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regimen.config import structured
from regimen.config.hydra_adapter import quoted
from regimen.display.console import say
from regimen.orchestration.new_run import check_scheduler, create_run
from regimen.orchestration.sweep.jobs import compose_all, preflight_all, work
from regimen.orchestration.sweep.local import queue_field
from regimen.orchestration.sweep.record import OPEN, ROOT, Job, SweepRecord
from regimen.orchestration.sweep.report import report
from regimen.runs import code_snapshot, create, signature
from regimen.runs.run import Run
from regimen.system import files, signals
from regimen.system.errors import RunReferenceError, did_you_mean
from regimen.system.git import repository_state

RERUN_WITH_CURRENT_CODE = ("failed", "diverged")
"""Statuses after which a rerun takes the current code; runs with other statuses keep their snapshot."""


def rerun(reference: str) -> int:
    """Rerun, in place, the jobs that failed, stopped, never started or lost their directory; return the exit code.

    A run with a checkpoint continues from it. A failed run continues with the current code.

    Args:
        reference: directory, id or unique beginning of the id of a sweep, or `latest`.

    Raises:
        ConfigError: the reference matches no sweep or several, another process runs the sweep, or a job is invalid.
    """
    record = SweepRecord.open(find(reference))
    stopped = 0
    with record.owned():
        detached = record.status == "submitted"
        jobs = _unfinished_jobs(record)
        if not jobs:
            return _report_submitted(record) if detached else 0
        try:
            with signals.handled(signals.leave):
                _restart(record, jobs)
        except signals.Interrupted as error:
            stopped = signals.exit_code(error.number)
        code = report(record.folder)
    return stopped or code


def _report_submitted(record: SweepRecord) -> int:
    """Report on a submitted sweep if all its jobs have ended."""
    if any(job.status in OPEN for job in record.jobs):
        return 0
    record.write("ended")
    return report(record.folder)


def find(reference: str, root: Path = ROOT) -> Path:
    """Return the directory of a sweep.

    Args:
        reference: directory, id, unique beginning of the id, or `latest`.
        root: folder of sweeps.

    Raises:
        RunReferenceError: the reference matches no sweep or several; the message lists candidates.
    """
    folder = Path(reference).expanduser()
    if (folder / "sweep.json").is_file():
        return folder
    sweeps = {file.parent.name: file.parent for file in sorted(root.glob("*/sweep.json"), reverse=True)}
    if not sweeps:
        raise RunReferenceError(f"`{reference}`: there is no sweep under {root}/. Start one with -m.")
    matches = [name for name in sweeps if name == reference] or [name for name in sweeps if name.startswith(reference)]
    if reference == "latest":
        matches = list(sweeps)[:1]
    if len(matches) == 1:
        return sweeps[matches[0]]
    if matches and reference:
        lines = "\n".join(f"  {_described(sweeps[name])}" for name in matches[:8])
        raise RunReferenceError(f"`{reference}` matches {len(matches)} sweeps; give an id or directory:\n{lines}")
    lines = "\n".join(f"  {_described(folder)}" for folder in list(sweeps.values())[:5])
    raise RunReferenceError(
        f"`{reference}` matches no sweep. {did_you_mean(reference, sweeps)} Newest sweeps:\n{lines}"
    )


def _described(folder: Path) -> str:
    jobs = (files.read_json(folder / "sweep.json") or {}).get("jobs", [])
    done = sum(job.get("status") == "finished" for job in jobs)
    return f"{folder.name}: {done} of {len(jobs)} jobs finished, {folder}"


def _unfinished_jobs(record: SweepRecord) -> list[Job]:
    """Return the jobs to rerun; print those that are skipped."""
    in_progress = _in_progress(record)
    record.refresh()
    missing = [job for job in record.jobs if not record.run(job).dir.exists()]
    broken = [job for job in record.jobs if job not in missing and not record.run(job).info]
    for job in broken:
        place = os.path.relpath(record.run(job).dir)
        say(f"skipped   {job.run}  has no readable run.json; to create it again remove {place}")
    left = [j for j in record.jobs if j not in broken and (j in missing or j.status != "finished")]
    jobs = [job for job in left if job.run not in in_progress]
    for job in left:
        if job.run in in_progress:
            say(f"skipped   {job.run}  {in_progress[job.run]}")
    if not jobs:
        skipped = len(left) + len(broken)
        why = f"{skipped} are skipped" if skipped else "all have finished"
        say(f"nothing to rerun of the {len(record.jobs)} jobs of {os.path.relpath(record.folder)}: {why}")
    return jobs


def _in_progress(record: SweepRecord) -> dict[str, str]:
    """Return run id -> reason for the runs that are running or queued."""
    from regimen.runs.history.run_view import RunView

    runs = {job.run: record.run(job) for job in record.jobs}
    infos = {name: info for name, run in runs.items() if (info := run.info)}
    reasons = {}
    if any((info.get("queue") or {}).get("kind") in ("slurm", "submitit_local") for info in infos.values()):
        from regimen.orchestration.slurm.reconcile import reconcile

        reasons = {
            name: f"is queued or running as job {infos[name]['queue']['job']}" for name in reconcile(runs.values())
        }
    for name, info in infos.items():
        if info.get("status") == "running" and RunView(runs[name].dir, info).status == "running":
            reasons.setdefault(name, "is still running")
    return reasons


def _restart(record: SweepRecord, jobs: list[Job]) -> None:
    """Create missing runs, reset the records of the others, and start all."""
    missing = [job for job in jobs if not record.run(job).dir.exists()]
    composed = compose_all([_arguments(job) for job in missing], record.config_dirs)
    reports = preflight_all(composed, record.folder)
    existing = [structured.read_plain(record.run(job).config_path) for job in jobs if job not in missing]
    check_scheduler(composed, existing)
    for job in jobs:
        job.status, job.exit_code = "waiting", None
    for job, new, preflight_report in zip(missing, composed, reports, strict=True):
        say(f"created   {job.run}  with the current configuration and code")
        fields: dict[str, Any] = {"status": "queued", "queue": queue_field(new.plain), "sweep": record.folder.name}
        create_run(new, record.folder, preflight_report, job.run, code=str(code_snapshot.take(new.plain)), **fields)
    for job, config in zip([job for job in jobs if job not in missing], existing, strict=True):
        _reset_record(record.run(job), config)
    work(record, jobs, bool(structured.read_plain(record.run(jobs[0]).config_path).get("wait")))


def _arguments(job: Job) -> list[str]:
    """Return the arguments of a job, with inputs replaced by the files they were first resolved to."""
    own = [text for text in job.overrides if text.partition("=")[0] not in job.inputs]
    return [*own, *(f"{key}={quoted(value)}" for key, value in job.inputs.items())]


def _reset_record(run: Run, config: dict[str, Any]) -> None:
    """Reset the record of a run so that it can be started; its frozen configuration stays."""
    info = run.info
    code = info.get("code")
    if info["status"] in RERUN_WITH_CURRENT_CODE or not (code and Path(code).is_dir()):
        current = str(code_snapshot.take(config))
        if current != code:
            say(f"code      {run.id}  reruns with the current code")
            info["code"] = current
            git = repository_state(Path(__file__).parent)[0]
            signed = create.sign(config, info)
            if (run.checkpoints / "last.pt").exists():
                signed["code"] = signature.continued(info["signature"].get("code"), signed["code"])
            run.update(code=current, git=git, signature=signed)
    if info["supervisor"] is None or config["hardware"].get("scheduler"):
        run.update(status="queued", queue=queue_field(config), ended=None, exit_code=None, reason=None, signal=None)
