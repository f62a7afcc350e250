"""A pipeline on this machine: every step starts when its inputs are there, `hardware.max_jobs` work at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from regimen.cli.launch import create_run
from regimen.display.console import say
from regimen.orchestration.pipeline import record as words
from regimen.orchestration.pipeline.cluster import SCHEDULERS, kind, reconcile
from regimen.orchestration.pipeline.jobs import ROOT, Job, prepare
from regimen.orchestration.pipeline.plan import alone, find
from regimen.orchestration.pipeline.record import Book, Step
from regimen.orchestration.pipeline.reuse import DONE, RESUMABLE, RUNNING, TO_DO, Known, at_work
from regimen.orchestration.supervisor_pool import POLL_S, Ended, Supervisors
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.run import Run
from regimen.system import signals
from regimen.system.errors import RegimenError

OTHERS_S = 1.0
"""How often runs of other processes are looked at."""

SCHEDULER_S = 10.0
"""How much less often, where a scheduler has one of them: each question is work for all its users."""

TAKEN_OVER_S = 20.0
"""How long the supervisor of a run that is continued may take to make it its own."""


class LocalPipeline:
    """The steps of one command, at work.

    Args:
        jobs: all steps, in an order in which they can be done.
        book: their record.
        known: what the plan found.
    """

    def __init__(self, jobs: list[Job], book: Book, known: Mapping[str, Known]) -> None:
        self.jobs, self.book = jobs, book
        self.supervisors = Supervisors()
        self.nodes: dict[str, str] = {}
        self.others: dict[str, str] = {}
        self._look_due = 0.0
        for job in jobs:
            job.freeze_code()
            if known[job.name].state == DONE:
                self._reuse(job, known[job.name].row)

    def run(self) -> None:
        """Start, watch and record until nothing is left to do or a signal stopped it."""
        self.book.write()
        with signals.handled(self.supervisors.on_signal):
            try:
                while self._goes_on():
                    self._start_what_can()
                    self._reap(self.supervisors.ended())
                    self._look_at_others()
                    self.supervisors.show_progress()
                    time.sleep(POLL_S)
            finally:
                self._reap(self.supervisors.end_all())
                for step in self._with(words.WAITING):
                    step.status = words.NOT_STARTED
                self.book.end(self.supervisors.stopped)

    def _goes_on(self) -> bool:
        open_ = bool(self.others) or any(True for _ in self._with(words.WAITING))
        return bool(self.supervisors.running) or (open_ and self.supervisors.stopped is None)

    def _with(self, status: str) -> Iterator[Step]:
        return (step for step in self.book.steps.values() if step.status == status and step.name not in self.others)

    def _start_what_can(self) -> None:
        """Start the steps whose inputs are there; those whose inputs never will be are blocked."""
        for job in self.jobs:
            step = self.book.steps[job.name]
            if step.status != words.WAITING or job.name in self.others or self.supervisors.stopped is not None:
                continue
            before = [self.book.steps[name] for name in step.after]
            if guilty := next((s for s in before if s.status not in (words.WAITING, words.RUNNING, *words.DONE)), None):
                cause = guilty.status if guilty.status.startswith(words.BLOCKED) else words.BLOCKED + guilty.name
                self._close(step, cause)
            elif all(s.status in words.DONE for s in before) and self._has_room(job):
                self._begin(job, step)

    def _has_room(self, job: Job) -> bool:
        at_work = [j for j in self.jobs if j.name in self.nodes.values()]
        return len(at_work) < min(j.max_jobs for j in [*at_work, job])

    def _begin(self, job: Job, step: Step) -> None:
        """Use the run that there is, continue it, wait for it, or make a new one; what cannot be has failed."""
        try:
            inputs = self._inputs(job)
            with alone():
                known = Known(TO_DO) if job.asks("force") else find(job, self.jobs, inputs, Index().rows())
                self._act(job, step, inputs, known)
        except (RegimenError, OSError) as error:
            step.reason = f"not started: {error}"
            self._close(step, words.FAILED)

    def _act(self, job: Job, step: Step, inputs: dict[str, str], known: Known) -> None:
        if known.state == DONE:
            self._reuse(job, known.row)
        elif known.state == RUNNING and known.row is not None:
            self._name(step, known.row.dir.resolve())
            self.others[job.name] = known.row.id
            say(f"waiting   {step.name}  for {known.row.id}, which works on the same")
        elif known.state == RESUMABLE and known.row is not None:
            self._start(job, step, Run.open(known.row.dir), "resumed")
            self._until_taken_over(step)
        else:
            ready = prepare(job, self.jobs, inputs)
            origin = self.book.origin(job.name, job.code)
            self._start(job, step, create_run(ready.composed, ROOT, ready.found, **origin), "started")
        self.book.write()

    def _start(self, job: Job, step: Step, run: Run, how: str) -> None:
        self.supervisors.start(run)
        self.nodes[run.id] = job.name
        step.status = words.RUNNING
        self._name(step, run.dir)
        say(f"{how:<9} {step.name}  {step.dir}")

    def _until_taken_over(self, step: Step) -> None:
        """Wait until the supervisor has the run, so that no other pipeline continues it too."""
        run, process = self.supervisors.running[str(step.run)]
        end = time.monotonic() + TAKEN_OVER_S
        while time.monotonic() < end and process.poll() is None:
            if (run.info.get("supervisor") or {}).get("pid") == process.pid:
                return
            time.sleep(POLL_S / 2)

    def _inputs(self, job: Job) -> dict[str, str]:
        """Return input name -> reference to the run that made it."""
        dirs = {name: str(Path(str(self.book.steps[name].dir)).resolve()) for name in job.node.after}
        links = job.node.inputs.items()
        return {name: link.reference(dirs.get(link.node, "")) for name, link in links}

    def _reap(self, ended: Iterator[Ended]) -> None:
        for end in ended:
            step = self.book.steps[self.nodes.pop(end.run.id)]
            step.take(end.info)
            step.exit_code = end.exit_code
            self._close(step, str(end.info["status"]))

    def _look_at_others(self) -> None:
        """See how the runs of other processes are; one that did not finish is continued here."""
        if not self.others or time.monotonic() < self._look_due:
            return
        self._look_due = time.monotonic() + OTHERS_S
        rows = {row.id: row for row in Index().rows()}
        held = [rows[run] for run in self.others.values() if run in rows and kind(rows[run]) in SCHEDULERS]
        if held:
            reconcile(held)  # seen at the next look
            self._look_due += SCHEDULER_S
        for node, run in list(self.others.items()):
            if run not in rows or not at_work(rows[run]):
                del self.others[node]  # the next attempt to start finds it finished, or to be continued
                self.book.steps[node].run = self.book.steps[node].dir = None

    def _reuse(self, job: Job, row: RunSummary | None) -> None:
        assert row is not None
        step = self.book.steps[job.name]
        self._name(step, row.dir)
        step.take(row)
        step.status = words.REUSED
        say(f"reused    {step.name}  {step.dir}")

    def _name(self, step: Step, folder: Path) -> None:
        step.run, step.dir = folder.name, os.path.relpath(folder)

    def _close(self, step: Step, status: str) -> None:
        step.status = status
        code = f"  exit code {step.exit_code}" if step.exit_code is not None else ""
        say(f"{status:<9} {step.name}{code}{f'  {step.reason}' if step.reason else ''}")
        self.book.write()
