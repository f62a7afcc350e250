"""Run a pipeline: on this machine each step when its inputs exist; on a scheduler the whole graph at once.

`hardware.max_jobs` steps run at once here. Jobs of a scheduler depend on the jobs of their inputs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from regimen.display.console import say
from regimen.orchestration import job_table
from regimen.orchestration.memory_check import InsufficientMemoryError
from regimen.orchestration.new_run import create_run
from regimen.orchestration.pipeline import record as step_status
from regimen.orchestration.pipeline.jobs import ROOT, Job, PreparedJob, prepare
from regimen.orchestration.pipeline.record import PipelineRecord, Step
from regimen.orchestration.pipeline.reuse import (
    DONE,
    RESUMABLE,
    RUNNING,
    TO_DO,
    ExistingRun,
    exclusive,
    find,
    in_progress,
    other_scheduler,
    plan,
    references,
)
from regimen.orchestration.supervisor_pool import POLL_S, FinishedSupervisor, LocalJobs
from regimen.runs.code_snapshot import SharedCopies
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import RunRecord
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.timeouts import SUPERVISOR_START_S
from regimen.system.errors import PreflightError, RegimenError, raise_if_any

OTHER_RUNS_S = 1.0
"""Interval in s between checks of runs of other processes."""

SCHEDULER_S = 10.0
"""Additional interval in s if a scheduler has one of them: each query loads a shared machine."""


class LocalPipeline(LocalJobs):
    """The steps of one pipeline, started and watched by this process.

    Args:
        jobs: all steps, sorted topologically.
        record: record of the pipeline.
        existing: the existing run of each step.
    """

    def __init__(self, jobs: list[Job], record: PipelineRecord, existing: Mapping[str, ExistingRun]) -> None:
        super().__init__()
        self.jobs, self.record = jobs, record
        self.nodes: dict[str, str] = {}
        self.others: dict[str, str] = {}
        self.without_memory: set[str] = set()
        """Steps that wait for memory, until a running one has ended."""
        self._check_due = 0.0
        copies = SharedCopies()
        for job in jobs:
            job.freeze_code(copies)
            if existing[job.name].state == DONE:
                self._reuse(job, existing[job.name].row)
        self.record.write()

    def _finish(self) -> None:
        for step in self._steps_with(job_table.WAITING):
            step.status = job_table.NOT_STARTED
        self.record.end(self.stopped)

    def _is_unfinished(self) -> bool:
        open_ = bool(self.others) or any(True for _ in self._steps_with(job_table.WAITING))
        return bool(self.supervisors.running) or (open_ and self.stopped is None)

    def _steps_with(self, status: str) -> Iterator[Step]:
        return (step for step in self.record.steps.values() if step.status == status and step.name not in self.others)

    def _start_ready(self) -> None:
        """Start the steps whose inputs exist; mark those `blocked` that depend on a failed step."""
        for job in self.jobs:
            step = self.record.steps[job.name]
            waits = job.name in self.others or job.name in self.without_memory
            if step.status != job_table.WAITING or waits or self.stopped is not None:
                continue
            parents = [self.record.steps[name] for name in step.after]
            if failed := next((parent for parent in parents if not (parent.is_done or parent.is_open)), None):
                self._close(step, step_status.blocked_by(failed))
            elif all(parent.is_done for parent in parents) and self._has_room(job):
                self._begin(job, step)

    def _has_room(self, job: Job) -> bool:
        running = [j for j in self.jobs if j.name in self.nodes.values()]
        return len(running) < min(j.max_jobs for j in [*running, job])

    def _begin(self, job: Job, step: Step) -> None:
        """Reuse, resume or wait for the existing run, or start a new one; an error marks the step `failed`.

        A step without memory waits while others of this pipeline run.
        """
        try:
            inputs = self._inputs(job)
            with exclusive():
                forced = job.asks("force")
                existing = ExistingRun(TO_DO) if forced else find(job, self.jobs, inputs, Index().rows())
                self._use_or_start(job, step, inputs, existing)
        except (RegimenError, OSError) as error:
            if isinstance(error, InsufficientMemoryError) and self.nodes:
                self.without_memory.add(job.name)
                say(f"waiting   {step.name}  until a running step has ended: {error}")
                return
            step.reason = f"not started: {error}"
            self._close(step, Status.FAILED)

    def _use_or_start(self, job: Job, step: Step, inputs: dict[str, str], existing: ExistingRun) -> None:
        if existing.state == DONE:
            self._reuse(job, existing.row)
        elif existing.state == RUNNING and existing.row is not None:
            self._set_run(step, existing.row.dir.resolve())
            self.others[job.name] = existing.row.id
            say(f"waiting   {step.name}  for {existing.row.id}, which runs the same configuration")
        elif existing.state == RESUMABLE and existing.row is not None:
            raise_if_any(list(_begun_elsewhere(job, existing)))
            self._start(job, step, Run.open(existing.row.dir), "resumed")
            self._wait_for_supervisor(step)
        else:
            run = _create(prepare(job, self.jobs, inputs), self.record, job)
            self._start(job, step, run, "started")
        self.record.write()

    def _start(self, job: Job, step: Step, run: Run, how: str) -> None:
        self.supervisors.start(run)
        self.nodes[run.id] = job.name
        step.status = Status.RUNNING
        self._set_run(step, run.dir)
        say(f"{how:<9} {step.name}  {step.dir}")

    def _wait_for_supervisor(self, step: Step) -> None:
        """Wait until the supervisor has recorded itself, so that no other pipeline resumes the same run."""
        run, process = self.supervisors.running[str(step.run)]
        end = time.monotonic() + SUPERVISOR_START_S
        while time.monotonic() < end and process.poll() is None:
            supervisor = run.record.supervisor
            if supervisor and supervisor.pid == process.pid:
                return
            time.sleep(POLL_S)

    def _inputs(self, job: Job) -> dict[str, str]:
        """Return input name -> reference to the run that produced it."""
        dirs = {name: str(Path(str(self.record.steps[name].dir)).resolve()) for name in job.node.after}
        links = job.node.inputs.items()
        return {name: link.reference(dirs.get(link.node, "")) for name, link in links}

    def _record_ends(self, ended: list[FinishedSupervisor]) -> None:
        for end in ended:
            self.without_memory.clear()
            step = self.record.steps[self.nodes.pop(end.run.id)]
            step.take(end.record)
            step.exit_code = end.exit_code
            self._close(step, end.record.status)

    def _show_progress(self) -> None:
        self._check_other_runs()
        super()._show_progress()

    def _check_other_runs(self) -> None:
        """Check the runs of other processes; a step whose run did not finish is attempted here again."""
        if not self.others or time.monotonic() < self._check_due:
            return
        self._check_due = time.monotonic() + OTHER_RUNS_S
        rows = {row.id: row for row in Index().rows()}
        known = [rows[run] for run in self.others.values() if run in rows]
        if scheduled := [row for row in known if row.queue and row.queue.is_scheduled]:
            reconcile(scheduled)  # the index shows the correction at the next check
            self._check_due += SCHEDULER_S
        for node, run in list(self.others.items()):
            if run not in rows or not in_progress(rows[run]):
                del self.others[node]  # the next attempt to start finds it finished or resumable
                self.record.steps[node].run = self.record.steps[node].dir = None

    def _reuse(self, job: Job, row: RunSummary | None) -> None:
        assert row is not None
        step = self.record.steps[job.name]
        self._set_run(step, row.dir)
        step.take(row)
        step.status = step_status.REUSED
        say(f"reused    {step.name}  {step.dir}")

    def _set_run(self, step: Step, folder: Path) -> None:
        step.run, step.dir = folder.name, os.path.relpath(folder)

    def _close(self, step: Step, status: str) -> None:
        step.status = status
        code = f"  exit code {step.exit_code}" if step.exit_code is not None else ""
        say(f"{status:<9} {step.name}{code}{f'  {step.reason}' if step.reason else ''}")
        self.record.write()


def reconcile(rows: Sequence[RunSummary]) -> bool:
    """Correct the records of runs whose job no longer exists; return whether any run was checked.

    Args:
        rows: all runs.
    """
    waiting = [row for row in rows if row.status.may_have_job and row.queue and row.queue.is_scheduled]
    if not waiting:
        return False
    from regimen.orchestration.slurm import job_states

    try:
        job_states.reconcile(Run.open(row.dir) for row in waiting)
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
        copies = SharedCopies()
        for job in self.jobs:
            job.freeze_code(copies)
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
        return _create(prepared, self.record, job)

    @staticmethod
    def _queue_again(record: RunRecord, job: Job) -> None:
        record.queue_again(job_table.local_queue())
        record.code = record.code or job.code


def _create(prepared: PreparedJob, record: PipelineRecord, job: Job) -> Run:
    """Create the queued run of a step."""
    return create_run(
        prepared.composed,
        ROOT,
        prepared.report,
        status=Status.QUEUED,
        queue=job_table.local_queue(),
        pipeline=record.step_entry(job.name),
        code=job.code,
    )


def _status(row: RunSummary) -> Status:
    """Return the status of a run, `queued` for one that Slurm will requeue."""
    return Status.QUEUED if row.status == Status.PREEMPTED and in_progress(row) else row.status


def problems(jobs: list[Job], existing: dict[str, ExistingRun]) -> list[str]:
    """Return why these steps cannot be started where the command asks for it, one line for each reason.

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
    lines = [line for job in jobs for line in _begun_elsewhere(job, existing[job.name])]
    return lines + (list(_in_progress_here(jobs, existing)) if scheduler else [])


def _begun_elsewhere(job: Job, existing: ExistingRun) -> Iterator[str]:
    """Yield a line if a step would continue a run of another scheduler, whose frozen configuration it would keep."""
    row, wanted = existing.row, job.composed.config.hardware.scheduler
    if existing.state == RESUMABLE and row is not None and (frozen := other_scheduler(row, wanted)):
        yield (
            f"{job.at}: step `{job.name}` was begun as run {row.id} with {frozen} and continues there alone, not with "
            f"hardware.scheduler={wanted or 'null'}. Give the hardware of the run, or finish it first "
            f"(python launch.py resume={row.id}), or add force=true to make all steps again."
        )


def _in_progress_here(jobs: list[Job], existing: dict[str, ExistingRun]) -> Iterator[str]:
    """Yield a line for each step that a job of Slurm would have to wait for, and whose run is no such job."""
    rows = {
        name: k.row
        for name, k in existing.items()
        if k.state == RUNNING and k.row and not (k.row.queue and k.row.queue.kind == "slurm")
    }
    for job in jobs:
        for name in job.node.after:
            if name in rows:
                yield (
                    f"{job.at}: step `{name}` is in progress as run {rows[name].id}, which is no Slurm job. "
                    "Wait until it has finished, then repeat the command."
                )
