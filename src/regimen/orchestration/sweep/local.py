"""Run the jobs of a sweep on this machine, at most `hardware.max_jobs` at once.

All run directories are created before the first job starts.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.display.console import say
from regimen.display.formatting import duration
from regimen.orchestration.job_table import NOT_STARTED, local_queue
from regimen.orchestration.new_run import create_run
from regimen.orchestration.preflight_report import PreflightReport
from regimen.orchestration.supervisor_pool import PROGRESS_S, FinishedSupervisor, LocalJobs
from regimen.orchestration.sweep.record import Job, SweepRecord
from regimen.runs import code_snapshot, outcome
from regimen.runs.record import read_record
from regimen.runs.record_parts import QueueEntry
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import host
from regimen.system.errors import RegimenError
from regimen.system.git import repository_state


def make_runs(
    record: SweepRecord, jobs: list[Job], composed: list[ComposedConfig], reports: list[PreflightReport]
) -> dict[str, Run]:
    """Create the run directory of every job with its configuration and a snapshot of the code; return id -> run.

    Later edits of configuration or code do not affect these runs. A job whose directory cannot be created is marked
    `failed`; the other jobs continue.

    Args:
        record: the sweep.
        jobs: jobs without a run directory.
        composed: their configurations.
        reports: their preflight reports.
    """
    runs = {}
    git = repository_state(Path(host.__file__).parent)
    for job, config, report in zip(jobs, composed, reports, strict=True):
        try:
            code = str(code_snapshot.take(config.plain))
            runs[job.run] = create_run(
                config,
                record.folder,
                report,
                job.run,
                git=git,
                status=Status.QUEUED,
                queue=queue_entry(config.plain),
                sweep=record.folder.name,
                code=code,
            )
        except (RegimenError, OSError) as error:
            job.status = Status.FAILED
            job.exit_code = outcome.EXIT_BAD_INPUT if isinstance(error, RegimenError) else outcome.EXIT_FAILED
            say(f"failed    {job.run}  not started: {error}")
    return runs


def queue_entry(config: dict[str, Any]) -> QueueEntry | None:
    """Return the first queue of a run: this process, or None for a run that is submitted to a scheduler."""
    return None if config["hardware"]["scheduler"] else local_queue()


class LocalSweep(LocalJobs):
    """The jobs that this process starts and watches."""

    def __init__(self, record: SweepRecord, jobs: list[Job], most: int) -> None:
        """Args: record: the sweep; jobs: jobs whose runs exist; most: number of runs at once."""
        super().__init__()
        self.record, self.most = record, max(1, most)
        self.waiting = list(jobs)
        self.total = len(jobs)
        self.by_run = {job.run: job for job in jobs}
        self.began: dict[str, float] = {}
        self.seconds: list[float] = []
        self.progress_due = time.monotonic() + PROGRESS_S
        self.record.write("running")

    def _start_ready(self) -> None:
        while self.waiting and len(self.supervisors.running) < self.most and self.stopped is None:
            self._start(self.waiting.pop(0))

    def _is_unfinished(self) -> bool:
        return bool(self.supervisors.running) or (bool(self.waiting) and self.stopped is None)

    def _finish(self) -> None:
        for job in self.waiting:
            job.status = NOT_STARTED
        self.record.write("ended" if self.stopped is None else "stopped", self.stopped)

    def _start(self, job: Job) -> None:
        """Start one job; a job that cannot be started is marked `failed`."""
        run = self.record.run(job)
        record = read_record(run.dir)
        if record and record.status == Status.KILLED and record.supervisor is None:  # cancelled while waiting
            job.take(record)
            say(f"{job.status:<9} {job.run}  {record.reason or ''}".rstrip())
            return
        try:
            self.supervisors.start(run)
        except (RegimenError, OSError) as error:
            job.status, job.exit_code = Status.FAILED, outcome.EXIT_FAILED
            say(f"failed    {job.run}  not started: {error}")
        else:
            self.began[job.run] = time.monotonic()
            job.status = Status.RUNNING
            say(f"started   {job.run}  {' '.join(job.overrides)}")

    def _record_ends(self, ended: list[FinishedSupervisor]) -> None:
        """Record and print the ends of runs."""
        for end in ended:
            job = self.by_run[end.run.id]
            job.take(end.record)
            job.exit_code = end.exit_code
            if job.status == Status.FINISHED:
                self.seconds.append(time.monotonic() - self.began[job.run])
            reason = f"  {end.record.reason}" if end.record.reason else ""
            say(f"{job.status:<9} {job.run}  exit code {job.exit_code}{reason}{self._left()}")
        if ended:
            self.record.write("running")

    def _left(self) -> str:
        """Return the number of ended jobs and the expected remaining time, for a status line."""
        working = len(self.supervisors.running)
        ended = self.total - working - len(self.waiting)
        left = self.remaining_s()
        eta = f", ETA {duration(left, 'clock')}" if left is not None and ended < self.total else ""
        return f"  ({ended} of {self.total}{eta})" if self.total > 1 else ""

    def remaining_s(self) -> float | None:
        """Return the expected time in s until all jobs have ended, None before the first has finished."""
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
        super()._show_progress()
        if time.monotonic() < self.progress_due:
            return
        self.progress_due = time.monotonic() + PROGRESS_S
        say(f"sweep     {self.record.folder.name}{self._left()}")
