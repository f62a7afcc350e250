"""Expand, check and start a sweep.

Every job is checked, and its run directory created, before the first job starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig

from regimen.config import sweep_grid
from regimen.config.compose import ComposedConfig, compose, sweep_arguments
from regimen.config.error_location import ErrorLocator
from regimen.config.hydra_adapter import HydraLoader, instantiate_sweeper
from regimen.config.option_files import GRID_SWEEPER
from regimen.config.overrides import make_loader, parse
from regimen.display.console import say
from regimen.display.formatting import duration
from regimen.orchestration.job_table import NOT_STARTED, WAITING, local_queue
from regimen.orchestration.new_run import create_run
from regimen.orchestration.preflight import preflight
from regimen.orchestration.preflight_report import PreflightReport
from regimen.orchestration.supervisor_pool import PROGRESS_S, FinishedSupervisor, LocalJobs
from regimen.orchestration.sweep.record import Job, SweepRecord
from regimen.runs import inputs, outcome
from regimen.runs.code_snapshot import SharedCopies
from regimen.runs.record import read_record
from regimen.runs.status import Status
from regimen.system import host, signals
from regimen.system.errors import ConfigErrors, RegimenError, raise_if_any
from regimen.system.git import repository_state


def expand(overrides: list[str], config_dirs: list[Path]) -> list[ComposedConfig]:
    """Compose and check every job of the grid that the arguments span.

    A sweeper such as optuna chooses values during the sweep; then only the arguments that all jobs share are checked.

    Args:
        overrides: arguments, of which those on the command line and those in `hydra.sweeper.params` of option files
            span the grid.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: the problems of all jobs, each listed once.
    """
    _checked.clear()  # an earlier launch in the same process may have filled it
    loader = make_loader(config_dirs)
    arguments = sweep_arguments(overrides, config_dirs)
    sweeper = arguments.sweeper
    plain, _ = parse(arguments.jobs, loader)
    if sweeper != GRID_SWEEPER:
        zips = [o.input_line for o in plain if sweep_grid.is_zip(o)]
        raise_if_any(
            [f"argument `{text}`: hydra/sweeper={sweeper} does not support zip(...); remove it." for text in zips]
        )
    if sweeper not in (GRID_SWEEPER, "basic"):
        raise_if_any(sweep_grid.conflicts(plain))
        plain = [o for o in plain if not o.is_sweep_override()]
    jobs = sweep_grid.jobs(plain)
    if (doubles := sweep_grid.size(plain) - len(jobs)) > 0:
        say(f"{doubles} duplicate {'combination' if doubles == 1 else 'combinations'}: each combination runs once")
    if len(jobs) > 20:
        say(f"checking {len(jobs)} jobs")
    composed = compose_all(jobs, config_dirs)
    chosen = dict.fromkeys(place for job in composed for place in job.sweep_settings if place not in arguments.settings)
    advice = "a setting of the sweep in an option that the sweep itself chooses; write it as an argument."
    raise_if_any([f"{place}: {advice}" for place in chosen])
    return composed


def compose_all(jobs: list[list[str]], config_dirs: list[Path]) -> list[ComposedConfig]:
    """Compose and check jobs; results are cached by arguments.

    Raises:
        ConfigError: the problems of all jobs, each listed once.
    """
    composed, wrong = [], []
    for overrides in jobs:
        key = (tuple(overrides), tuple(folder.resolve() for folder in config_dirs))
        try:
            _checked[key] = _checked.get(key) or compose(overrides, config_dirs, sweep=True)
            composed.append(_checked[key])
        except ConfigErrors as error:
            wrong += error.lines
    raise_if_any(wrong)
    return composed


_checked: dict[tuple[tuple[str, ...], tuple[Path, ...]], ComposedConfig] = {}


def preflight_all(jobs: list[ComposedConfig], root: Path, among: list[int] | None = None) -> list[PreflightReport]:
    """Run the preflight checks of each job, with `hardware.max_jobs` jobs at once.

    Args:
        jobs: checked configurations.
        root: folder of the run directories.
        among: for each job, the number of jobs that share the machine with it; by default that of `jobs`.

    Raises:
        ConfigError: the problems of all jobs, each listed once.
    """
    reports, wrong = [], []
    with inputs.cached_resolution():
        for job, sharing in zip(jobs, among or [len(jobs)] * len(jobs), strict=True):
            try:
                reports.append(preflight(job, root, min(sharing, job.config.hardware.max_jobs)))
            except ConfigErrors as error:
                wrong += error.lines
    raise_if_any(wrong)
    return reports


class PreparedSweep:
    """Hydra's sweeper, which calls the launcher plugin `regimen` with the jobs; nothing is written before `run`."""

    def __init__(self, overrides: list[str], config_dirs: list[Path]) -> None:
        """Compose Hydra's configuration of the sweep and check its settings.

        Args:
            overrides: the arguments.
            config_dirs: folder of config.yaml, then the user's own.

        Raises:
            ConfigError: a setting of the sweeper is wrong, in an argument or in a file.
        """
        loader = CheckedLoader(config_dirs)
        self.arguments = sweep_arguments(overrides, config_dirs)
        parsed, _ = parse(self.arguments.hydra, loader)
        own = [*self.arguments.hydra, "hydra.sweep.dir=multirun", "hydra.mode=MULTIRUN"]
        locator = ErrorLocator(loader, config_dirs, parsed)

        def instantiate() -> Any:
            self.master = loader.load_configuration("config", own, RunMode.MULTIRUN)
            self.master.hydra.sweeper.params = None  # they are among the arguments
            return instantiate_sweeper(loader, self.master)

        self.sweeper = locator.translate_errors(instantiate)
        if hasattr(self.sweeper, "check"):
            self.sweeper.check(self.arguments.jobs)

    def open(self) -> None:
        """Open what the sweeper needs before the first job, such as the database of a study.

        Raises:
            ConfigError: it cannot be opened.
        """
        if hasattr(self.sweeper, "open"):
            self.sweeper.open()

    def run(self, folder: Path) -> None:
        """Run the sweep.

        Args:
            folder: its directory, which exists.
        """
        self.master.hydra.sweep.dir = str(folder)
        self.sweeper.sweep(self.arguments.jobs)


