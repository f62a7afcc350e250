"""Jobs of a sweep that a scheduler starts."""

from __future__ import annotations

import os

from regimen.display.console import say
from regimen.orchestration.sweep.record import OPEN, Book, Job
from regimen.system import signals


def submit_jobs(book: Book, jobs: list[Job]) -> None:
    """Give the runs of jobs to their scheduler, equal requests as one array, and say as what.

    Args:
        book: the sweep.
        jobs: whose runs are queued, or to be continued.

    Raises:
        PreflightError: the scheduler took none.
    """
    from regimen.orchestration.slurm.submit import submit

    taken = submit([book.run(job) for job in jobs])
    book.refresh(jobs)
    for job in jobs:
        job.status = "queued" if job.run in taken else "failed"
    book.write("submitted")
    names = list(taken.values())
    said = f"{names[0]} … {names[-1]}" if len(names) > 2 else " and ".join(names)
    count = f"{len(names)} job{'' if len(names) == 1 else 's'}"
    say(f"submitted: {os.path.relpath(book.folder)}, {count} as {said}. To follow: regimen queue")


def wait_for(book: Book, jobs: list[Job]) -> None:
    """Stay until the runs of jobs are over; Ctrl-C ends the waiting and not the jobs.

    Args:
        book: the sweep.
        jobs: that a scheduler has.

    Raises:
        Interrupted: a signal ended the waiting.
    """
    from regimen.orchestration.slurm.wait import wait

    code = wait([book.run(job) for job in jobs])
    book.refresh(jobs)
    waiting = any(job.status in OPEN for job in jobs)
    book.write("submitted" if waiting else "ended")
    if waiting:
        raise signals.Interrupted(code - 128)
