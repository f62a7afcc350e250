"""A study: optuna chooses the values of jobs from the results of earlier ones; a database keeps them."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.plugins.launcher import Launcher
from hydra.utils import instantiate
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from regimen.config import sweep_grid
from regimen.config.hydra_adapter import raw_value
from regimen.config.yaml_io import as_yaml
from regimen.display.console import say
from regimen.system.errors import ConfigErrors, did_you_mean, raise_if_any

DIRECTIONS = ("minimize", "maximize")


@dataclass
class StudySettings:
    """Settings `hydra.sweeper.*`, see `OptunaSweeperConf`."""

    sampler: Any
    direction: Any
    storage: str | None
    study_name: str | None
    n_trials: int
    n_jobs: int
    max_failure_rate: float

    @property
    def directions(self) -> list[str]:
        """Direction of each metric."""
        return [str(d) for d in ([self.direction] if isinstance(self.direction, str) else self.direction)]

    def problems(self) -> Iterator[str]:
        """Yield a line for each invalid setting."""
        for direction in self.directions:
            if direction not in DIRECTIONS:
                yield f"`hydra.sweeper.direction={direction}`: {did_you_mean(direction, DIRECTIONS)}"
        if not self.directions:
            yield "`hydra.sweeper.direction` is empty: write minimize or maximize."
        for key, number in (("n_trials", self.n_trials), ("n_jobs", self.n_jobs)):
            if number < 1:
                yield f"`hydra.sweeper.{key}={number}`: expected 1 or more."
        if not 0 <= self.max_failure_rate <= 1:
            yield f"`hydra.sweeper.max_failure_rate={self.max_failure_rate}`: expected a share, 0 to 1."
        if self.storage is not None:
            yield from (f"`hydra.sweeper.storage={self.storage}`: {line}" for line in _storage_problems(self.storage))


class Study:
    """A study by optuna.

    Attributes:
        space: key -> distribution of its values.
        fixed: arguments that all jobs share.
    """

    def __init__(self, settings: StudySettings, arguments: list[str]) -> None:
        """Check the settings and the search space; write nothing.

        Args:
            settings: settings of the sweeper.
            arguments: arguments of the jobs; those with several values or an interval are the search space.

        Raises:
            ConfigErrors: all problems, each with its key.
        """
        self.settings = settings
        lines = list(settings.problems())
        parsed = sweep_grid.make_parser(None).parse_overrides(arguments)
        swept = [o for o in parsed if o.is_sweep_override()]
        self.fixed = [o.input_line or "" for o in parsed if o not in swept]
        self.space: dict[str, BaseDistribution] = {}
        self.texts: dict[str, dict[Any, str]] = {}
        for override in swept:
            key = override.get_key_element()
            try:
                self.space[key], self.texts[key] = _distribution(override)
            except ValueError as error:
                lines.append(f"argument `{override.input_line}`: {error}.")
        if not swept:
            lines.append(
                "hydra/sweeper=optuna: no argument has several values; write `key=a,b` or `key=interval(0,1)`."
            )
        raise_if_any(lines)
        self.trials = settings.n_trials
        self.sampler = self._make_sampler()

    def _make_sampler(self) -> optuna.samplers.BaseSampler:
        node, grid = self.settings.sampler, {}
        if str(node["_target_"]).endswith(".GridSampler"):
            grid = {"search_space": {key: _values(key, kind) for key, kind in self.space.items()}}
            self.trials = min(self.trials, math.prod(len(values) for values in grid["search_space"].values()))
        try:
            sampler: optuna.samplers.BaseSampler = instantiate(node, **grid)
        except Exception as error:  # optuna and its optional packages raise many types
            raise ConfigErrors([f"`hydra.sweeper.sampler`: {_first_line(error)}."]) from error
        return sampler

    def open(self) -> None:
        """Create the study, or continue the one of this name in the database.

        Raises:
            ConfigErrors: the database cannot be used, or the study in it has other directions or values.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        settings = self.settings
        where = f"`hydra.sweeper.storage={settings.storage}`"
        try:
            self.study = optuna.create_study(
                study_name=settings.study_name, storage=settings.storage, sampler=self.sampler,
                directions=settings.directions, load_if_exists=True,
            )  # fmt: skip
            earlier = self.study.get_trials(deepcopy=False)
            directions = [d.name.lower() for d in self.study.directions]
        except Exception as error:  # SQLAlchemy, drivers of databases and optuna raise many types
            raise ConfigErrors([f"{where}: the study cannot be opened: {_first_line(error)}."]) from error
        name = f"the study `{self.study.study_name}` in {settings.storage}"
        if directions != settings.directions:
            asked = f"hydra.sweeper.direction={','.join(settings.directions)}"
            raise ConfigErrors([f"`{asked}`: {name} has {','.join(directions)}. Choose another study_name."])
        raise_if_any([line for trial in earlier for line in self._incompatible(trial, name)])
        if settings.storage is not None:
            finished = sum(trial.state == TrialState.COMPLETE for trial in earlier)
            say(f"{name}: {finished} earlier trials with a result. To continue: study_name={self.study.study_name}")

    def _incompatible(self, trial: optuna.trial.FrozenTrial, name: str) -> Iterator[str]:
        for key, kind in trial.distributions.items():
            if key in self.space:
                try:
                    optuna.distributions.check_distribution_compatibility(kind, self.space[key])
                except ValueError:
                    yield f"`{key}`: {name} has other values of it: {kind}. Choose another study_name."

    def run(self, launcher: Launcher, folder: Path) -> None:
        """Run the trials and write optimization_results.yaml, except if no trial has a result.

        Args:
            launcher: runs the jobs.
            folder: directory of the sweep.
        """
        started = 0
        while started < self.trials:
            trials = [self.study.ask(self.space) for _ in range(min(self.settings.n_jobs, self.trials - started))]
            try:
                returns = launcher.launch([self._arguments(trial) for trial in trials], initial_job_idx=started)
            except BaseException:
                for trial in trials:
                    self.study.tell(trial, state=TrialState.FAIL)
                raise
            started += len(trials)
            failed = 0
            for trial, job in zip(trials, returns, strict=True):
                values = _metrics(job._return_value, len(self.settings.directions))
                failed += values is None
                with contextlib.suppress(RuntimeError):  # GridSampler stops a study that has no more values
                    self.study.tell(trial, values, TrialState.COMPLETE if values is not None else TrialState.FAIL)
            if failed > self.settings.max_failure_rate * len(trials):
                say(f"the study ends: {failed} of {len(trials)} jobs failed (hydra.sweeper.max_failure_rate)")
                break
        self._write_best(folder)

    def _arguments(self, trial: optuna.Trial) -> list[str]:
        chosen = [f"{key}={self.texts[key].get(value, value)}" for key, value in trial.params.items()]
        return [*self.fixed, *chosen]

    def _write_best(self, folder: Path) -> None:
        best = [trial for trial in self.study.best_trials if trial.state == TrialState.COMPLETE]
        if not best:
            say("no trial finished, so the study has no best trial")
            return
        result: dict[str, Any] = {"name": "optuna"}
        if len(self.settings.directions) == 1:
            result |= {"best_params": dict(best[0].params), "best_value": best[0].value}
        else:
            result["solutions"] = [{"params": dict(t.params), "values": list(t.values)} for t in best]
        (folder / "optimization_results.yaml").write_text(as_yaml(result), encoding="utf-8")


