"""Settings that skrl drops silently, or fails on after the start, are refused before it, by their keys."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import assert_names, raises_naming
from helpers.tasks import CONF
from regimen.agents.skrl_ppo import SkrlPpo
from regimen.config.compose import compose, compose_config
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigErrors

NETWORK = "agent.models.{role}.network=[{{name: net, input: {input}, layers: [8, 8], activations: {activations}}}]"


def network(role: str, activations: str = "elu", reads: str = "OBSERVATIONS") -> str:
    return NETWORK.format(role=role, input=reads, activations=activations)


def refusal(folder: Path, *overrides: str) -> str:
    """What is said about a training of `reach` with these overrides."""
    with pytest.raises(ConfigErrors) as caught:
        preflight(compose(["task=reach", "agent=skrl_ppo", *overrides], [CONF]), folder)
    return str(caught.value)


def test_activations_that_skrl_lacks_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    told = refusal(tmp_path, network("policy", "silu"), network("value", "[Tanh, tanhh]"))
    assert_names(told, "agent.models.policy.network.0.activations=silu", "selu")
    assert_names(told, "agent.models.value.network.0.activations=tanhh", "tanh")
    assert "activations=Tanh" not in told
    with raises_naming(ConfigErrors, "agent.models.value.network.0.activations=null"):
        preflight(compose(["task=reach", "agent=skrl_ppo", network("value", "null")], [CONF]), tmp_path)


def test_a_layer_may_be_without_an_activation(tmp_path: Path) -> None:
    preflight(compose(["task=reach", "agent=skrl_ppo", network("policy", "[null, ELU]")], [CONF]), tmp_path)


@pytest.mark.parametrize("separate", ["true", "false"])
def test_a_policy_that_reads_states_is_refused(tmp_path: Path, separate: str) -> None:
    critic = "+env.observations.critic={extends: policy}"
    reads = network("policy", reads="'concatenate([OBSERVATIONS, STATES])'")
    told = refusal(tmp_path, critic, reads, f"agent.models.separate={separate}")
    assert_names(told, "agent.models.policy.network.0.input", "STATES", "OBSERVATIONS")
    own = [critic, network("value", reads="STATES"), "agent.models.separate=true"]
    preflight(compose(["task=reach", "agent=skrl_ppo", *own], [CONF]), tmp_path)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (
            ["agent.models.separate=false", "agent.value_warmup_iterations=1"],
            ["agent.value_warmup_iterations=1", "agent.models.separate=true"],
        ),
        (
            [
                "agent.agent.learning_rate_scheduler=LinearLR",
                "agent.agent.value_preprocessor=RunningStandardScalar",
                "agent.models.value.clip_actions=true",
            ],
            [
                "agent.agent.learning_rate_scheduler=LinearLR",
                "KLAdaptiveLR",
                "agent.agent.value_preprocessor=RunningStandardScalar",
                "RunningStandardScaler",
                "agent.models.value.clip_actions=true",
            ],
        ),
        (
            ["env.actions.clip=null", "+agent.models.policy.clip_mean_actions=true"],
            ["agent.models.policy.clip_mean_actions=true", "env.actions.clip"],
        ),
    ],
)
def test_settings_that_skrl_fails_on_are_refused(tmp_path: Path, overrides: list[str], names: list[str]) -> None:
    assert_names(refusal(tmp_path, *overrides), *names)


def clipping(clip: float | None) -> tuple[SkrlPpo, IOSpec]:
    """An agent that clips its mean actions, for actions with a bound."""
    models = ["agent.models.policy.clip_actions=true", "+agent.models.policy.clip_mean_actions=true"]
    io = IOSpec({"policy": {"position": 3}}, ActionSpec(["x", "y"], [1.0, 1.0], [0.0, 0.0], clip), 0.1)
    cfg = compose_config(["task=reach", "agent=skrl_ppo", *models]).agent
    return SkrlPpo(cfg, io, 2, torch.device("cpu"), seed=0), io


def test_the_mean_action_is_clipped_as_in_the_training() -> None:
    agent, io = clipping(0.05)
    bundle: Any = {"agent": asdict(agent.cfg), "policy": agent.policy_state()}
    policy, obs = SkrlPpo.load_policy(bundle, io, torch.device("cpu")), 3.0 * torch.randn(32, 3)
    acted, _ = policy.act({"policy": obs}, None)
    agent.ppo.enable_training_mode(False, apply_to_models=True)
    inputs = {"observations": agent.ppo._observation_preprocessor(obs), "states": None}
    sampled, outputs = agent.ppo.policy.act(inputs, role="policy")
    assert torch.equal(acted, outputs["mean_actions"]) and (acted.abs() == 0.05).any()
    assert sampled.abs().max() <= 0.05
    assert torch.equal(policy.feed_forward()[0](obs), acted)
    with raises_naming(ConfigErrors, "agent.models.policy.clip_actions", "agent.models.policy.clip_mean_actions"):
        clipping(None)


def test_actors_are_no_processes_that_train() -> None:
    made = compose(["task=reach", "agent=skrl_ppo", "hardware.processes=2", "agent.agent.kl_threshold=0.1"], [CONF])
    agent, plain = made.config.agent, made.plain
    assert_names("".join(agent.problems(plain)), "agent.kl_threshold=0.1", 2)
    assert agent.problems({**plain, "hardware": {**plain["hardware"], "channel": {"transport": "http"}}}) == []


def test_a_policy_of_a_training_before_is_not_refused_for_its_activations() -> None:
    made = compose(["task=reach", "agent=skrl_ppo", network("policy", "silu")], [CONF])
    choices = {**made.plain["choices"], "stage": "evaluate"}
    assert made.config.agent.problems(made.plain) and not made.config.agent.problems({**made.plain, "choices": choices})
