"""Write the field `queue` of run.json: scheduler and job of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from regimen.runs.record import RunRecord
from regimen.runs.record_parts import QueueEntry
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.host import ProcessIdentity


def record_job(
    run: Run, kind: str, job: str, folder: Path, parents: Iterable[str], starter: ProcessIdentity | None = None
) -> None:
    """Record the job of a run in run.json, keeping fields that the job has already written.

    Args:
        run: run that was submitted and may have started.
        kind: scheduler: `slurm` or `submitit_local`.
        job: id of the job.
        folder: folder of its logs.
        parents: jobs that must succeed first.
        starter: process of `submitit_local` that starts the job.
    """
    queue = QueueEntry(
        kind, job=job, folder=str(folder), submitted=files.iso_now(), after=list(parents), starter=starter
    )

    def alter(record: RunRecord) -> None:
        if record.queue is not None:
            queue.restarts, queue.again = record.queue.restarts, record.queue.again
        record.queue = queue

    run.change(alter)


def record_process(run: Run, process: ProcessIdentity, log: Path) -> None:
    """Record the process of a job of `submitit_local`.

    Args:
        run: run whose job has started.
        process: process of the job.
        log: file of its output.
    """

    def alter(record: RunRecord) -> None:
        if record.queue is not None:
            record.queue.process, record.queue.log = process, str(log)

    run.change(alter)
