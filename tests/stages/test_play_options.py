"""What cannot look on is told before a simulator starts, with what to type instead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from regimen.compose import compose
from regimen.errors import ConfigError
from regimen.preflight import preflight
from regimen.stages.evaluate import EvaluateCfg
from regimen.stages.play_options import no_window

ROOT = Path(__file__).resolve().parents[2]
ENV = {"_target_": "regimen.envs.manager_env.ManagerEnv", "evaluation": {"grid": [[0.0], [1.0]], "command": None}}
MUJOCO = {"_target_": "regimen.sims.mujoco.MujocoWorld"}


def problems(config: dict[str, Any], **stage: Any) -> list[str]:
    return EvaluateCfg(**stage).problems({"env": {**ENV, "commands": {}}, "sim": MUJOCO, **config})


@pytest.mark.parametrize(
    ("stage", "config", "message"),
    [
        ({"log_data": True, "log_env_ids": [0, 128]}, {}, "no env 128. The stage opens 128, number 0 to 127"),
        ({"log_data": True, "log_env_ids": [-1]}, {}, "no env -1"),
        ({"log_data": True, "log_env_ids": [2, 2]}, {}, "each once"),
        ({"log_data": True, "log_env_ids": []}, {}, "such as [0]"),
        ({"log_data": True, "log_steps": 0}, {}, "log_steps=0: expected 1 or more"),
        ({"video_length": 10}, {}, "no film is made. Type video=true too"),
        ({"video_length": 0}, {"video": True}, "video_length=0: expected steps"),
        ({"viewer": True}, {"sim": {"_target_": "x.GenesisWorld"}}, "sim.viewer=true. For a film of it type video"),
        ({"viewer": True}, {"hardware": {"scheduler": "slurm"}}, "a scheduler starts this run where nobody looks"),
        (
            {"real_time": True},
            {"agent": {"_target_": "regimen.agents.failure_gru.FailureGru"}},
            "real_time: FailureGru judges itself",
        ),
    ],
)
def test_mistakes(stage, config, message):
    [said] = [line for line in problems(config, **stage) if "grid" not in line]
    assert message in said
    assert not [line for line in problems({"video": True}, video_length=10, log_data=True) if "grid" not in line]


def test_without_a_display_there_is_no_window(monkeypatch, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    start = ["stage=evaluate", "policy=pretrained:go2_flat", "task=go2_flat", "stage.viewer=true"]
    with pytest.raises(ConfigError) as caught:
        preflight(compose(start, [ROOT / "conf"]), tmp_path)
    told = "neither DISPLAY nor WAYLAND_DISPLAY is set. For a film of it type video=true instead."
    assert told in str(caught.value)


def test_a_display_that_does_not_answer_is_found_out(monkeypatch):
    monkeypatch.setitem(os.environ, "DISPLAY", ":987")
    why = no_window(":987", None)
    assert why and ("no window opens on the display :987" in why or "pip install -e '.[viewer]'" in why)
