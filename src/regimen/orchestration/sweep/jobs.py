"""Sweeps: every job is checked before the first starts, and each has a run of its own, made before the first starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from regimen.config import structured, sweep_grid
from regimen.config.compose import Composed, compose
from regimen.config.overrides import check_choices, make_loader, options, parse
from regimen.display.console import say
from regimen.orchestration.preflight import Preflight, preflight
from regimen.orchestration.sweep.local import Batch, make_runs
from regimen.orchestration.sweep.record import NOT_STARTED, OPEN, Book, Job
from regimen.runs import inputs
from regimen.system import signals
from regimen.system.errors import Refusal, did_you_mean, refuse


def expand(overrides: list[str], config_dirs: list[Path]) -> list[Composed]:
    """Compose and check every job of the grid that the arguments span.

    Another sweeper chooses its values later; then only what the jobs share is checked here.

    Raises:
        ConfigError: with the problems of all jobs, each said once.
    """
    _checked.clear()  # of an earlier launch by the same process
    loader = make_loader(config_dirs)
    parsed, wrong = parse(overrides, loader)
    wrong += [
        f"argument `{o.input_line}`: a sweep needs a launcher that gives each run a process: hydra/launcher=regimen."
        for o in parsed
        if o.key_or_group == "hydra/launcher" and not str(o.value()).startswith("regimen")
    ]
    refuse(wrong + check_choices(parsed, loader, multirun=True))
    plain = [o for o in parsed if not o.is_hydra_override()]
    sweeper = next((str(o.value()) for o in reversed(parsed) if o.key_or_group == "hydra/sweeper"), "regimen")
    if sweeper not in (known := options(loader, "hydra/sweeper")):
        extra = " It comes with: pip install -e '.[optuna]'" if sweeper == "optuna" else ""
        refuse([f"argument `hydra/sweeper={sweeper}`: there is no such sweeper.{extra} {did_you_mean(sweeper, known)}"])
    if sweeper != "regimen":
        zips = [o.input_line for o in plain if sweep_grid.is_zip(o)]
        refuse([f"argument `{text}`: hydra/sweeper={sweeper} knows no zip(...); take it away." for text in zips])
    if sweeper not in ("regimen", "basic"):
        plain = [o for o in plain if not o.is_sweep_override()]
    jobs = sweep_grid.jobs(plain)
    if (doubles := sweep_grid.size(plain) - len(jobs)) > 0:
        say(f"{doubles} of the combinations {'is' if doubles == 1 else 'are'} listed twice; each runs once")
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
    with inputs.remembered():
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
    loader = CheckedLoader(config_dirs)
    parsed, _ = parse(overrides, loader)
    own = [o.input_line or "" for o in parsed if o.is_hydra_override()] + [f"hydra.sweep.dir='{folder}'"]
    master = loader.load_configuration("config", [*own, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
    if "max_failure_rate" in master.hydra.sweeper and not any("max_failure_rate" in text for text in own):
        master.hydra.sweeper.max_failure_rate = 1.0  # of optuna: by default the first failed trial ends the study
    context = HydraContext(loader, Callbacks(master))
    sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=_never_called, config=master)
    try:
        sweeper.sweep([o.input_line or "" for o in parsed if not o.is_hydra_override()])
    except ValueError as error:
        if "No trials are completed" not in str(error):
            raise
        say("no trial finished, so the study has no best one")


class CheckedLoader(ConfigLoaderImpl):
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


def run_batch(
    folder: Path, overrides: list[list[str]], first: int, config_dirs: list[Path], results: bool = False
) -> list[Job]:
    """Make the runs of all jobs, then start them here or give them to their scheduler; return how they stand.

    Args:
        folder: the sweep's directory; jobs already in its sweep.json are kept.
        overrides: arguments of each job.
        first: number of the first job.
        config_dirs: folder of config.yaml, then the user's own.
        results: whether the caller needs to know how they ended, also those that a scheduler has.

    Raises:
        Interrupted: a signal stopped the jobs; no other batch must follow.
    """
    composed = compose_all(overrides, config_dirs)
    found = preflight_all(composed, folder)
    book = Book(folder, config_dirs)
    jobs = [book.add(first + i, job) for i, job in enumerate(composed)]
    with book.owned(), _recorded(book, jobs):
        runs = make_runs(book, jobs, composed, found)
        work(book, [job for job in jobs if job.run in runs], results or composed[0].config["wait"])
        if book.status == "running":  # none of them could be made
            book.write("ended")
    return jobs


def work(book: Book, jobs: list[Job], wait: bool) -> None:
    """Have the runs of jobs begin or continue, each where its configuration says.

    Args:
        book: the sweep, owned by this process.
        jobs: whose runs exist.
        wait: whether to stay until those that a scheduler has are over.

    Raises:
        Interrupted: a signal stopped those that ran here, or the waiting.
    """
    hardware = {job.run: structured.read_plain(book.run(job).config_path)["hardware"] for job in jobs}
    there = [job for job in jobs if hardware[job.run]["scheduler"]]
    here = [job for job in jobs if not hardware[job.run]["scheduler"]]
    if there:
        submit_jobs(book, there)
    if here:
        batch = Batch(book, here, int(hardware[here[0].run]["max_jobs"]))
        batch.run()
        if batch.stopped is not None:
            raise signals.Interrupted(batch.stopped)
    if there and wait:
        wait_for(book, there)
    elif there and here:
        book.write("submitted")


@contextmanager
def _recorded(book: Book, jobs: list[Job]) -> Iterator[None]:
    """Have sweep.json tell which jobs there are, and which did not get to their start."""
    book.write("running")
    try:
        yield
    except BaseException as error:
        for job in jobs:
            job.status = NOT_STARTED if job.status == "waiting" else job.status
        if book.status == "running":
            book.write("stopped", error.number if isinstance(error, signals.Interrupted) else None)
        raise


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
