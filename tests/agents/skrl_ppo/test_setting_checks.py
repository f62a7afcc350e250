"""Settings that skrl drops silently, or fails on after the start, are refused before it, by their keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.tasks import CONF
from regimen.config.compose import compose
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
