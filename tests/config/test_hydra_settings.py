"""Settings of Hydra in files and arguments: honoured, or refused with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.user_folder import make_lab, write
from regimen.cli.launch import launch
from regimen.config.compose import compose
from regimen.config.yaml_io import as_yaml

CONF = Path(__file__).resolve().parents[2] / "conf"
LAB = ["--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act", "dry_run=true"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return make_lab(tmp_path)


def experiment(lab: Path, text: str, name: str = "grid") -> None:
    write(lab / f"experiment/{name}.yaml", f"# @package _global_\n# A grid\n{text}")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert launch([*LAB, *arguments], CONF) == code, capsys.readouterr()
    captured = capsys.readouterr()
    assert not Path("multirun").exists()
    return captured.err if code else captured.out


PARAMS = "hydra:\n  sweeper:\n    params:\n      seed: 0,1,2\n      name: 1e3\n"


def test_a_sweep_written_in_a_file(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment(lab, PARAMS)
    assert_names(said(capsys, "-m", "experiment=grid"), "3 jobs", "seed=0", "seed=2", "name=1e3")
    assert_names(said(capsys, "-m", "experiment=grid", "video=true,false"), "6 jobs")
    text = said(capsys, "-m", "experiment=grid", "seed=7,8")
    assert_names(text, "2 jobs", "seed=7")
    assert "seed=0" not in text


def test_a_file_may_start_a_sweep_itself(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment(lab, PARAMS.replace("hydra:\n", "hydra:\n  mode: MULTIRUN\n"))
    assert_names(said(capsys, "experiment=grid"), "3 jobs")
    assert "jobs" not in said(capsys, "experiment=grid", "hydra.mode=RUN")
    assert "jobs" not in said(capsys, "-r", "experiment=grid")
    assert_names(said(capsys, "seed=0,1", "hydra.mode=MULTIRUN"), "2 jobs")


def test_a_sweep_in_a_file_is_not_ignored_by_a_single_run(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment(lab, PARAMS)
    assert_names(said(capsys, "experiment=grid", code=2), "grid.yaml:5", "-m", "hydra.mode=RUN")
    assert_names(said(capsys, "-m", "experiment=grid,none", code=2), "grid.yaml:5")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("hydra: {sweep: {dir: x}}", ["grid.yaml:3", "hydra.sweep.dir", "name="]),
        ("hydra: {run: {dir: x}}", ["hydra.run.dir"]),
        ("hydra: {job: {name: x}}", ["hydra.job.name", "name="]),
        ("hydra: {launcher: {timeout_min: 3}}", ["hydra.launcher", "hardware.submitit.timeout_min"]),
        ("hydra: {searchpath: [x]}", ["hydra.searchpath", "--config-dir"]),
        ("hydra: {mode: MULTI}", ["hydra.mode=MULTI", "MULTIRUN"]),
        ("hydra: {sweeper: {params: {env: {num_envs: 1}}}}", ["hydra.sweeper.params", "env.num_envs"]),
        ("hydra: {sweeper: {params: {seed: [0, 1]}}}", ["hydra.sweeper.params", "seed: 0,1"]),
        ("hydra: {sweeper: {max_batch_size: 0}}", ["max_batch_size=0"]),
        ("hydra: {sweeper: {max_batch_size: many}}", ["max_batch_size", "many"]),
        ("hydra: {sweeper: {typo: 1}}", ["typo"]),
        ("defaults:\n  - override /hydra/sweeper: optun", ["optun"]),
    ],
)
def test_other_settings_in_a_file_are_refused(
    lab: Path, capsys: pytest.CaptureFixture[str], text: str, names: list[str]
) -> None:
    experiment(lab, text)
    assert_names(said(capsys, "-m", "experiment=grid", "seed=0,1", code=2), *names)


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("hydra.sweeper.params.seed=0,1", ["-m seed=0,1"]),
        ("hydra.sweeper.params={seed:3}", ["hydra.sweeper.params", "seed=0,1,2"]),
        ("hydra.sweep.dir=x", ["name="]),
        ("hydra.verbose=true", ["hydra.verbose", "logs/"]),
        ("hydra/job_logging=default", ["hydra/job_logging", "logs/"]),
        ("hydra.launcher.n_jobs=2", ["hardware.max_jobs"]),
        ("hydra/launcher=basic", ["hydra/launcher=regimen"]),
        ("hydra.mode=multirun", ["MULTIRUN"]),
        ("hydra.sweeper.max_batch_size=1,2", ["hydra.sweeper.max_batch_size=1,2"]),
    ],
)
def test_other_settings_as_arguments_are_refused(
    lab: Path, capsys: pytest.CaptureFixture[str], argument: str, names: list[str]
) -> None:
    assert_names(said(capsys, "-m", "seed=0,1", argument, code=2), argument, *names)


def test_a_setting_of_the_sweep_needs_one(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_names(said(capsys, "hydra.sweeper.max_batch_size=2", code=2), "hydra.sweeper.max_batch_size=2", "-m")


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--resolve"], ["--resolve", "--cfg job"]),
        (["--package", "env"], ["--package", "--cfg job"]),
        (["--experimental-rerun", "x.pickle"], ["regimen rerun"]),
        (["--hydra-help"], ["--hydra-help", "task=idle"]),
        (["--multi"], ["--multi", "--multirun"]),
        (["--conf", "x"], ["--conf", "--config-dir"]),
        (["-m", "--cfg", "job"], ["--multirun", "--cfg"]),
        (["-m", "--run"], ["--multirun", "--run"]),
        (["--config-dir", "other"], ["--config-dir"]),
        (["--cfg", "job", "--cfg", "hydra"], ["--cfg"]),
        (["-m", "hydra.mode=RUN"], ["-m", "hydra.mode"]),
        (["pipeline=a", "pipeline=b"], ["pipeline="]),
    ],
)
def test_flags_without_effect_are_refused(
    lab: Path, capsys: pytest.CaptureFixture[str], flags: list[str], names: list[str]
) -> None:
    assert_names(said(capsys, *flags, code=2), *names)


def test_the_record_of_hydra_holds_its_settings_as_plain_data(lab: Path) -> None:
    experiment(lab, PARAMS.replace("hydra:\n", "hydra:\n  mode: MULTIRUN\n"))
    for arguments, mode in ((["hydra.mode=RUN"], "RUN"), (["experiment=grid"], "MULTIRUN")):
        composed = compose([*LAB[2:], *arguments], [CONF, lab], sweep=True)
        assert f"mode: {mode}" in as_yaml(composed.hydra_record())
