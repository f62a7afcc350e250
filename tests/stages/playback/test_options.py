"""What cannot look on is told before a simulator starts, with what to type instead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names, missing_names, raises_naming
from regimen.config.compose import compose
from regimen.display.window import no_window
from regimen.orchestration.preflight import preflight
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.system.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
ENV = {"_target_": "regimen.envs.manager_env.ManagerEnv", "evaluation": {"grid": [[0.0], [1.0]], "command": None}}
MUJOCO = {"_target_": "regimen.envs.sims.mujoco.MujocoWorld"}


def problems(config: dict[str, Any], **stage: Any) -> list[str]:
    return EvaluateCfg(**stage).problems({"env": {**ENV, "commands": {}}, "sim": MUJOCO, **config})


@pytest.mark.parametrize(
    ("stage", "config", "names"),
    [
        (
            {"log_data": True, "log_env_ids": [0, 128]},
            {},
            ["log_env_ids=[0, 128]", "env 128", "127", "stage.envs_per_command"],
        ),
        ({"log_data": True, "log_env_ids": [-1]}, {}, ["log_env_ids=[-1]", "env -1"]),
        ({"log_data": True, "log_env_ids": [2, 2]}, {}, ["log_env_ids=[2, 2]", "once"]),
        ({"log_data": True, "log_env_ids": []}, {}, ["log_env_ids=[]", "[0]"]),
        ({"log_data": True, "log_steps": 0}, {}, ["log_steps=0", "1"]),
        ({"video_length": 10}, {}, ["video_length=10", "video=true"]),
        ({"video_length": 0}, {"video": True}, ["video_length=0", "1"]),
        (
            {"viewer": True},
            {"sim": {"_target_": "x.GenesisWorld"}},
            ["viewer=true", "sim=mujoco", "sim.viewer=true", "video=true"],
        ),
        ({"viewer": True}, {"hardware": {"scheduler": "slurm"}}, ["viewer=true", "scheduler", "video=true"]),
        ({"viewer": "window"}, {}, ["viewer=window", "true", "browser"]),
        ({"viewer": "browser", "real_time": True}, {}, ["real_time", "browser"]),
        ({"viewer": "browser", "viewer_port": 0}, {}, ["viewer_port=0", "8080"]),
        (
            {"viewer": "browser"},
            {"env": {"_target_": "regimen.envs.gym.GymEnv"}, "choices": {"task": "gym"}},
            ["viewer=browser", "task=gym", "video=true"],
        ),
        (
            {"real_time": True},
            {"agent": {"_target_": "regimen.agents.failure_detector.FailureGru"}},
            ["real_time", "FailureGru"],
        ),
    ],
)
def test_mistakes(stage, config, names):
    [said] = [line for line in problems(config, **stage) if "grid" not in line]
    assert_names(said, *names)
    assert not [line for line in problems({"video": True}, video_length=10, log_data=True) if "grid" not in line]


def test_without_a_display_there_is_no_window(monkeypatch, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    start = ["stage=evaluate", "policy=pretrained:go2_flat", "task=go2_flat", "stage.viewer=true"]
    with raises_naming(ConfigError, "viewer=true", "DISPLAY", "WAYLAND_DISPLAY", "video=true"):
        preflight(compose(start, [ROOT / "conf"]), tmp_path)


def test_a_display_that_does_not_answer_is_found_out(monkeypatch):
    monkeypatch.setitem(os.environ, "DISPLAY", ":987")
    why = no_window(":987", None)
    assert why and (not missing_names(why, ":987") or not missing_names(why, "pip install -e '.[viewer]'"))
