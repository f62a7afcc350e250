"""A user's folder on a cluster, as the tests see it: launch, look at runs and jobs, wait for something."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.subprocesses import PATIENCE_S, popen
from orchestration.slurm.sandbox import Sandbox
from regimen.system import files

ROOT = Path(__file__).resolve().parents[3]
COUNT = ["--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=count"]


class Cluster:
    """A folder with runs, and the Slurm that works on them.

    Attributes:
        folder: the working directory of the commands.
        slurm: the scheduler.
    """

    def __init__(self, folder: Path, slurm: Sandbox) -> None:
        self.folder, self.slurm = folder, slurm

    def launch(self, *arguments: str, code: int = 0) -> str:
        """Run launch.py to its end; return what it printed."""
        done = self.start(*arguments)
        said = done.communicate(timeout=600)[0]
        assert done.returncode == code, said
        return said

    def count(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Launch a run of the counting stage on Slurm; return its record."""
        known = {path.parent.name for path in self.folder.glob("outputs/*/run.json")}
        self.launch(*COUNT, "hardware=slurm", *SMALL, *arguments, code=code)
        (file,) = [p for p in self.folder.glob("outputs/*/run.json") if p.parent.name not in known]
        return files.read_json(file) or {}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start launch.py."""
        return self.popen(sys.executable, str(ROOT / "launch.py"), *arguments)

    def regimen(self, *arguments: str, code: int = 0) -> str:
        """Run the regimen command; return what it printed."""
        done = self.popen(sys.executable, "-m", "regimen.cli.main", *arguments)
        said = done.communicate(timeout=PATIENCE_S)[0]
        assert done.returncode == code, said
        return said

    def popen(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the folder, with both streams in one."""
        return popen(command, cwd=self.folder, env=self.slurm.env)

    def info(self, run: str) -> dict[str, Any]:
        """Return run.json."""
        return files.read_json(self.dir(run) / "run.json") or {}

    def dir(self, run: str) -> Path:
        """Return a run's directory; that of a job of a sweep is in the folder of the sweep."""
        (file,) = [*self.folder.glob(f"outputs/{run}/run.json"), *self.folder.glob(f"multirun/*/{run}/run.json")]
        return file.parent

    def job(self, run: str) -> dict[str, str]:
        """Return what Slurm knows of the job of a run."""
        return self.slurm.job(self.info(run)["queue"]["job"])

    def wait_status(self, run: str, *wanted: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until a run has one of these statuses; return its record."""
        wait_for(lambda: self.info(run)["status"] in wanted, f"{run} {wanted}", patience_s, lambda: self.logs(run))
        return self.info(run)

    def wait_step(self, run: str, step: int = 1) -> int:
        """Wait until the work has done so many steps; return the worker's process."""
        file = self.dir(run) / "progress.json"
        wait_for(lambda: _iteration(file) >= step, f"step {step}", said=lambda: self.logs(run))
        return int((files.read_json(file) or {})["note"].removeprefix("pid "))

    def wait_job(self, run: str, *wanted: str, patience_s: float = PATIENCE_S) -> dict[str, str]:
        """Wait until Slurm has the job of a run in one of these states; return what it knows of it."""
        said = [""]

        def reached() -> bool:
            said[0] = self.job(run).get("JobState", "gone")
            return said[0] in wanted

        wait_for(reached, f"{run} {wanted}", patience_s, lambda: said[0] + self.logs(run))
        return self.job(run)

    def kill(self, pid: int) -> None:
        """Kill a process as nothing can be prepared for."""
        os.kill(pid, signal.SIGKILL)

    def logs(self, run: str) -> str:
        """Return what the job of a run printed, for a test that fails."""
        info = self.info(run)
        logs = Path(info["queue"]["folder"]).glob(f"{info['queue']['job']}*.out")
        return f"\n{info['status']}: {info['reason']}\n" + "\n".join(f.read_text() for f in logs)


def _iteration(file: Path) -> int:
    """Return how far the work is, -1 before it has begun: its first step is 0."""
    return (files.read_json(file) or {}).get("iteration", -1)


SMALL = ["hardware.submitit.mem_gb=1", "hardware.submitit.cpus_per_task=1"]
"""What a test asks for, so that several fit on a node."""


def wait_for(
    condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S, said: Callable[[], str] = lambda: ""
) -> None:
    """Wait until `condition` holds; say `what` did not happen, and what is known of it, otherwise."""
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, f"not within {patience_s} s: {what} {said()}"
        time.sleep(0.1)
