"""A pipeline on Slurm: the whole graph is given away at once, each step held back until its inputs are made."""

from __future__ import annotations

import os
from collections.abc import Sequence

from regimen.cli.launch import create_run
from regimen.display.console import say
from regimen.orchestration.pipeline import record as words
from regimen.orchestration.pipeline.jobs import ROOT, Job, prepare
from regimen.orchestration.pipeline.plan import plan, references
from regimen.orchestration.pipeline.record import Book
from regimen.orchestration.pipeline.reuse import DONE, RESUMABLE, RUNNING, TO_DO, Known, at_work
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.run import Run
from regimen.system.errors import PreflightError

SCHEDULERS = ("slurm", "submitit_local")


def reconcile(rows: Sequence[RunSummary]) -> bool:
    """Correct the records of runs whose job is gone; return whether there were runs to ask about.

    Args:
        rows: all runs.
    """
    waiting = [r for r in rows if r.status in ("queued", "running", "preempted") and kind(r) in SCHEDULERS]
    if not waiting:
        return False
    from regimen.orchestration.slurm import reconcile

    try:
        reconcile.reconcile(Run.open(row.dir) for row in waiting)
    except PreflightError as error:
        say(f"warning: {error}")
    return True


def kind(row: RunSummary) -> str | None:
    """Return who starts a run: `slurm`, `submitit_local`, `local` or None."""
    return (row.queue or {}).get("kind")


class ClusterPipeline:
    """The steps of one command, given to the scheduler.

    Args:
        jobs: all steps, in an order in which they can be done.
        book: their record.
    """

    def __init__(self, jobs: list[Job], book: Book) -> None:
        self.jobs, self.book = jobs, book
        self.known: dict[str, Known] = {}
        self.runs: dict[str, Run] = {}
        self.tickets: dict[str, str] = {}

    def submit(self) -> int:
        """Give away what is not done and nobody works on; return how many runs that were.

        Raises:
            PreflightError: the scheduler takes nothing, or a run that others wait for is worked on elsewhere.
        """
        for job in self.jobs:
            job.freeze_code()
        self.known = plan(self.jobs)
        for job in self.jobs:
            self._keep(job)
        new = [job for job in self.jobs if self.known[job.name].state in (TO_DO, RESUMABLE)]
        while new:
            level = [job for job in new if not any(other.name in job.node.after for other in new)]
            new = [job for job in new if job not in level]
            self._give([job for job in level if not self._blocked(job)])
        self.book.write()
        return len(self.tickets)

    def refresh(self) -> None:
        """Take over what the runs say now."""
        rows = {row.id: row for row in Index().rows()}
        for step in self.book.steps.values():
            row = rows.get(str(step.run))
            if row is None or step.status == words.REUSED:
                continue
            step.take(row)
            step.status = _status(row)
            held = next((p for p in step.after if self.book.steps[p].status not in (*words.DONE, *words.OPEN)), None)
            if held and row.supervisor is None and row.status not in (*words.DONE, *words.OPEN):
                before = self.book.steps[held].status
                step.status = before if before.startswith(words.BLOCKED) else words.BLOCKED + held
        self.book.write()

    def _keep(self, job: Job) -> None:
        """Note the run that there is already."""
        known, step = self.known[job.name], self.book.steps[job.name]
        if known.row is None or known.state not in (DONE, RUNNING):
            return
        self.runs[job.name] = Run.open(known.row.dir)
        step.run, step.dir = known.row.id, os.path.relpath(known.row.dir)
        step.take(known.row)
        step.status = words.REUSED if known.state == DONE else _status(known.row)
        say(f"{step.status:<9} {step.name}  {step.dir}")

    def _blocked(self, job: Job) -> bool:
        """Close a step whose input was refused by the scheduler."""
        step = self.book.steps[job.name]
        lost = next((name for name in job.node.after if name not in self.runs), None)
        if lost:
            step.status = words.BLOCKED + lost
        return lost is not None

    def _give(self, level: list[Job]) -> None:
        from regimen.orchestration.slurm.submit import submit

        made = {job.name: self._make(job) for job in level}
        if not made:
            return
        after = {run.id: self._wait_for(job) for job, run in zip(level, made.values(), strict=True)}
        tickets = submit(list(made.values()), {run: jobs for run, jobs in after.items() if jobs})
        for name, run in made.items():
            step = self.book.steps[name]
            step.run, step.dir = run.id, os.path.relpath(run.dir)
            step.status = words.QUEUED if run.id in tickets else words.FAILED
            if run.id in tickets:
                self.runs[name], self.tickets[name] = run, tickets[run.id]
                say(f"submitted {name}  {step.dir} as job {tickets[run.id]}")

    def _wait_for(self, job: Job) -> list[str]:
        """Return the jobs that must have succeeded before a step starts."""
        found = []
        for name in job.node.after:
            row = self.known[name].row
            if name in self.tickets:
                found.append(self.tickets[name])
            elif row is not None and self.known[name].state == RUNNING:
                found.append(str((row.queue or {})["job"]))
        return found

    def _make(self, job: Job) -> Run:
        """Return the run that a step continues, or a new one that waits for its inputs."""
        known = self.known[job.name]
        if known.state == RESUMABLE and known.row is not None:
            run = Run.open(known.row.dir)
            again = self.book.origin(job.name, run.info.get("code") or job.code) | {
                "pipeline": run.info.get("pipeline")
            }
            run.update(**again, ended=None, exit_code=None, reason=None)
            return run
        dirs = {name: Known(RUNNING, RunSummary(run.id, path=str(run.dir))) for name, run in self.runs.items()}
        inputs = references(job, dirs) or {}
        pending = any(self.known[name].state != DONE for name in job.node.after)
        ready = prepare(job, self.jobs, inputs, pending)
        if pending:
            ready.found.parents = [self.runs[name].id for name in job.node.after]
        return create_run(ready.composed, ROOT, ready.found, **self.book.origin(job.name, job.code))


def _status(row: RunSummary) -> str:
    """Return the status of a run; one that Slurm will start again is queued."""
    return words.QUEUED if row.status == "preempted" and at_work(row) else row.status


def problems(jobs: list[Job], known: dict[str, Known]) -> list[str]:
    """Return what speaks against giving these steps to a scheduler, one line each.

    Args:
        jobs: all steps.
        known: what is there of them.
    """
    scheduler = jobs[0].composed.config["hardware"]["scheduler"]
    if scheduler == "submitit_local" and any(job.node.inputs for job in jobs):
        return [
            "hardware.scheduler=submitit_local starts all jobs at once, and steps of this pipeline wait for others: "
            "choose hardware=cpu (the launcher stays and starts them in order) or hardware=slurm."
        ]
    rows = {name: k.row for name, k in known.items() if k.state == RUNNING and k.row and kind(k.row) != "slurm"}
    return [
        f"{job.at}: step `{name}` is worked on by run {rows[name].id}, which Slurm knows nothing of. "
        "Wait until it has finished, then give the same command."
        for job in jobs
        for name in job.node.after
        if name in rows
    ]
