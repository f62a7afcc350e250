"""Motion clips recorded from a policy that comes with Regimen."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from regimen.config.compose import compose_config
from regimen.envs import open_env
from regimen.envs.motion.clip import read_clip
from regimen.envs.robots.robot import load
from regimen.envs.vec_env import IOSpec, Obs
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.references import resolve_policy
from regimen.runs.run import Run
from regimen.stages.collect_motion import CollectMotion, CollectMotionCfg
from regimen.system.errors import ConfigError


def collect(folder: Path, cfg: CollectMotionCfg, *overrides: str, policy: str | None = None) -> Run:
    config = compose_config(["task=go2_flat", *overrides], [])
    config.policy = policy or str(resolve_policy("pretrained:go2_flat"))
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(cfg)}, ["launch.py", "stage=collect_motion"], []))
    run.logs.mkdir(exist_ok=True)
    CollectMotion(cfg)(run, config)
    return run


@pytest.mark.slow
def test_one_clip_for_each_command(tmp_path: Path) -> None:
    cfg = CollectMotionCfg(
        commands=[[0.5, 0.0, 0.0], [1.0, 0.0, 0.0]], names=["slow", "fast"], seconds=2.0, license="ours"
    )
    run = collect(tmp_path, cfg)
    clips = {path.stem: read_clip(path, load("go2")) for path in (run.dir / "data" / "motions").glob("*.npz")}
    assert set(clips) == {"slow", "fast"}
    assert clips["slow"].speed == pytest.approx(0.45, abs=0.1) and clips["fast"].speed == pytest.approx(0.97, abs=0.1)
    assert all(clip.duration == pytest.approx(2.0) and clip.license == "ours" for clip in clips.values())
    result = json.loads((run.dir / "result.json").read_text())
    assert [clip["command"] for clip in result["clips"]] == [[0.5, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert {artifact.kind for artifact in run.artifacts()} == {"motion"}


class Standing:
    """A policy that holds the default pose."""

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> Standing:
        return cls()

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        return torch.zeros(len(obs["policy"]), 12), state


def test_a_policy_that_observes_a_fault_estimate(tmp_path: Path) -> None:
    estimate = ["env.estimate.mode=oracle", "env.estimate.joints=['.*calf.*']"]
    env = open_env(compose_config(["task=go2_flat", "env.num_envs=1", *estimate]))
    agent = {"_target_": "stages.test_collect_motion.Standing"}
    bundle = {"format": 1, "run": "standing", "agent": agent, "io": env.io.to_dict(), "policy": {}}
    env.close()
    checkpoint.save(tmp_path / "standing.pt", bundle)
    cfg = CollectMotionCfg(commands=[[0.0, 0.0, 0.0]], names=["still"], settle_s=0.1, seconds=0.4)
    run = collect(tmp_path, cfg, *estimate, policy=str(tmp_path / "standing.pt"))
    assert read_clip(run.dir / "data" / "motions" / "still.npz", load("go2")).frames == 21


@pytest.mark.slow
def test_a_policy_that_falls_leaves_no_clips(tmp_path: Path) -> None:
    with raises_naming(ConfigError, "policy.pt"):
        weak = "env.events.weak={func: randomize_rigid_body_mass, mode: startup, "
        weak += "params: {mass_distribution_params: [200.0, 200.0]}}"
        collect(tmp_path, CollectMotionCfg(commands=[[0.5, 0.0, 0.0]], seconds=1.0), f"+{weak}")


@pytest.mark.parametrize(
    ("cfg", "named"),
    [
        (CollectMotionCfg(commands=[[0.0] * 3], names=["a", "b"]), "names"),
        (CollectMotionCfg(commands=[[0.0] * 3] * 2, names=["a", "a"]), "names"),
        (CollectMotionCfg(commands=[[0.0] * 3], names=["../a"]), "../a"),
        (CollectMotionCfg(seconds=0.0), "seconds"),
        (CollectMotionCfg(commands=[]), "commands"),
        (CollectMotionCfg(commands=[[0.5, 0.0, 0.0], [1.0]]), "[1, 3]"),
    ],
)
def test_bad_settings_are_named_before_the_start(cfg: CollectMotionCfg, named: str) -> None:
    plain = {"env": {"robot": "go2", "evaluation": {"command": "base_velocity", "grid": [[0.0, 0.0, 0.0]]}}}
    assert any(named in line for line in cfg.problems(plain))
    assert CollectMotionCfg().problems(plain) == []
