"""`import regimen`: what it offers, from a notebook or a module of one's own."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import pytest

import regimen
from helpers.messages import assert_names, raises_naming
from helpers.point_env import PointEnv
from helpers.user_folder import make_lab
from regimen.config.static_modules import find
from regimen.envs.conformance.rules import RULES
from regimen.system.errors import ConfigError, IOMismatchError, PreflightError, RunReferenceError

IDLE = ["task=idle", "sim=idle", "agent=idle", "stage=act"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The options of a user's folder, which is the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    conf = make_lab(tmp_path)
    return conf.rename(tmp_path / "my_conf")


@pytest.mark.parametrize("name", regimen.__all__)
def test_every_name_is_there_at_run_time_and_for_readers_of_source(name: str) -> None:
    assert name in dir(regimen)
    value = getattr(regimen, name)
    assert value.__doc__
    if name != "__version__":
        source, _ = find("regimen", name)
        assert value.__module__ == source.name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with raises_naming(AttributeError, "regimen", "lunch"):
        _ = regimen.lunch


def test_compose_gives_the_typed_configuration(lab: Path) -> None:
    config = regimen.compose(["task=go2_flat", "env.num_envs=8", "seed=3"])
    assert isinstance(config, regimen.Config)
    assert (config.env.num_envs, config.seed, config.choices["task"]) == (8, 3, "go2_flat")
    assert regimen.compose(["task=lean"], [lab]).env.rewards["leaning"].params == {"limit": 0.5}


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["task=reech"], ("reech", "reach")),
        (["task=reach", "env.num_env=8"], ("env.num_env", "num_envs")),
        ("task=reach seed=1", ("['task=reach', 'seed=1']",)),
    ],
)
def test_what_is_wrong_with_arguments_is_raised(lab: Path, overrides: list[str], named: tuple[str, ...]) -> None:
    with raises_naming(ConfigError, *named):
        regimen.compose(overrides)
    with raises_naming(ConfigError, *named):
        regimen.launch(overrides)
    assert not Path("outputs").exists()


def test_a_pretrained_policy_acts_in_its_task_and_in_no_other() -> None:
    config = regimen.compose(["task=go2_flat", "env.num_envs=3", "hardware.threads=1"])
    env = regimen.open_env(config)
    try:
        policy = regimen.load_policy("pretrained:go2_flat", env)
        obs, state = env.reset(seed=0), None
        for _ in range(5):
            action, state = policy.act(obs, state)
            obs, reward, *_ = env.step(action)
        assert action.shape == (3, env.io.num_actions) and reward.shape == (3,)
        with raises_naming(IOMismatchError, "velocity_commands"):
            other = PointEnv(3)
            regimen.load_policy("pretrained:go2_flat", other)
        with raises_naming(RunReferenceError, "pretrained", "go2_flat"):
            regimen.load_policy("pretrained:go2_flt", env)
    finally:
        env.close()


def test_check_env_takes_a_configuration_or_a_function() -> None:
    config = regimen.compose(["task=point_goal"])
    for results in (regimen.check_env(config), regimen.check_env(lambda n: PointEnv(n))):
        assert [result.rule for result in results] == list(RULES)
        assert [str(result) for result in results if not result.ok] == []


def test_a_run_is_launched_found_and_looked_at(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = regimen.launch([*IDLE, "seed=5", "name=first"], [lab])
    assert run.status == "finished" and not run.is_open
    assert "finished" in capsys.readouterr().out
    view = regimen.open_run("first")
    assert view.result["headline"] == {"score": 5.0} == view.headline
    assert view.record.argv[:2] == ["launch.py", "task=idle"]
    failed = regimen.launch([*IDLE, "seed=6", "stage.fail_seeds=[6]"], [lab])
    assert failed.status == "failed"
    assert_names(failed.view().record.reason, "ValueError", 6)

    assert {row.id for row in regimen.find_runs()} == {failed.id, run.id}  # both may have started in one second
    assert [row.id for row in regimen.find_runs(status=["finished", "killed"], since="1h")] == [run.id]
    assert [row.id for row in regimen.find_runs("status!=failed", seed=5, sort="name")] == [run.id]
    rows = {row.id: dataclasses.asdict(row) for row in regimen.find_runs()}
    assert json.loads(json.dumps(rows))[run.id]["headline"] == {"score": 5.0}
    with raises_naming(ConfigError, "stats", "status"):
        regimen.find_runs(stats="failed")
    with raises_naming(RunReferenceError, "frist", "first"):
        regimen.open_run("frist")


def test_a_run_in_the_background_is_followed_and_stopped(lab: Path) -> None:
    run = regimen.launch([*IDLE, "stage=make", "stage.steps=1000", "stage.step_s=0.05"], [lab], wait=False)
    assert run.is_open and run.status == "running"
    with pytest.raises(TimeoutError, match=run.id):
        run.wait(timeout_s=0.0)
    while run.view().progress.get("iteration", 0) < 2:
        assert run.is_open
    run.stop()
    assert run.wait(timeout_s=60) == "killed"
    assert not run.is_open
    run.stop()  # has nothing left to do
    again = regimen.LaunchedRun(run.dir)
    assert again.status == "killed"


def test_a_run_of_another_process_is_not_stopped_from_here(lab: Path) -> None:
    run = regimen.launch([*IDLE, "stage.until=go"], [lab], wait=False)
    with raises_naming(regimen.RegimenError, run.id):
        regimen.LaunchedRun(run.dir).stop()
    (lab.parent / "go").touch()
    assert run.wait(timeout_s=60) == "finished"


def test_a_run_is_launched_from_a_thread(lab: Path) -> None:
    runs: list[regimen.LaunchedRun] = []
    thread = threading.Thread(target=lambda: runs.append(regimen.launch(IDLE, [lab])))
    thread.start()
    thread.join()
    assert [run.status for run in runs] == ["finished"]


def test_what_the_launcher_refuses_is_raised(lab: Path) -> None:
    with raises_naming(ConfigError, "dry_run=true"):
        regimen.launch([*IDLE, "dry_run=true"], [lab])
    Path("outputs").touch()
    with pytest.raises((PreflightError, ConfigError)):
        regimen.launch(IDLE, [lab])
