"""Settings and databases of studies: what is refused before anything is written, and what continues."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import raises_naming
from helpers.user_folder import make_lab
from regimen.cli.launch import launch
from regimen.system.errors import ConfigErrors

pytest.importorskip("optuna", minversion="4")

from hydra.core.utils import JobReturn, JobStatus

from regimen.orchestration.sweep.study import Study, StudySettings

CONF = Path(__file__).resolve().parents[3] / "conf"
SPACE = ["lr=tag(log,interval(1e-4,1e-2))", "name=1e3,'2e3'", "seed=range(0,3)", "x={a:1}", "x={b:2}"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(**changes: Any) -> StudySettings:
    sampler = {"_target_": "optuna.samplers.RandomSampler", "seed": 1}
    defaults = dict(sampler=sampler, direction="maximize", storage=None, study_name="lr")
    return StudySettings(**{**defaults, "n_trials": 4, "n_jobs": 2, "max_failure_rate": 1.0, **changes})


class Scores:
    """A launcher whose jobs score their seed; a seed of 2 fails."""

    def __init__(self) -> None:
        self.jobs: list[list[str]] = []

    def launch(self, overrides: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
        self.jobs += overrides
        seeds = [int(next(o for o in job if o.startswith("seed="))[5:]) for job in overrides]
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=None if s == 2 else float(s)) for s in seeds]


def run(**changes: Any) -> Scores:
    study, scores = Study(settings(**changes), SPACE), Scores()
    study.open()
    study.run(scores, Path())
    return scores


def test_jobs_have_the_values_as_they_were_typed() -> None:
    jobs = run(n_trials=20).jobs
    assert {job[0] for job in jobs} == {"x={a:1}"} and {job[1] for job in jobs} == {"x={b:2}"}
    assert {o for job in jobs for o in job if o.startswith("name=")} == {"name=1e3", "name='2e3'"}
    assert {o for job in jobs for o in job if o.startswith("seed=")} == {"seed=0", "seed=1", "seed=2"}
    assert "best_value: 1.0" in Path("optimization_results.yaml").read_text()


@pytest.mark.slow
def test_a_study_continues_from_its_database(capsys: pytest.CaptureFixture[str]) -> None:
    first = run(storage="sqlite:///s.db")
    second = run(storage="sqlite:///s.db", sampler={"_target_": "optuna.samplers.TPESampler"}, n_trials=1)
    assert (len(first.jobs), len(second.jobs)) == (4, 1)
    with sqlite3.connect("s.db") as database:
        assert database.execute("select count(*) from trials").fetchone() == (5,)
    for change, names in (
        ({"direction": "minimize"}, ["direction=minimize", "maximize"]),
        ({"direction": ["maximize", "minimize"]}, ["maximize,minimize"]),
    ):
        with raises_naming(ConfigErrors, "lr", *names):
            Study(settings(storage="sqlite:///s.db", **change), SPACE).open()
    with raises_naming(ConfigErrors, "name", "study_name"):
        Study(settings(storage="sqlite:///s.db"), ["name=a,b"]).open()


def test_a_grid_ends_with_its_last_combination() -> None:
    study = Study(
        settings(sampler={"_target_": "optuna.samplers.GridSampler"}, n_trials=50), ["seed=range(0,2)", "a=x,y"]
    )
    study.open()
    scores = Scores()
    study.run(scores, Path())
    assert sorted(scores.jobs) == [["seed=0", "a=x"], ["seed=0", "a=y"], ["seed=1", "a=x"], ["seed=1", "a=y"]]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"direction": "up"}, ["hydra.sweeper.direction=up", "maximize"]),
        ({"n_trials": 0}, ["hydra.sweeper.n_trials=0"]),
        ({"n_jobs": -1}, ["hydra.sweeper.n_jobs=-1"]),
        ({"max_failure_rate": 2.0}, ["hydra.sweeper.max_failure_rate=2.0"]),
        ({"sampler": {"_target_": "optuna.samplers.TPESampler", "typo": 1}}, ["hydra.sweeper.sampler"]),
        ({"sampler": {"_target_": "optuna.samplers.GridSampler"}}, ["lr", "grid"]),
        ({"storage": "notes"}, ["hydra.sweeper.storage=notes", "sqlite:///study.db"]),
        ({"storage": "foo://x"}, ["hydra.sweeper.storage=foo://x", "sqlite:///study.db"]),
        ({"storage": "sqlite:///no/s.db"}, ["no/s.db"]),
        ({"storage": "sqlite:///foreign.db"}, ["foreign.db", "albums"]),
        ({"storage": "sqlite:///text.db"}, ["text.db"]),
    ],
)
def test_wrong_settings_are_refused_and_nothing_is_written(
    folder: Path, changes: dict[str, Any], names: list[str]
) -> None:
    Path("text.db").write_text("no database at all\n" * 20)
    with sqlite3.connect("foreign.db") as database:
        database.execute("create table albums (title text)")
    before = sorted(path.name for path in folder.iterdir())
    with raises_naming(ConfigErrors, *names):
        Study(settings(**changes), SPACE)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.slow
def test_a_damaged_study_is_refused(folder: Path) -> None:
    run(storage="sqlite:///s.db")
    data = bytearray(Path("s.db").read_bytes())
    data[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    Path("s.db").write_bytes(data)
    with raises_naming(ConfigErrors, "s.db"):
        Study(settings(storage="sqlite:///s.db"), SPACE)


def test_the_launcher_refuses_a_database_before_a_folder_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_lab(folder)
    monkeypatch.syspath_prepend(folder)
    lab = ["-m", "--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act", "seed=0,1"]
    assert launch([*lab, "hydra/sweeper=optuna", "hydra.sweeper.storage=foo://x"], CONF) == 2
    assert "hydra.sweeper.storage=foo://x" in capsys.readouterr().err
    assert not Path("multirun").exists()
