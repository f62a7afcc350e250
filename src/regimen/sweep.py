"""Local sweeps: every job is checked before the first starts, and each has a run and a supervisor of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from regimen import record
from regimen.arguments import check_choices, make_loader, parse
from regimen.compose import Composed, Refusal, compose, refuse
from regimen.launcher import create_run
from regimen.preflight import Preflight, preflight
from regimen.progress import describe
from regimen.run import Run

POLL_S = 0.1
PROGRESS_S = 30.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Job:
    """One run of a sweep.

    Attributes:
        run: id of the run, which is also the name of its directory.
        overrides: its arguments.
        status: `waiting`, `running`, or how the run ended.
        exit_code: of its supervisor.
        headline: its headline metrics.
    """

    run: str
    overrides: list[str]
    status: str = "waiting"
    exit_code: int | None = None
    headline: dict[str, float] = field(default_factory=dict)


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
        print(f"checking {len(jobs)} jobs", flush=True)
    return compose_all(jobs, config_dirs)


def compose_all(jobs: list[list[str]], config_dirs: list[Path]) -> list[Composed]:
    """Compose and check jobs; one that was checked before is not read again.

    Raises:
        ConfigError: with the problems of all jobs, each said once.
    """
    composed, wrong = [], []
    for overrides in jobs:
        key = (tuple(overrides), tuple(config_dirs))
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
    """
    composed = compose_all(overrides, config_dirs)
    found = preflight_all(composed, folder)
    jobs = [Job(f"{folder.name}.{first + i:03d}", c.overrides) for i, c in enumerate(composed)]
    _Batch(folder, jobs, composed, found).run()
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
        with _handled(self._on_signal):
            while self.running or (self.waiting and self.stopped is None):
                while self.waiting and len(self.running) < self.most and self.stopped is None:
                    self._start(*self.waiting.pop(0))
                self._reap()
                self._show_progress()
                time.sleep(POLL_S)
        for job, *_ in self.waiting:
            job.status = "not started"
        self._write("ended" if self.stopped is None else "stopped")

    def _start(self, job: Job, composed: Composed, found: Preflight) -> None:
        run = create_run(composed, self.folder, job.run, found.parents)
        with (run.logs / "supervisor.log").open("ab") as log:
            command = [sys.executable, "-m", "regimen.supervise", str(run.dir)]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.running[job.run] = (job, process)
        if self.stopped is not None:  # the signal came while it was being started
            process.send_signal(self.stopped)
        job.status = "running"
        print(f"started   {job.run}  {' '.join(job.overrides)}", flush=True)
        self._write("running")

    def _reap(self) -> None:
        for name, (job, process) in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[name]
            job.exit_code = code if code >= 0 else 128 - code
            info = _closed(Run.open(self.folder / name), job.exit_code)
            job.status = str(info["status"])
            job.headline = info.get("headline") or {}
            reason = f"  {info['reason']}" if info.get("reason") else ""
            print(f"{job.status:<9} {job.run}  exit code {job.exit_code}{reason}", flush=True)
            self._write("running")

    def _show_progress(self) -> None:
        if time.monotonic() < self.progress_due:
            return
        self.progress_due = time.monotonic() + PROGRESS_S
        for name in self.running:
            text = describe(record.read_json(self.folder / name / "progress.json") or {})
            print(f"running   {name}  {text}", flush=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop all jobs; a repeated Ctrl-C insists, as with a single run."""
        self.stopped = self.stopped or number
        for _, process in self.running.values():
            process.send_signal(number)

    def _write(self, status: str) -> None:
        jobs = [*self.before, *(asdict(job) for job in self.jobs)]
        data = {"format": 1, "id": self.folder.name, "argv": sys.argv, "status": status, "signal": self.stopped}
        record.write_json(self.folder / "sweep.json", {**data, "jobs": jobs})


def _closed(run: Run, exit_code: int) -> dict[str, Any]:
    """Return run.json, corrected if the supervisor ended before it could write how the run ended."""
    if run.status == "running":
        reason = f"its supervisor ended with exit code {exit_code}; see {os.path.relpath(run.logs)}"
        run.update(status="killed", exit_code=exit_code, reason=reason, ended=record.now())
    return run.info


def report(folder: Path, config_dir: Path | None = None) -> int:
    """Print how each job of a sweep ended and how to rerun those that failed; return the exit code.

    Args:
        folder: the sweep's directory.
        config_dir: the user's own folder of options, part of the commands.
    """
    data: dict[str, Any] = record.read_json(folder / "sweep.json") or {"jobs": []}
    jobs = [Job(**row) for row in data["jobs"]]
    shared = set.intersection(*(set(j.overrides) for j in jobs)) if len(jobs) > 1 else set()
    rows = [("job", "overrides", "status", "headline"), *(_row(j, shared) for j in jobs)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    failed = [j for j in jobs if j.status != "finished"]
    print(f"\n{len(jobs) - len(failed)} of {len(jobs)} jobs finished; {os.path.relpath(folder)}/sweep.json lists them")
    if failed:
        print("To rerun only the others:")
    for job in failed:
        own = ["--config-dir", str(config_dir)] if config_dir else []
        print(f"  python launch.py {shlex.join([*own, *job.overrides])}")
    if data.get("signal"):
        return 128 + int(data["signal"])
    return 1 if failed or not jobs else 0


def _row(job: Job, shared: set[str]) -> tuple[str, str, str, str]:
    swept = " ".join(o for o in job.overrides if o not in shared)
    status = job.status if job.exit_code in (0, None) else f"{job.status} ({job.exit_code})"
    name, value = next(iter(job.headline.items()), ("", None))
    return job.run.rpartition(".")[2], swept, status, f"{name} {value:.4g}" if value is not None else ""


@contextmanager
def _handled(handler: Any) -> Iterator[None]:
    old = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)