class CheckedLoader(HydraLoader):
    """Hydra's config loader; the configuration of a job comes from `compose_all`."""

    def __init__(self, config_dirs: list[Path]) -> None:
        super().__init__(make_loader(config_dirs).get_search_path())
        self.config_dirs = config_dirs

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the configuration of one job."""
        return compose_all([sweep_overrides], self.config_dirs)[0].hydra


def freeze_jobs(folder: Path, overrides: list[list[str]], config_dirs: list[Path]) -> None:
    """Add jobs to a sweep and create their runs, so that later edits of configuration or code do not affect them.

    Args:
        folder: directory of the sweep; jobs already in its sweep.json are kept.
        overrides: arguments of each job.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: the problems of all jobs, each listed once.
        Interrupted: a signal stopped it.
    """
    composed = compose_all(overrides, config_dirs)
    reports = preflight_all(composed, folder)
    record = SweepRecord(folder, config_dirs)
    first = len(record.jobs)
    jobs = [record.add(first + i, job, len(composed)) for i, job in enumerate(composed)]
    with record.owned(), _recorded(record):
        make_runs(record, jobs, composed, reports)
        record.write("running")


def run_batch(
    folder: Path, overrides: list[list[str]], first: int, config_dirs: list[Path], results: bool = False
) -> list[Job]:
    """Start or submit the runs of a batch of jobs; return the jobs with their status.

    Args:
        folder: directory of the sweep; the runs of jobs that are not in its sweep.json are created.
        overrides: arguments of each job.
        first: number of the first job.
        config_dirs: folder of config.yaml, then the user's own.
        results: whether to wait for submitted jobs too, because the caller needs their results.

    Raises:
        Interrupted: a signal stopped the jobs; no other batch may follow.
    """
    if len(SweepRecord(folder, config_dirs).jobs) <= first:  # the sweeper chooses jobs by the results of earlier ones
        freeze_jobs(folder, overrides, config_dirs)
    record = SweepRecord(folder, config_dirs)
    jobs = record.jobs[first : first + len(overrides)]
    wait = results or compose_all(overrides[:1], config_dirs)[0].config.wait
    with record.owned(), _recorded(record):
        work(record, [job for job in jobs if job.status == WAITING], wait)
        if record.status == "running":  # no run directory could be created
            record.write("ended")
    return jobs


def work(record: SweepRecord, jobs: list[Job], wait: bool) -> None:
    """Start or continue runs on this machine or through their scheduler, as `hardware.scheduler` says.

    Args:
        record: the sweep, locked by this process.
        jobs: jobs whose runs exist.
        wait: whether to wait for submitted jobs.

    Raises:
        Interrupted: a signal stopped the local jobs or the waiting.
    """
    hardware = {job.run: record.run(job).config["hardware"] for job in jobs}
    submitted = [job for job in jobs if hardware[job.run]["scheduler"]]
    here = [job for job in jobs if not hardware[job.run]["scheduler"]]
    if submitted:
        submit_jobs(record, submitted)
    if here:
        local = LocalSweep(record, here, int(hardware[here[0].run]["max_jobs"]))
        local.run()
        if local.stopped is not None:
            raise signals.Interrupted(local.stopped)
    if submitted and wait:
        wait_for(record, submitted)
    elif submitted and here:
        record.write("submitted")


@contextmanager
def _recorded(record: SweepRecord) -> Iterator[None]:
    """Write the jobs to sweep.json; after an error mark those that have not started, of later batches too."""
    record.write("running")
    try:
        yield
    except BaseException as error:
        for job in record.jobs:
            job.status = NOT_STARTED if job.status == WAITING else job.status
        stopped = error.number if isinstance(error, signals.Interrupted) and record.status != "submitted" else None
        record.write("stopped" if record.status == "running" else record.status, stopped)
        raise


def submit_jobs(record: SweepRecord, jobs: list[Job]) -> None:
    """Submit the runs of jobs to their scheduler, runs with equal resources as one array; print the job numbers.

    Args:
        record: the sweep.
        jobs: jobs whose runs are queued.

    Raises:
        PreflightError: the scheduler accepted no job.
    """
    from regimen.orchestration.slurm.submit import submit

    taken = submit([record.run(job) for job in jobs])
    record.refresh(jobs)
    for job in jobs:
        job.status = Status.QUEUED if job.run in taken else Status.FAILED
    record.write("submitted")
    names = list(taken.values())
    numbers = f"{names[0]} … {names[-1]}" if len(names) > 2 else " and ".join(names)
    count = f"{len(names)} job{'' if len(names) == 1 else 's'}"
    say(f"submitted: {os.path.relpath(record.folder)}, {count} as {numbers}. To follow: regimen queue")


def wait_for(record: SweepRecord, jobs: list[Job]) -> None:
    """Wait until submitted jobs have ended; Ctrl-C ends the waiting, not the jobs.

    Args:
        record: the sweep.
        jobs: submitted jobs.

    Raises:
        Interrupted: a signal ended the waiting.
    """
    from regimen.orchestration.slurm.wait import wait

    code = wait([record.run(job) for job in jobs])
    record.refresh(jobs)
    waiting = any(job.is_open for job in jobs)
    record.write("submitted" if waiting else "ended")
    if waiting:
        raise signals.Interrupted(code - 128)


def make_runs(
    record: SweepRecord, jobs: list[Job], composed: list[ComposedConfig], reports: list[PreflightReport]
) -> None:
    """Create the run directory of every job with its configuration and a snapshot of the code.

    A job whose directory cannot be created is marked `failed`; the other jobs continue.

    Args:
        record: the sweep.
        jobs: jobs without a run directory.
        composed: their configurations.
        reports: their preflight reports.
    """
    git = repository_state(Path(host.__file__).parent)
    copies = SharedCopies()
    for job, config, report in zip(jobs, composed, reports, strict=True):
        try:
            code = copies.take(config.plain)
            create_run(
                config,
                record.folder,
                report,
                job.run,
                git=git,
                status=Status.QUEUED,
                queue=local_queue(),
                sweep=record.folder.name,
                code=code,
            )
        except (RegimenError, OSError) as error:
            job.status = Status.FAILED
            job.exit_code = outcome.EXIT_BAD_INPUT if isinstance(error, RegimenError) else outcome.EXIT_FAILED
            say(f"failed    {job.run}  not started: {error}")


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
