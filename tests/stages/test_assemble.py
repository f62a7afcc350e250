"""Policies put together by stage=assemble and judged like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from helpers.messages import assert_names, raises_naming
from helpers.tasks import CONF
from regimen.config.schema import Config
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.assemble import Assemble, AssembleCfg
from regimen.system.errors import ConfigError

WALKER = CONF.parent / "pretrained" / "h1_flat" / "policy.pt"


def expert(folder: Path, side: str) -> str:
    bundle = checkpoint.load(WALKER)
    joints = [f"{side}_{part}" for part in ("hip_yaw", "hip_roll", "hip_pitch", "knee")]
    checkpoint.save(folder / f"{side}.pt", bundle | {"faults": joints})
    return str(folder / f"{side}.pt")


def assemble(folder: Path, config: Config) -> Path:
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(config.stage)}, ["launch.py"], []))
    Assemble(config.stage)(run, config)
    return run.checkpoints / "last.pt"


def h1(compose_config: Callable[..., Config], folder: Path, *changes: str) -> Config:
    config = compose_config(["task=h1_failure", "stage=assemble", "env.estimate.mode=oracle", *changes])
    config.policy, config.experts = str(WALKER), [expert(folder, side) for side in ("left", "right")]
    return config


def test_a_policy_for_each_leg_and_a_healthy_one_act_as_one(tmp_path, compose_config) -> None:
    from regimen.agents.policy_file import load_policy
    from regimen.envs import open_env

    config = h1(compose_config, tmp_path, "agent=switched_experts")
    bundle = checkpoint.load(assemble(tmp_path, config))
    assert [p["policy"].keys() for p in bundle["policy"]["parts"]] == [checkpoint.load(WALKER)["policy"].keys()] * 3
    env = open_env(config)
    policy = load_policy(bundle, env, 0)
    obs = env.reset(seed=0)
    action, _ = policy.act(obs, None)
    walker = load_policy_alone(env.device)
    assert torch.equal(action, walker.act({"policy": obs["policy"][:, :71]}, None)[0])
    env.close()


def load_policy_alone(device: torch.device):
    from regimen.agents.skrl_ppo import SkrlPpo
    from regimen.envs.vec_env import IOSpec

    bundle = checkpoint.load(WALKER)
    return SkrlPpo.load_policy(bundle, IOSpec.from_dict(bundle["io"]), device)


def test_an_agent_that_cannot_be_assembled_says_which_can(tmp_path, compose_config) -> None:
    with raises_naming(ConfigError, "agent=skrl_ppo", "assemble", "agent=switched_experts"):
        assemble(tmp_path, h1(compose_config, tmp_path, "agent=skrl_ppo"))


def test_what_is_missing_is_said_before_anything_starts() -> None:
    policy, experts = AssembleCfg().problems({"policy": None, "experts": []})
    assert_names(policy, "stage=assemble", "policy=<run reference>")
    assert_names(experts, "stage=assemble", "experts=[<run reference>,…]")
    assert AssembleCfg().problems({"policy": "a", "experts": ["b"]}) == []
