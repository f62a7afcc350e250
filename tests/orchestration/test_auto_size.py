"""`env.num_envs=auto`: the choice from two measurements, what is refused, and one whole measurement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.messages import assert_names
from regimen.cli.launch import launch
from regimen.config.compose import compose
from regimen.config.yaml_io import parse_yaml
from regimen.orchestration import auto_size
from regimen.runs.record_parts import Trial
from regimen.system.errors import PreflightError

CONF = Path(__file__).resolve().parents[2] / "conf"
AUTO = "env.num_envs=auto"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trials(fixed: float, per_env: float, sizes: tuple[int, int] = (64, 512), mib: float = 1.0) -> list[Trial]:
    """Measurements of a task whose step takes `fixed + per_env * N` seconds and N times `mib` MiB."""
    return [Trial(n, fixed + per_env * n, 5, int((300 + mib * n) * 2**20)) for n in sizes]


@pytest.mark.parametrize(("fixed", "per_env"), [(2e-3, 2e-4), (5e-3, 1e-4), (1e-2, 1e-6)])
def test_the_smallest_power_of_two_near_the_highest_rate_is_chosen(fixed, per_env):
    choice = auto_size.chosen(trials(fixed, per_env), most=2**20)
    share = [per_env * n / (fixed + per_env * n) for n in (choice.num_envs, choice.num_envs // 2)]
    assert share[0] >= 0.97 > share[1] and choice.num_envs & (choice.num_envs - 1) == 0
    assert choice.samples_per_s == pytest.approx(share[0] / per_env, rel=1e-3)


def test_no_more_are_chosen_than_may_be_taken():
    assert auto_size.chosen(trials(1e-2, 1e-6), most=1000).num_envs == 512


def test_where_more_envs_cost_more_than_their_share_few_are_chosen():
    assert auto_size.chosen(trials(-1e-3, 2e-4), most=8192).num_envs == 64


def test_where_more_envs_cost_no_time_as_many_are_chosen_as_fit():
    assert auto_size.chosen(trials(1e-2, 0.0), most=4096).num_envs == 4096


def measured_as(monkeypatch: pytest.MonkeyPatch, fixed: float, per_env: float, mib: float) -> list[int]:
    """Replace the training of a measurement by a known cost; return the sizes that are asked for."""
    asked: list[int] = []

    def measured(composed: object, size: int) -> Trial:
        asked.append(size)
        return trials(fixed, per_env, (size, size), mib)[0]

    monkeypatch.setattr("regimen.orchestration.auto_size.measured", measured)
    return asked


def test_the_number_is_frozen_as_if_it_had_been_typed(monkeypatch):
    asked = measured_as(monkeypatch, 2e-3, 2e-4, 0.01)
    sized = auto_size.choose(["task=go2_flat", AUTO], [CONF], Path("outputs"))
    assert asked == [64, 512]
    assert sized.composed.plain["env"]["num_envs"] == sized.choice.num_envs == 512
    assert f"env.num_envs={sized.choice.num_envs}" in sized.composed.overrides


def test_measured_memory_bounds_the_number(monkeypatch):
    measured_as(monkeypatch, 1e-2, 1e-6, 4.0)  # 2048 envs take 8.3 GiB by this measurement, by the estimate 0.6
    monkeypatch.setattr("regimen.system.host.memory_available", lambda: 8 * 2**30)
    assert auto_size.choose(["task=go2_flat", AUTO], [CONF], Path("outputs")).choice.num_envs == 1024


def test_the_estimate_bounds_the_number(monkeypatch):
    measured_as(monkeypatch, 1e-2, 1e-6, 0.0)
    monkeypatch.setattr("regimen.system.host.memory_available", lambda: 2**30)
    sized = auto_size.choose(["task=go2_flat", AUTO], [CONF], Path("outputs"))
    assert sized.report.estimate.main_bytes < 0.9 * 2**30 and sized.choice.num_envs == 4096


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["-m", "task=reach", AUTO, "seed=0,1"], ["a sweep", "dry_run=true"]),
        (["pipeline=go2_walk", AUTO], ["a pipeline", "dry_run=true"]),
        (["task=go2_flat", AUTO, "hardware=slurm"], ["slurm", "dry_run=true"]),
        (["task=go2_flat", AUTO, "hardware=multi", "agent=fast_sac"], ["several"]),
        (["task=go2_flat", AUTO, "stage=evaluate", "policy=pretrained:go2_flat"], ["stage=evaluate"]),
        (["task=go2_flat", AUTO, "agent.trainer.timesteps=x"], ["agent.trainer.timesteps"]),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(capsys, monkeypatch, overrides, names):
    asked = measured_as(monkeypatch, 2e-3, 2e-4, 0.01)
    assert launch(overrides, CONF) == 2
    assert_names(capsys.readouterr().err, *names)
    assert asked == [] and not Path("outputs").exists()


def test_auto_in_a_file_is_refused_with_where_to_type_it(tmp_path, capsys):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    text = "# @package _global_\n# E\ndefaults:\n  - override /task: reach\nenv: {num_envs: auto}\n"
    (tmp_path / "own" / "experiment" / "e.yaml").write_text(text)
    assert launch(["--config-dir", "own", "experiment=e"], CONF) == 2
    assert_names(capsys.readouterr().err, "env.num_envs", AUTO, "e.yaml:5")


@pytest.mark.slow
def test_a_measurement_that_fails_names_what_its_process_said():
    composed = compose(["task=reach", "env.num_envs=8"], [CONF])
    composed.plain["env"]["robot"] = "no_such_robot"
    with pytest.raises(PreflightError) as caught:
        auto_size.measured(composed, 8)
    assert_names(str(caught.value), "no_such_robot", 8)


@pytest.mark.slow
def test_a_run_is_measured_started_and_recorded(tmp_path, capsys):
    settings = ["hardware.threads=1", "agent.agent.rollouts=8", "agent.trainer.timesteps=80"]
    assert launch(["task=reach", AUTO, *settings], CONF) == 0
    (folder,) = (tmp_path / "outputs").iterdir()
    record = json.loads((folder / "run.json").read_text())
    size = parse_yaml((folder / "config.yaml").read_text())["env"]["num_envs"]
    assert record["size_choice"]["num_envs"] == size and f"env.num_envs={size}" in record["overrides"]
    assert [trial["num_envs"] for trial in record["size_choice"]["trials"]] == [64, 512]
    assert record["status"] == "finished" and record["estimated_memory"]["main"]["process"] > 0
