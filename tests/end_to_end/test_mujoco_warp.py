"""Our tasks in MuJoCo Warp through the launcher: a training, and one policy judged in both simulators."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from helpers.launches import launch, record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mujoco_warp") is None, reason="MuJoCo Warp is not installed: make mujoco_warp"),
]

GO2 = ["task=go2_flat", "hardware.threads=1", "env.episode_length_s=1.0"]


def test_a_policy_is_trained_in_mujoco_warp(tmp_path):
    few = ["env.num_envs=4", "agent.trainer.timesteps=48", "stage.checkpoint_interval=24"]
    out = launch(tmp_path, *GO2, "sim=mujoco_warp", "agent=skrl_ppo", *few, "name=dog")
    _, info = record(tmp_path, "dog")
    assert info["status"] == "finished" and info["warnings"] == [], out
    assert (info["determinism"], info["choices"]["sim"]) == ("bit", "mujoco_warp")


def test_a_policy_of_mujoco_has_the_same_return_in_mujoco_warp(tmp_path):
    returns = {}
    for sim in ("mujoco", "mujoco_warp"):
        judged = ["stage=evaluate", "policy=pretrained:go2_flat", "stage.envs_per_command=2", f"sim={sim}"]
        out = launch(tmp_path, *GO2, *judged, f"name=in_{sim}")
        info = record(tmp_path, f"in_{sim}")[1]
        assert info["status"] == "finished" and info["headline"]["survival"] == 1.0, out
        returns[sim] = info["headline"]["return"]
    assert returns["mujoco_warp"] == pytest.approx(returns["mujoco"], rel=0.03)
