"""Settings of the evaluation alongside a training are checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import raises_naming
from regimen.config.compose import compose
from regimen.config.groups import config_home
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError

REACH = ["task=reach"]


def checked(*overrides: str) -> None:
    preflight(compose([*REACH, *overrides], [config_home()]), Path("outputs"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_valid_settings_pass_and_the_settings_of_further_simulators_are_frozen() -> None:
    composed = compose([*REACH, "stage.evaluation.every=960", "stage.evaluation.sims=[genesis]"], [config_home()])
    frozen = composed.plain["stage"]["evaluation"]["sim_settings"]["genesis"]
    assert frozen["_target_"].endswith("GenesisWorld") and frozen["device"] == "cpu"
    assert composed.config.stage.evaluation.sim_settings["genesis"] == frozen
    checked("stage.evaluation.every=960", "stage.evaluation.stop_at=0.1", "stage.evaluation.patience=3")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["every=500"], ["stage.evaluation.every=500", "480"]),
        (["every=0"], ["stage.evaluation.every=0", "480"]),
        (["patience=2"], ["stage.evaluation.patience=2", "every=<steps>"]),
        (["every=480", "patience=0"], ["stage.evaluation.patience=0"]),
        (["every=480", "nice=20"], ["stage.evaluation.nice=20", "19"]),
        (["every=480", "cores=[1,1]"], ["stage.evaluation.cores=[1, 1]"]),
        (["every=480", "direction=up"], ["stage.evaluation.direction=up", "maximize", "minimize"]),
        (["every=480", "sims=[mujoco]"], ["stage.evaluation.sims=['mujoco']", "mujoco"]),
        (["every=480", "sims=[genesi]"], ["stage.evaluation.sims", "genesi", "genesis"]),
        (["every=480", "sim_settings={genesis: {dt: 1}}"], ["stage.evaluation.sim_settings", "sims"]),
    ],
)
def test_wrong_settings_are_named(overrides: list[str], named: list[str]) -> None:
    with raises_naming(ConfigError, *named):
        checked(*(f"stage.evaluation.{text}" for text in overrides))
