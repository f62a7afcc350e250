"""`pipeline=<name>`: check all steps, print the plan or run the steps that are not done, report the result."""

from __future__ import annotations

from pathlib import Path

from regimen.display.console import say
from regimen.orchestration.job_table import ROOT
from regimen.orchestration.new_run import check_scheduler
from regimen.orchestration.pipeline import execution, graph, jobs, report, reuse, sizes
from regimen.orchestration.pipeline.jobs import Job
from regimen.orchestration.pipeline.record import PipelineRecord
from regimen.orchestration.pipeline.reuse import RESUMABLE, TO_DO, ExistingRun, exclusive
from regimen.runs.index.index import Index
from regimen.runs.status import Status
from regimen.system import files, signals
from regimen.system.errors import raise_if_any


def run(name: str, overrides: list[str], config_dirs: list[Path]) -> int:
    """Run a pipeline; return the exit code, 0 if every step finished or is queued.

    Args:
        name: file in `conf/pipeline`, without `.yaml`.
        overrides: options of the pipeline, and arguments for every step.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: all problems; no step was started.
    """
    pipeline, arguments = sizes.choose(graph.read(name, config_dirs), overrides)
    all_jobs = jobs.compose_all(pipeline, graph.expand(pipeline), arguments, config_dirs)
    warnings = jobs.check_all(all_jobs)
    check_scheduler([job.composed for job in all_jobs])
    rows = Index().rows()
    if execution.reconcile(rows):
        rows = Index().rows()
    existing = reuse.plan(all_jobs, rows)
    raise_if_any(execution.problems(all_jobs, existing))
    if any(job.asks("dry_run") for job in all_jobs):
        say(report.describe(pipeline, all_jobs, existing, rows))
        return 0
    for line in dict.fromkeys(warnings):
        say(f"warning: {line}")
    command = report.command_to_continue(name, overrides, config_dirs)
    if all_jobs[0].composed.config.hardware.scheduler:
        return _on_cluster(name, all_jobs, command)
    return _on_this_machine(name, all_jobs, existing, command)


def _on_this_machine(name: str, all_jobs: list[Job], existing: dict[str, ExistingRun], command: str) -> int:
    from regimen.orchestration.pipeline.execution import LocalPipeline

    record = PipelineRecord(files.create_unique_dir(ROOT), name, all_jobs)
    try:
        LocalPipeline(all_jobs, record, existing).run()
    finally:
        code = report.report(record, command)
    return signals.exit_code(record.signal) if record.signal else code


def _on_cluster(name: str, all_jobs: list[Job], command: str) -> int:
    """Submit the steps that are neither done nor in progress, and report on all."""
    from regimen.orchestration.pipeline.execution import ClusterPipeline
    from regimen.orchestration.slurm.wait import wait

    with exclusive():
        existing = reuse.plan(all_jobs)
        raise_if_any(execution.problems(all_jobs, existing))
        new = any(run.state in (TO_DO, RESUMABLE) for run in existing.values())
        earlier = None if new else _folder_of(name, existing)
        record = PipelineRecord(earlier or files.create_unique_dir(ROOT), name, all_jobs)
        pipeline = ClusterPipeline(all_jobs, record)
        if pipeline.submit() == 0:
            say("all steps are done or submitted; force=true runs them again")
    stopped = 0
    if any(job.asks("wait") for job in all_jobs):
        unfinished = [run for run in pipeline.runs.values() if run.status != Status.FINISHED]
        stopped = wait(unfinished) if unfinished else 0
        pipeline.refresh()
    if all(not step.is_open for step in record.steps.values()):
        record.end(None)
    return report.report(record, command) if stopped < 128 else stopped


def _folder_of(name: str, existing: dict[str, ExistingRun]) -> Path | None:
    """Return the directory of the earlier pipeline that submitted the existing runs."""
    pipelines = [run.row.pipeline for run in existing.values() if run.row is not None and run.row.pipeline]
    folders = [ROOT / str(pipeline.id) for pipeline in pipelines if pipeline.name == name]
    return next((folder for folder in reversed(folders) if folder.is_dir()), None)
