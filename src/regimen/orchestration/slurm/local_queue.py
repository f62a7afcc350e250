"""`hardware.scheduler=submitit_local`: a process in its own session starts jobs on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from regimen.orchestration.slurm.executor import record_job, record_process
from regimen.runs import code_snapshot, outcome
from regimen.runs.record import Outcome
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import host
from regimen.system.errors import PreflightError

POLL_S = 0.2


def start(runs: list[Run], hardware: dict[str, Any], code: str | None, parents: list[str]) -> dict[str, str]:
    """Start a process that starts the runs, `hardware.max_jobs` at once; return run id -> job.

    The process outlives this one and its terminal. The id of a job is `<pid of the process>_<number>`.

    Args:
        runs: runs with status `queued`.
        hardware: section `hardware` of their configuration.
        code: snapshot of the code that the jobs import.
        parents: jobs that must succeed first; not supported here.

    Raises:
        PreflightError: `parents` is not empty.
    """
    if parents:
        raise PreflightError(
            "submitit_local does not support dependencies between jobs; choose hardware=slurm or hardware=cpu"
        )
    folder = runs[0].dir.parent / ".submitit"
    folder.mkdir(exist_ok=True)
    with (folder / "queue.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", code_snapshot.module_name(code, "regimen.orchestration.slurm.local_queue")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, **code_snapshot.environment(code)},
            start_new_session=True,
            text=True,
        )
    starter = host.process(process.pid)
    jobs = {run.id: f"{process.pid}_{number}" for number, run in enumerate(runs)}
    for run in runs:
        record_job(run, "submitit_local", jobs[run.id], folder, [], starter)
    assert process.stdin is not None
    with process.stdin as stdin:  # after the records are complete: jobs start now
        stdin.write(json.dumps({"folder": str(folder), "runs": [str(run.dir) for run in runs]}))
    process.returncode = 0  # the process outlives this one: suppress the ResourceWarning
    return jobs


class LocalQueue:
    """The pending and running jobs of one such process."""

    def __init__(self, folder: Path, runs: list[Run]) -> None:
        """Args: folder: folder of scripts and logs; runs: the runs in starting order."""
        from regimen.orchestration.slurm.executor import local_executor

        self.waiting, self.running = list(runs), dict[str, tuple[Run, Any]]()
        hardware = runs[0].config["hardware"]
        self.most = int(hardware["max_jobs"])
        self.executor = local_executor(folder, hardware, runs[0].record.code)

    def work(self) -> None:
        """Start and watch jobs until all have ended."""
        while self.waiting or self.running:
            while self.waiting and len(self.running) < self.most:
                self._start(self.waiting.pop(0))
            for name, (run, job) in list(self.running.items()):
                if job.done():
                    del self.running[name]
                    self._ended(run)
            time.sleep(POLL_S)

    def _start(self, run: Run) -> None:
        from regimen.orchestration.slurm.job import SlurmJob

        if run.status in (Status.QUEUED, Status.PREEMPTED) and _is_mine(run):
            job = self.executor.submit(SlurmJob(str(run.dir)))
            record_process(run, host.process(int(job.job_id)), job.paths.stdout)
            self.running[run.id] = (run, job)

    def _ended(self, run: Run) -> None:
        """Requeue a run that its time limit stopped; record the end of one whose process died."""
        record = run.record
        if record.queue is None or not _is_mine(run):
            return
        if record.status == Status.PREEMPTED and record.queue.again:
            self.waiting.insert(0, run)
        elif record.status.is_open:
            reason = f"its process died; see {record.queue.log}"
            with suppress(OSError):
                outcome.record_end(run, Outcome(Status.KILLED, 137, reason))


def _is_mine(run: Run) -> bool:
    """Return whether this process still owns the run, which may have been resumed elsewhere after its end."""
    queue = run.record.queue
    return queue is not None and queue.starter is not None and queue.starter.pid == os.getpid()


def main() -> int:
    """Start the runs that stdin lists as JSON: `python -m regimen.orchestration.slurm.local_queue`."""
    orders = json.loads(sys.stdin.read())
    LocalQueue(Path(orders["folder"]), [Run.open(Path(folder)) for folder in orders["runs"]]).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
