"""`-m` and `sweep=<directory>`: check all jobs of a sweep and run them; rerun those that did not finish."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regimen.config.hydra_adapter import quoted
from regimen.display.console import say
from regimen.orchestration import dry_run
from regimen.orchestration.job_table import ROOT, WAITING, local_queue
from regimen.orchestration.new_run import check_scheduler, create_run
from regimen.orchestration.sweep.jobs import PreparedSweep, compose_all, expand, preflight_all, work
from regimen.orchestration.sweep.record import Job, SweepRecord
from regimen.orchestration.sweep.report import refusal, report
from regimen.runs import code_snapshot, create, signature
from regimen.runs.record import RunRecord, read_record
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files, signals
from regimen.system.errors import RunReferenceError, did_you_mean
from regimen.system.git import repository_state


def run(overrides: list[str], config_dirs: list[Path]) -> int:
    """Run a sweep; return the exit code, 0 if every job finished or is queued.

    Args:
        overrides: arguments, with values such as `seed=0,1,2`.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: the problems of all jobs; no job was started.
    """
    jobs = expand(overrides, config_dirs)
    reports = preflight_all(jobs, ROOT)
    check_scheduler(jobs)
    sweep = PreparedSweep(overrides, config_dirs)
    if jobs[0].config.dry_run:
        say(dry_run.describe_sweep(jobs, reports, ROOT / "<sweep>" / "<sweep>.000"))
        return 0
    for line in dict.fromkeys(line for preflight_report in reports for line in preflight_report.warnings):
        say(f"warning: {line}")
    sweep.open()
    folder = files.create_unique_dir(ROOT)
    stopped = 0
    try:
        with signals.handled(signals.leave):
            sweep.run(folder)
    except signals.Interrupted as error:
        stopped = signals.exit_code(error.number)
    finally:  # the jobs ran, even if the sweeper fails
        code = report(folder)
    return stopped or code


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
    if any(job.is_open for job in record.jobs):
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
    done = sum(job.get("status") == Status.FINISHED for job in jobs)
    return f"{folder.name}: {done} of {len(jobs)} jobs finished, {folder}"


def _unfinished_jobs(record: SweepRecord) -> list[Job]:
    """Return the jobs to rerun; print those that are skipped."""
    in_progress = _in_progress(record)
    record.refresh()
    missing = [job for job in record.jobs if not record.run(job).dir.exists()]
    broken = [job for job in record.jobs if job not in missing and not read_record(record.run(job).dir)]
    refused = {job.run: reason for job in record.jobs if job not in broken and (reason := refusal(record, job))}
    for job in broken:
        place = os.path.relpath(record.run(job).dir)
        say(f"skipped   {job.run}  has no readable run.json; to create it again remove {place}")
    in_progress |= refused
    left = [j for j in record.jobs if j not in broken and (j in missing or j.status != Status.FINISHED)]
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
    records = {name: known for name, run in runs.items() if (known := read_record(run.dir))}
    reasons = {}
    queues = {name: known.queue for name, known in records.items() if known.queue and known.queue.is_scheduled}
    if queues:
        from regimen.orchestration.slurm.job_states import reconcile

        reasons = {name: f"is queued or running as job {queues[name].job}" for name in reconcile(runs.values())}
    for name, known in records.items():
        if known.status == Status.RUNNING and RunView(runs[name].dir, known).status == Status.RUNNING:
            reasons.setdefault(name, "is still running")
    return reasons


def _restart(record: SweepRecord, jobs: list[Job]) -> None:
    """Create missing runs, reset the records of the others, and start all."""
    missing = [job for job in jobs if not record.run(job).dir.exists()]
    composed = compose_all([_arguments(job) for job in missing], record.config_dirs)
    among = [job.among or len(record.jobs) for job in missing]  # the same threads as at the first time
    reports = preflight_all(composed, record.folder, among)
    existing = [record.run(job).config for job in jobs if job not in missing]
    check_scheduler(composed, existing)
    for job in jobs:
        job.status, job.exit_code = WAITING, None
    copies = code_snapshot.SharedCopies()
    for job, new, preflight_report in zip(missing, composed, reports, strict=True):
        say(f"created   {job.run}  with the current configuration and code")
        create_run(
            new,
            record.folder,
            preflight_report,
            job.run,
            status=Status.QUEUED,
            queue=local_queue(),
            sweep=record.folder.name,
            code=copies.take(new.plain),
        )
    for job, config in zip([job for job in jobs if job not in missing], existing, strict=True):
        _reset_record(record.run(job), config)
    work(record, jobs, bool(record.run(jobs[0]).config.get("wait")))


def _arguments(job: Job) -> list[str]:
    """Return the arguments of a job, with inputs replaced by the files they were first resolved to."""
    own = [text for text in job.overrides if text.partition("=")[0] not in job.inputs]
    return [*own, *(f"{key}={quoted(value)}" for key, value in job.inputs.items())]


def _reset_record(run: Run, config: dict[str, Any]) -> None:
    """Reset the record of a run so that it can be started; its frozen configuration stays."""
    record = run.record
    if record.status.is_final or not (record.code and Path(record.code).is_dir()):  # it failed with its snapshot
        current = str(code_snapshot.take(config))
        if current != record.code:
            say(f"code      {run.id}  reruns with the current code")
            _take_code(run, config, current)
    if record.supervisor is None or config["hardware"].get("scheduler"):
        run.change(lambda record: record.queue_again(local_queue()))


def _take_code(run: Run, config: dict[str, Any], code: str) -> None:
    """Record the code snapshot that a run works from now on."""
    git = repository_state(Path(__file__).parent).state
    has_checkpoint = (run.checkpoints / "last.pt").exists()

    def alter(record: RunRecord) -> None:
        signed = create.sign(config, record.inputs, record.pending, code)
        if has_checkpoint:
            signed.code = signature.continued(record.signature.code, str(signed.code))
        record.code, record.git, record.signature = code, git, signed

    run.change(alter)
