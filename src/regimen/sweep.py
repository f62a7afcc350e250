"""Local sweeps: every job is checked before the first starts, and each has a run and a supervisor of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from regimen import outcome, record, signals
from regimen.arguments import check_choices, make_loader, parse
from regimen.compose import Composed, Refusal, compose, refuse
from regimen.errors import RegimenError
from regimen.launcher import create_run, not_started
from regimen.preflight import Preflight, preflight
from regimen.progress import describe, say
from regimen.run import Run
from regimen.sweep_report import Job

POLL_S = 0.1
PROGRESS_S = 30.0
PATIENCE_S = 90.0
"""How long a job may take to save and end after the sweep itself has failed."""


def expand(overrides: list[str], config_dirs: list[Path]) -> list[Composed]:
    """Compose and check every job that Hydra's basic sweeper makes of the arguments.

    Another sweeper chooses its values later; then only what the jobs share is checked here.

    Raises:
        ConfigError: with the problems of all jobs, each said once.
    """
    loader = make_loader(config_dirs)
    parsed, wrong = parse(overrides, loader)
    wrong += [
        f"argument `{o.input_line}`: a sweep needs a launcher that gives each run a process: hydra/launcher=regimen."
        for o in parsed
        if o.key_or_group == "hydra/launcher" and not str(o.value()).startswith("regimen")
    ]
    refuse(wrong + check_choices(parsed, loader, multirun=True))
    plain = [o for o in parsed if not o.is_hydra_override()]
    if any(o.key_or_group == "hydra/sweeper" for o in parsed):
        plain = [o for o in plain if not o.is_sweep_override()]
    jobs = BasicSweeper.split_arguments(plain, None)[0]
    if len(jobs) > 20:
        say(f"checking {len(jobs)} jobs")
    return compose_all(jobs, config_dirs)


def compose_all(jobs: list[list[str]], config_dirs: list[Path]) -> list[Composed]:
    """Compose and check jobs; one that was checked before is not read again.

    Raises:
        ConfigError: with the problems of all jobs, each said once.
    """
    composed, wrong = [], []
    for overrides in jobs:
        key = (tuple(overrides), tuple(folder.resolve() for folder in config_dirs))
        try:
            _checked[key] = _checked.get(key) or compose(overrides, config_dirs)
            composed.append(_checked[key])
        except Refusal as error:
            wrong += error.lines
    refuse(wrong)
    return composed


_checked: dict[tuple[tuple[str, ...], tuple[Path, ...]], Composed] = {}


def preflight_all(jobs: list[Composed], root: Path) -> list[Preflight]:
    """Check that this machine can do each job, `hardware.max_jobs` at once.

    Raises:
        ConfigError: with the problems of all jobs, each said once.
    """
    found, wrong = [], []
    for job in jobs:
        try:
            found.append(preflight(job, root, min(len(jobs), int(job.config["hardware"]["max_jobs"]))))
        except Refusal as error:
            wrong += error.lines
    refuse(wrong)
    return found


def run_through_hydra(folder: Path, overrides: list[str], config_dirs: list[Path]) -> None:
    """Let Hydra's sweeper make the jobs and our launcher plugin run them.

    Args:
        folder: the sweep's directory, claimed already.
        overrides: the arguments.
        config_dirs: folder of config.yaml, then the user's own.
    """
    loader = _CheckedLoader(config_dirs)
    parsed, _ = parse(overrides, loader)
    own = [o.input_line or "" for o in parsed if o.is_hydra_override()] + [f"hydra.sweep.dir='{folder}'"]
    master = loader.load_configuration("config", [*own, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
    context = HydraContext(loader, Callbacks(master))
    sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=_never_called, config=master)
    sweeper.sweep([o.input_line or "" for o in parsed if not o.is_hydra_override()])


class _CheckedLoader(ConfigLoaderImpl):
    """Hydra's loader, which takes the jobs of a sweep from our own composition."""

    def __init__(self, config_dirs: list[Path]) -> None:
        super().__init__(make_loader(config_dirs).get_search_path())
        self.config_dirs = config_dirs

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the configuration of one job."""
        return compose_all([sweep_overrides], self.config_dirs)[0].hydra


def _never_called(config: DictConfig) -> None:
    """Stand where Hydra wants the function of a job; our launchers start processes instead."""
    raise AssertionError("a launcher ran a job in its own process")


def run_batch(folder: Path, overrides: list[list[str]], first: int, config_dirs: list[Path]) -> list[Job]:
    """Run jobs in parallel processes, at most `hardware.max_jobs` at once, and return how they ended.

    Args:
        folder: the sweep's directory; jobs already in its sweep.json are kept.
        overrides: arguments of each job.
        first: number of the first job.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        Interrupted: a signal stopped the jobs; no other batch must follow.
    """
    composed = compose_all(overrides, config_dirs)
    found = preflight_all(composed, folder)
    names = [f"{folder.name}.{first + i:03d}" for i in range(len(composed))]
    jobs = [Job(n, c.overrides, policy=c.config.get("policy")) for n, c in zip(names, composed, strict=True)]
    batch = _Batch(folder, jobs, composed, found)
    batch.run()
    if batch.stopped is not None:
        raise signals.Interrupted(batch.stopped)
    return jobs


class _Batch:
    """The jobs that run now, and the record of all."""

    def __init__(self, folder: Path, jobs: list[Job], composed: list[Composed], found: list[Preflight]) -> None:
        self.folder, self.jobs = folder, jobs
        self.waiting = list(zip(jobs, composed, found, strict=True))
        self.most = int(composed[0].config["hardware"]["max_jobs"]) if composed else 1
        self.running: dict[str, tuple[Job, subprocess.Popen[bytes]]] = {}
        self.stopped: int | None = None
        self.progress_due = time.monotonic() + PROGRESS_S
        self.before = (record.read_json(folder / "sweep.json") or {}).get("jobs", [])

    def run(self) -> None:
        """Start, watch and record until none is left."""
        self._write("running")
        with signals.handled(self._on_signal):
            try:
                while self.running or (self.waiting and self.stopped is None):
                    while self.waiting and len(self.running) < self.most and self.stopped is None:
                        self._start(*self.waiting.pop(0))
                    self._reap()
                    self._show_progress()
                    time.sleep(POLL_S)
            finally:
                self._end_all()
                for job, *_ in self.waiting:
                    job.status = "not started"
                self._write("ended" if self.stopped is None else "stopped")

    def _start(self, job: Job, composed: Composed, found: Preflight) -> None:
        """Start one job; one that cannot be started has failed, and the others go on."""
        try:
            process = _start_supervisor(create_run(composed, self.folder, found, job.run))
        except (RegimenError, OSError) as error:
            job.status = "failed"
            job.exit_code = outcome.EXIT_BAD_INPUT if isinstance(error, RegimenError) else outcome.EXIT_FAILED
            say(f"failed    {job.run}  not started: {error}")
        else:
            self.running[job.run] = (job, process)
            if self.stopped is not None:  # the signal came while it was being started
                signals.send(process, self.stopped)
            job.status = "running"
            say(f"started   {job.run}  {' '.join(job.overrides)}")
        self._write("running")

    def _reap(self) -> None:
        for name, (job, process) in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[name]
            job.exit_code = code if code >= 0 else 128 - code
            info = _closed(self.folder / name, job.exit_code)
            job.status = str(info["status"])
            job.headline = info.get("headline") or {}
            reason = f"  {info['reason']}" if info.get("reason") else ""
            say(f"{job.status:<9} {job.run}  exit code {job.exit_code}{reason}")
            self._write("running")

    def _end_all(self) -> None:
        """Stop what still runs, because the sweep itself has failed: nothing would watch it any more."""
        for _, process in self.running.values():
            signals.send(process, signal.SIGTERM)
        for _, process in self.running.values():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._reap()

    def _show_progress(self) -> None:
        if time.monotonic() < self.progress_due:
            return
        self.progress_due = time.monotonic() + PROGRESS_S
        for name in self.running:
            text = describe(record.read_json(self.folder / name / "progress.json") or {})
            say(f"running   {name}  {text}")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop all jobs; a repeated Ctrl-C insists, as with a single run."""
        self.stopped = self.stopped or number
        for _, process in self.running.values():
            signals.send(process, number)

    def _write(self, status: str) -> None:
        jobs = [*self.before, *(asdict(job) for job in self.jobs)]
        data = {"format": 1, "id": self.folder.name, "argv": sys.argv, "status": status, "signal": self.stopped}
        try:
            record.write_json(self.folder / "sweep.json", {**data, "jobs": jobs})
        except OSError as error:
            say(f"warning: sweep.json could not be written: {error}")


def _start_supervisor(run: Run) -> subprocess.Popen[bytes]:
    with not_started(run), (run.logs / "supervisor.log").open("ab") as log:
        command = [sys.executable, "-m", "regimen.supervise", str(run.dir)]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _closed(folder: Path, exit_code: int) -> dict[str, Any]:
    """Return run.json, corrected if the supervisor ended before it could write how the run ended."""
    reason = f"its supervisor ended with exit code {exit_code}; see {os.path.relpath(folder / 'logs')}"
    closed = {"status": "killed", "exit_code": exit_code, "reason": reason, "ended": record.now()}
    try:
        run = Run.open(folder)
        if run.status == "running":
            run.update(**closed)
        return run.info
    except (RegimenError, OSError):  # its directory is gone, or cannot be written
        return closed