def _distribution(override: Override) -> tuple[BaseDistribution, dict[Any, str]]:
    """Return the distribution of an argument's values, and of listed values the text of each.

    Raises:
        ValueError: the values are none.
    """
    value = raw_value(override)
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        log = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log), {}
        return FloatDistribution(float(value.start), float(value.end), log=log), {}
    if isinstance(value, RangeSweep) and not value.shuffle:
        numbers = list(value.range())
        if numbers and isinstance(numbers[0], int):
            first, last = min(numbers), max(numbers)
            return IntDistribution(first, last, step=abs(int(value.step))), {}
    texts = [text.partition("=")[2] for text in sweep_grid.value_arguments(override)]
    if not texts:
        raise ValueError("there is no value that fits")
    typed = value.list if isinstance(value, ChoiceSweep) else texts
    plain = [v if isinstance(v, int | float | None) else text for v, text in zip(typed, texts, strict=True)]
    return CategoricalDistribution(plain), dict(zip(plain, texts, strict=True))


def _values(key: str, kind: BaseDistribution) -> list[Any]:
    if isinstance(kind, CategoricalDistribution):
        return list(kind.choices)
    if isinstance(kind, IntDistribution) and not kind.log:
        return list(range(kind.low, kind.high + 1, kind.step))
    raise ConfigErrors([f"`{key}`: hydra/sweeper/sampler=grid takes lists and ranges of whole numbers, no intervals."])


def _metrics(value: Any, count: int) -> list[float] | None:
    """Return the metrics of a job; None if it failed or has not `count` finite ones."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    if len(values) != count or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        return None
    return [float(v) for v in values]


def _storage_problems(storage: str) -> Iterator[str]:
    """Yield why a database cannot be used, as far as this can be checked without writing."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    example = "write sqlite:///study.db, or the URL of a MySQL or PostgreSQL server"
    try:
        url = make_url(storage)
        url.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError):
        yield f"no URL of a database: {example}."
        return
    except ImportError as error:
        yield f"{error}: install the driver of this database, or {example}."
        return
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return
    file = Path(str(url.database))
    if file.is_dir() or not file.absolute().parent.is_dir():
        yield f"{file} is no file in an existing folder."
    elif not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        yield f"{file} cannot be written."
    elif file.exists():
        yield from _damage(file)


def _damage(file: Path) -> Iterator[str]:
    """Yield why an existing SQLite file holds no study; an empty file may get one."""
    advice = "Name another file, or move this one away."
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = {row[0] for row in database.execute("select name from sqlite_master where type = 'table'")}
            ((state,),) = database.execute("pragma quick_check(1)")
    except sqlite3.Error as error:
        yield f"{file} is no readable SQLite database ({error}). {advice}"
        return
    if state != "ok":
        yield f"{file} is damaged ({state}). {advice}"
    elif tables and not {"studies", "version_info"} <= tables:
        yield f"{file} holds other tables than those of optuna ({', '.join(sorted(tables)[:3])}). {advice}"


def _first_line(error: Exception) -> str:
    causes = [str(e).strip() for e in (error.__cause__, error) if e is not None and str(e).strip()]
    return (causes or [type(error).__name__])[0].splitlines()[0].rstrip(".")
