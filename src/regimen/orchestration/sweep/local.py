"""Jobs of a sweep at work: every run is made before the first starts, then at most `hardware.max_jobs` work at once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from regimen.config.compose import Composed
from regimen.display.console import clock, say
from regimen.orchestration.new_run import create_run
from regimen.orchestration.preflight import Preflight
from regimen.orchestration.supervisor_pool import PROGRESS_S, Ended, Supervisors
from regimen.orchestration.sweep.record import NOT_STARTED, Book, Job
from regimen.runs import code_snapshot, outcome
from regimen.runs.run import Run
from regimen.system import host, signals
from regimen.system.errors import RegimenError

POLL_S = 0.05


def make_runs(book: Book, jobs: list[Job], composed: list[Composed], found: list[Preflight]) -> dict[str, Run]:
    """Make the directory of every job, frozen with the code as it is now; return those that could be made, by id.

    An edit of a configuration or of the code has no effect on them any more. A job whose directory cannot be made has
    failed, and the others go on.

    Args:
        book: the sweep.
        jobs: what to make.
        composed: the configuration of each.
        found: what preflight saw for each.
    """
    runs = {}
    git = host.git(Path(host.__file__).parent)
    for job, config, inputs in zip(jobs, composed, found, strict=True):
        known: dict[str, Any] = {"status": "queued", "queue": queue(config.config), "sweep": book.folder.name}
        try:
            code = str(code_snapshot.take(config.config))
            runs[job.run] = create_run(config, book.folder, inputs, job.run, code=code, git=git, **known)
        except (RegimenError, OSError) as error:
            job.status = "failed"
            job.exit_code = outcome.EXIT_BAD_INPUT if isinstance(error, RegimenError) else outcome.EXIT_FAILED
            say(f"failed    {job.run}  not started: {error}")
    return runs


def queue(config: dict[str, Any]) -> dict[str, Any] | None:
    """Return who will start a run of this sweep: this process, or, None for now, a scheduler."""
    return None if config["hardware"]["scheduler"] else {"kind": "local", "process": host.process(os.getpid())}


class Batch:
    """Runs that this process starts, and the record of all."""

    def __init__(self, book: Book, jobs: list[Job], most: int) -> None:
        """Args: book: the sweep; jobs: whose runs are to be started; most: runs at once."""
        self.book, self.most = book, max(1, most)
        self.waiting = list(jobs)
        self.total = len(jobs)
        self.by_run = {job.run: job for job in jobs}
        self.began: dict[str, float] = {}
        self.seconds: list[float] = []
        self.supervisors = Supervisors()
        self.progress_due = time.monotonic() + PROGRESS_S

    @property
    def stopped(self) -> int | None:
        """Number of the signal that stopped them, None if none came."""
        return self.supervisors.stopped

    def run(self) -> None:
        """Start, watch and record until none is left."""
        self.book.write("running")
        working = self.supervisors
        with signals.handled(working.on_signal):
            try:
                while working.running or (self.waiting and self.stopped is None):
                    while self.waiting and len(working.running) < self.most and self.stopped is None:
                        self._start(self.waiting.pop(0))
                    self._note(list(working.ended()))
                    self._show_progress()
                    if working.running:
                        time.sleep(POLL_S)
            finally:
                self._note(list(working.end_all()))
                for job in self.waiting:
                    job.status = NOT_STARTED
                self.book.write("ended" if self.stopped is None else "stopped", self.stopped)

    def _start(self, job: Job) -> None:
        """Start one job; one that cannot be started has failed, and the others go on."""
        run = self.book.run(job)
        if run.status == "killed" and run.info.get("supervisor") is None:  # cancelled while it waited
            job.take(run.info)
            say(f"{job.status:<9} {job.run}  {run.info.get('reason') or ''}".rstrip())
            return
        try:
            self.supervisors.start(run)
        except (RegimenError, OSError) as error:
            job.status, job.exit_code = "failed", outcome.EXIT_FAILED
            say(f"failed    {job.run}  not started: {error}")
        else:
            self.began[job.run] = time.monotonic()
            job.status = "running"
            say(f"started   {job.run}  {' '.join(job.overrides)}")

    def _note(self, ended: list[Ended]) -> None:
        """Write down how runs ended, and say so."""
        for end in ended:
            job = self.by_run[end.run.id]
            job.take(end.info)
            job.exit_code = end.exit_code
            if job.status == "finished":
                self.seconds.append(time.monotonic() - self.began[job.run])
            reason = f"  {end.info['reason']}" if end.info.get("reason") else ""
            say(f"{job.status:<9} {job.run}  exit code {job.exit_code}{reason}{self._left()}")
        if ended:
            self.book.write("running")

    def _left(self) -> str:
        """Return how many jobs there are still, and how long they will take if they take as long as those before."""
        working = len(self.supervisors.running)
        ended = self.total - working - len(self.waiting)
        left = self.remaining_s()
        eta = f", ETA {clock(left)}" if left is not None and ended < self.total else ""
        return f"  ({ended} of {self.total}{eta})" if self.total > 1 else ""

    def remaining_s(self) -> float | None:
        """Return the seconds until all jobs will have ended, None before the first has finished."""
        if not self.seconds:
            return None
        each = sum(self.seconds) / len(self.seconds)
        now = time.monotonic()
        started = [max(0.0, each - (now - self.began[name])) for name in self.supervisors.running]
        slots = sorted([*started, *[0.0] * (self.most - len(started))])
        for _ in self.waiting:
            slots = sorted([slots[0] + each, *slots[1:]])
        return slots[-1]

    def _show_progress(self) -> None:
        self.supervisors.show_progress()
        if time.monotonic() < self.progress_due:
            return
        self.progress_due = time.monotonic() + PROGRESS_S
        say(f"sweep     {self.book.folder.name}{self._left()}")
