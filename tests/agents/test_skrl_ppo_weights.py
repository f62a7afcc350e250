"""Weights of a policy that reads less than the new one: it acts the same at first, and keeps its gait as it learns."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import CONF
from helpers.trainings import new_run, train, training_config
from regimen.agents.skrl_ppo import SkrlPpo
from regimen.agents.skrl_ppo.policy import SkrlPolicy
from regimen.config.compose import compose_config
from regimen.envs import open_env
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.stages.train import _load_weights
from regimen.system.errors import IOMismatchError

WALKER = CONF.parent / "pretrained" / "h1_flat" / "policy.pt"


def h1(*changes: str):
    return compose_config(["task=h1_failure", "env.num_envs=4", "hardware.threads=1", *changes])


def test_the_first_action_is_that_of_the_healthy_policy_bit_for_bit() -> None:
    config = h1("env.estimate.mode=oracle", "env.estimate.false_alarms_per_hour=90000")
    env, bundle = open_env(config), checkpoint.load(WALKER)
    healthy_io = IOSpec.from_dict(bundle["io"])
    healthy = SkrlPpo.load_policy(bundle, healthy_io, env.device)
    agent = SkrlPpo(config.agent, env.io, env.num_envs, env.device, seed=3)
    _load_weights(WALKER, env, agent)
    told = SkrlPolicy(agent.ppo)
    obs = env.reset(seed=0)
    said = torch.zeros(4)
    for _ in range(30):
        action, _ = told.act(obs, None)
        same, _ = healthy.act({"policy": obs["policy"][:, : healthy_io.size()]}, None)
        assert torch.equal(action, same)
        said += obs["policy"][:, -1]
        obs, *_ = env.step(action)
    assert said.any(), "verdicts were told meanwhile, and did not matter"
    spread = bundle["policy"]["policy"]["log_std_parameter"]
    assert torch.equal(agent.ppo.policy.state_dict()["log_std_parameter"], spread)
    env.close()


def test_new_columns_begin_as_they_are_and_old_ones_keep_their_scale() -> None:
    io = IOSpec({"policy": {"a": 2, "b": 1}}, training_io().action, 0.02)
    wider = IOSpec({"policy": {"a": 2, "new": 2, "b": 1}}, io.action, 0.02)
    cfg = training_config("reach", 24, 4).agent
    old, new = (SkrlPpo(cfg, spec, 4, torch.device("cpu"), seed) for spec, seed in ((io, 0), (wider, 1)))
    scaler = old.ppo.checkpoint_modules["observation_preprocessor"]
    scaler(torch.randn(64, 3) * 3.0 + 1.0, train=True)
    columns = io.columns_in(wider)
    assert columns == [0, 1, 4]
    new.load_policy_state(new.extend_observations(old.policy_state(), columns))
    other = new.ppo.checkpoint_modules["observation_preprocessor"]
    assert torch.equal(other.running_mean[columns], scaler.running_mean)
    assert other.running_mean[2:4].tolist() == [0.0, 0.0] and other.running_variance[2:4].tolist() == [1.0, 1.0]
    assert other.current_count == scaler.current_count
    weight = new.ppo.policy.state_dict()["net_container.0.weight"]
    assert not weight[:, 2:4].any() and weight[:, columns].all()


def training_io() -> IOSpec:
    from helpers.tasks import make_env

    return make_env("reach", 1).io


def test_a_policy_that_reads_more_than_the_task_offers_is_refused(tmp_path: Path) -> None:
    config = h1()
    env = open_env(config)
    bundle = checkpoint.load(WALKER)
    bundle["io"]["observations"]["policy"]["sonar"] = 3
    bundle["io"]["meaning"]["policy"]["sonar"] = {}
    checkpoint.save(tmp_path / "policy.pt", bundle)
    agent = SkrlPpo(config.agent, env.io, 4, env.device, seed=0)
    with raises_naming(IOMismatchError, "policy.sonar"):
        _load_weights(tmp_path / "policy.pt", env, agent)
    env.close()


@pytest.mark.slow
def test_the_policy_stands_still_while_the_value_network_warms_up(tmp_path: Path) -> None:
    config = training_config("reach", timesteps=96, num_envs=4)
    first = new_run(tmp_path, config)
    train(first, config)
    config = copy.deepcopy(config)
    config.policy, config.agent.value_warmup_iterations = str(first.checkpoints / "last.pt"), 2
    config.stage.keep_checkpoints = 9
    second = new_run(tmp_path, config)
    train(second, config)
    saved = [checkpoint.load(path) for path in sorted(second.checkpoints.glob("step_*.pt"))]
    began = checkpoint.load(first.checkpoints / "last.pt")["policy"]["policy"]
    moved = [any(not torch.equal(began[k], b["policy"]["policy"][k]) for k in began) for b in saved]
    assert moved == [False, False, True, True]
    rates = [row["Learning/Learning rate"] for row in second.metrics()]
    values = [b["training"]["agent"]["modules"]["value"]["net_container.0.weight"] for b in saved[:2]]
    assert not torch.equal(*values), "it learns meanwhile"
    assert saved[1]["training"]["agent"]["learning_rates"] == [config.agent.agent["learning_rate"]]
    assert len(rates) == 4
