"""Jobs of this machine: one process, in a session of its own, starts them through submitit, a few at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from regimen.runs import code_snapshot, outcome
from regimen.runs.run import Run
from regimen.system import host
from regimen.system.errors import PreflightError

POLL_S = 0.2


def start(runs: list[Run], hardware: dict[str, Any], code: str | None, parents: list[str]) -> dict[str, str]:
    """Have a new process start the runs, `hardware.max_jobs` at once; return run id -> job.

    The process outlives this one and its terminal. A job is named `<its process>_<number>`.

    Args:
        runs: created with status `queued`.
        hardware: that section of their configuration.
        code: copy of the code that the jobs import from.
        parents: jobs that must have succeeded before.

    Raises:
        PreflightError: there are such parents.
    """
    if parents:
        raise PreflightError("submitit_local lets no job wait for another; choose hardware=slurm or hardware=cpu")
    from regimen.orchestration.slurm.queue_record import note

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
    known = host.process(process.pid)
    jobs = {run.id: f"{process.pid}_{number}" for number, run in enumerate(runs)}
    for run in runs:
        note(run, "submitit_local", jobs[run.id], folder, [], starter=known)
    assert process.stdin is not None
    with process.stdin as orders:  # only now, so that no job begins before its record is whole
        orders.write(json.dumps({"folder": str(folder), "runs": [str(run.dir) for run in runs]}))
    process.returncode = 0  # nobody here waits for it: Python must not warn of that
    return jobs


class Queue:
    """The jobs that wait and those that run."""

    def __init__(self, folder: Path, runs: list[Run]) -> None:
        """Args: folder: of scripts and logs; runs: in the order in which they start."""
        from regimen.orchestration.slurm.executor import local_executor

        self.waiting, self.running = list(runs), dict[str, tuple[Run, Any]]()
        hardware = yaml.safe_load(runs[0].config_path.read_text())["hardware"]
        self.most = int(hardware["max_jobs"])
        self.executor = local_executor(folder, hardware, runs[0].info.get("code"))

    def work(self) -> None:
        """Start and watch jobs until none is left."""
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

        if run.status in ("queued", "preempted") and _is_mine(run):
            job = self.executor.submit(SlurmJob(str(run.dir)))
            known = {"process": host.process(int(job.job_id)), "log": str(job.paths.stdout)}
            run.amend(lambda info: {"queue": {**info["queue"], **known}})
            self.running[run.id] = (run, job)

    def _ended(self, run: Run) -> None:
        """Go on with a run that its time limit stopped; close one that could not say how it ended."""
        info = run.info
        if not _is_mine(run):
            return
        if info["status"] == "preempted" and info["queue"].get("again"):
            self.waiting.insert(0, run)
        elif info["status"] in ("queued", "running"):
            reason = f"its process ended without a word; see {info['queue'].get('log')}"
            with suppress(OSError):
                outcome.record_end(run, outcome.Outcome("killed", 137, reason))


def _is_mine(run: Run) -> bool:
    """Return whether this process still has the run: one whose end somebody saw earlier may be in other hands again."""
    starter: dict[str, Any] = run.info["queue"]["starter"]
    return bool(starter["pid"] == os.getpid())


def main() -> int:
    """Run `python -m regimen.orchestration.slurm.local_queue`: reads from stdin which runs to start."""
    orders = json.loads(sys.stdin.read())
    Queue(Path(orders["folder"]), [Run.open(Path(folder)) for folder in orders["runs"]]).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
