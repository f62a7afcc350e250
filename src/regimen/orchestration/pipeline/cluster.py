"""Run a pipeline on a scheduler: submit the whole graph at once, with dependencies between jobs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from regimen.display.console import say
from regimen.orchestration import job_table
from regimen.orchestration.new_run import create_run
from regimen.orchestration.pipeline import record as step_status
from regimen.orchestration.pipeline.jobs import ROOT, Job, prepare
from regimen.orchestration.pipeline.record import PipelineRecord
from regimen.orchestration.pipeline.reuse import (
    DONE,
    RESUMABLE,
    RUNNING,
    TO_DO,
    ExistingRun,
    in_progress,
    plan,
    references,
)
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import RunRecord
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system.errors import PreflightError


def reconcile(rows: Sequence[RunSummary]) -> bool:
    """Correct the records of runs whose job no longer exists; return whether any run was checked.

    Args:
        rows: all runs.
    """
    waiting = [row for row in rows if row.status.may_have_job and row.queue and row.queue.is_scheduled]
    if not waiting:
        return False
    from regimen.orchestration.slurm import reconcile

    try:
        reconcile.reconcile(Run.open(row.dir) for row in waiting)
    except PreflightError as error:
        say(f"warning: {error}")
    return True


class ClusterPipeline:
    """The steps of one pipeline, submitted to the scheduler.

    Args:
        jobs: all steps, sorted topologically.
        record: record of the pipeline.
    """

    def __init__(self, jobs: list[Job], record: PipelineRecord) -> None:
        self.jobs, self.record = jobs, record
        self.existing: dict[str, ExistingRun] = {}
        self.runs: dict[str, Run] = {}
        self.job_ids: dict[str, str] = {}

    def submit(self) -> int:
        """Submit the steps that are neither done nor in progress; return the number of submitted runs.

        Raises:
            PreflightError: the scheduler accepts no job.
        """
        for job in self.jobs:
            job.freeze_code()
        self.existing = plan(self.jobs)
        for job in self.jobs:
            self._reuse(job)
        new = [job for job in self.jobs if self.existing[job.name].state in (TO_DO, RESUMABLE)]
        while new:
            level = [job for job in new if not any(other.name in job.node.after for other in new)]
            new = [job for job in new if job not in level]
            self._submit_level([job for job in level if not self._blocked(job)])
        self.record.write()
        return len(self.job_ids)

    def refresh(self) -> None:
        """Update the steps from the records of their runs."""
        rows = {row.id: row for row in Index().rows()}
        for step in self.record.steps.values():
            row = rows.get(str(step.run))
            if row is None or step.status == step_status.REUSED:
                continue
            step.take(row)
            step.status = _status(row)
            parents = [self.record.steps[name] for name in step.after]
            failed = next((parent for parent in parents if not (parent.is_done or parent.is_open)), None)
            if failed and row.supervisor is None and not (row.status.is_open or row.status == Status.FINISHED):
                step.status = step_status.blocked_by(failed)
        self.record.write()

    def _reuse(self, job: Job) -> None:
        """Record the run of a step that is done or in progress."""
        existing, step = self.existing[job.name], self.record.steps[job.name]
        if existing.row is None or existing.state not in (DONE, RUNNING):
            return
        self.runs[job.name] = Run.open(existing.row.dir)
        step.run, step.dir = existing.row.id, os.path.relpath(existing.row.dir)
        step.take(existing.row)
        step.status = step_status.REUSED if existing.state == DONE else _status(existing.row)
        say(f"{step.status:<9} {step.name}  {step.dir}")

    def _blocked(self, job: Job) -> bool:
        """Return whether the job of an input was refused by the scheduler; mark the step `blocked` then."""
        step = self.record.steps[job.name]
        lost = next((name for name in job.node.after if name not in self.runs), None)
        if lost:
            step.status = step_status.BLOCKED + lost
        return lost is not None

    def _submit_level(self, level: list[Job]) -> None:
        """Submit steps whose inputs are submitted or done; they do not depend on each other."""
        from regimen.orchestration.slurm.submit import submit

        runs = {job.name: self._run_of(job) for job in level}
        if not runs:
            return
        after = {run.id: self._parent_jobs(job) for job, run in zip(level, runs.values(), strict=True)}
        jobs = submit(list(runs.values()), {run: parents for run, parents in after.items() if parents})
        for name, run in runs.items():
            step = self.record.steps[name]
            step.run, step.dir = run.id, os.path.relpath(run.dir)
            step.status = Status.QUEUED if run.id in jobs else Status.FAILED
            if run.id in jobs:
                self.runs[name], self.job_ids[name] = run, jobs[run.id]
                say(f"submitted {name}  {step.dir} as job {jobs[run.id]}")

    def _parent_jobs(self, job: Job) -> list[str]:
        """Return the scheduler's jobs that must succeed before a step starts."""
        parents = []
        for name in job.node.after:
            row = self.existing[name].row
            if name in self.job_ids:
                parents.append(self.job_ids[name])
            elif row is not None and self.existing[name].state == RUNNING:
                parents.append(str(row.queue.job if row.queue else None))
        return parents

    def _run_of(self, job: Job) -> Run:
        """Return the run that a step continues, or a new one whose inputs may be pending."""
        existing = self.existing[job.name]
        if existing.state == RESUMABLE and existing.row is not None:
            run = Run.open(existing.row.dir)
            run.change(lambda record: self._queue_again(record, job))
            return run
        dirs = {name: ExistingRun(RUNNING, RunSummary(run.id, path=str(run.dir))) for name, run in self.runs.items()}
        inputs = references(job, dirs) or {}
        pending = any(self.existing[name].state != DONE for name in job.node.after)
        prepared = prepare(job, self.jobs, inputs, pending)
        if pending:
            prepared.report.parents = [self.runs[name].id for name in job.node.after]
        return create_run(
            prepared.composed,
            ROOT,
            prepared.report,
            status=Status.QUEUED,
            queue=job_table.local_queue(),
            pipeline=self.record.step_entry(job.name),
            code=job.code,
        )

    @staticmethod
    def _queue_again(record: RunRecord, job: Job) -> None:
        record.queue_again(job_table.local_queue())
        record.code = record.code or job.code


def _status(row: RunSummary) -> Status:
    """Return the status of a run, `queued` for one that Slurm will requeue."""
    return Status.QUEUED if row.status == Status.PREEMPTED and in_progress(row) else row.status


def problems(jobs: list[Job], existing: dict[str, ExistingRun]) -> list[str]:
    """Return why these steps cannot be submitted to a scheduler, one line for each reason.

    Args:
        jobs: all steps.
        existing: the run of each step.
    """
    scheduler = jobs[0].composed.config.hardware.scheduler
    if scheduler == "submitit_local" and any(job.node.inputs for job in jobs):
        return [
            "hardware.scheduler=submitit_local starts all jobs at once, but steps of this pipeline depend on others: "
            "choose hardware=cpu (the launcher starts them in order) or hardware=slurm."
        ]
    rows = {
        name: k.row
        for name, k in existing.items()
        if k.state == RUNNING and k.row and not (k.row.queue and k.row.queue.kind == "slurm")
    }
    return [
        f"{job.at}: step `{name}` is in progress as run {rows[name].id}, which is no Slurm job. "
        "Wait until it has finished, then repeat the command."
        for job in jobs
        for name in job.node.after
        if name in rows
    ]
