"""Controls: events of a device become actions by the table of the configuration."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.messages import assert_names, raises_naming
from regimen.config.compose import compose_config
from regimen.envs.controls.config import ControlsCfg
from regimen.envs.controls.controller import Controller, InputEvent
from regimen.system.errors import ConfigError

ACTIONS = ["x", "y", "gripper"]


def controller(device: str = "keyboard", clip: float | None = 1.0, **fields: object) -> Controller:
    return Controller(ControlsCfg(device=device, **fields), ACTIONS, clip)  # type: ignore[arg-type]


def test_keys_that_are_held_move_and_stop_when_released() -> None:
    keys = controller()
    assert not keys.active and keys.action().tolist() == [0.0, 0.0, 0.0]
    keys.feed([InputEvent("w", 1.0), InputEvent("d", 1.0)])
    assert keys.active and keys.action().tolist() == [1.0, -1.0, 0.0]
    keys.feed([InputEvent("d", 0.0), InputEvent("e", 1.0)])
    assert keys.action().tolist() == [1.0, 0.0, 1.0]
    keys.feed([InputEvent("s", 1.0)])
    assert keys.action().tolist() == [0.0, 0.0, 1.0], "opposite keys cancel"
    keys.release()
    assert not keys.active


def test_sticks_move_by_their_deflection_beyond_the_dead_zone() -> None:
    pad = controller("gamepad", clip=2.0, speed=0.5)
    pad.feed([InputEvent("left_y", -0.5), InputEvent("left_x", 0.05), InputEvent("right_trigger", 1.0)])
    np.testing.assert_allclose(pad.action(), [0.5, 0.0, -1.0])
    pad.feed([InputEvent("left_y", 0.0), InputEvent("right_trigger", 0.0)])
    assert not pad.active


def test_an_episode_is_broken_off_once_for_each_press() -> None:
    keys = controller()
    keys.feed([InputEvent("backspace", 1.0), InputEvent("backspace", 0.0)])
    assert not keys.active
    assert [keys.discarded(), keys.discarded()] == [True, False]


def test_the_table_of_the_configuration_counts() -> None:
    table = {"up": "x+", "down": "x-", "left": "y+", "space": "gripper-"}
    keys = controller(keyboard=table)
    keys.feed([InputEvent("w", 1.0)])
    assert not keys.active
    keys.feed([InputEvent("down", 1.0), InputEvent("space", 1.0)])
    assert keys.action().tolist() == [-1.0, 0.0, -1.0]
    with raises_naming(ConfigError, "gripper", "keyboard"):
        controller(keyboard={"up": "x+", "left": "y+"})


def test_wrong_tables_are_found_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.envs.controls.config.no_window", lambda *display: None)
    assert ControlsCfg().problems() == []
    lines = ControlsCfg("joystick", {"spce": "x+", "w": "x"}, {"left_z": "x+"}, speed=0.0, dead_zone=1.0).problems()
    for line, names in zip(
        lines,
        [("spce", "space"), ("w=x", "x+"), ("left_z",), ("speed=0",), ("dead_zone=1",), ("joystick",)],
        strict=True,
    ):
        assert_names(line, *names)


def test_options_of_the_stage_are_those_of_the_dataclass() -> None:
    config = compose_config(["stage=collect", "task=point_goal", "policy=human"], [])
    assert config.stage.controls == ControlsCfg()
