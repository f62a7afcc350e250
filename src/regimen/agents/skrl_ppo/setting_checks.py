"""Checks of settings that skrl ignores, or fails on after the start. Neither skrl nor torch is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from regimen.system.errors import did_you_mean

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainSection

ACTIVATIONS = ("elu", "leaky_relu", "relu", "selu", "sigmoid", "softmax", "softplus", "softsign", "tanh")
"""Activations of skrl's instantiators, which leave another name out silently."""

CLIPS = ("clip_actions", "clip_mean_actions")
"""Settings of a model that clip actions to the bound of the task."""

EVALUATED = {
    "learning_rate_scheduler": "KLAdaptiveLR",
    "observation_preprocessor": "RunningStandardScaler",
    "state_preprocessor": "RunningStandardScaler",
    "value_preprocessor": "RunningStandardScaler",
}
"""Settings that skrl's Runner evaluates in its own module -> the only name that it has there."""


def networks(models: PlainSection) -> Iterator[tuple[str, str, PlainSection]]:
    """Yield the key, the role and the section of each network of the models."""
    for role, model in models.items():
        if isinstance(model, dict):
            for number, network in enumerate(model.get("network") or []):
                yield f"models.{role}.network.{number}", role, network


def activation_problems(models: PlainSection) -> Iterator[str]:
    """Yield a line for each activation that skrl does not have: the layer before it would have none."""
    for key, _, network in networks(models):
        given = network.get("activations", [])
        if given is None:
            yield f"{key}.activations=null: expected a name, a list of names, or [] for none."
            continue
        for name in given if isinstance(given, list) else [given]:
            if name is not None and str(name).lower() not in ACTIVATIONS:
                hint = did_you_mean(str(name), ACTIVATIONS)
                yield f"{key}.activations={name}: skrl has no activation of that name. {hint}"


def reads_states(network: PlainSection) -> bool:
    """Return whether a network reads skrl's `STATES`."""
    return re.search(r"\bSTATES\b", str(network.get("input"))) is not None


def policy_input_problems(models: PlainSection) -> Iterator[str]:
    """Yield a line for each network of the policy that reads `STATES`: what acts has `OBSERVATIONS` alone."""
    for key, role, network in networks(models):
        if role == "policy" and reads_states(network):
            yield f"{key}.input={network['input']}: only the value network may read STATES. Type OBSERVATIONS."


def evaluated_problems(agent: PlainSection) -> Iterator[str]:
    """Yield a line for each scheduler or preprocessor that skrl does not have."""
    for key, name in EVALUATED.items():
        if (given := agent.get(key)) not in (None, name):
            yield f"agent.{key}={given}: expected {name}, or null for none."


def warmup_problems(models: PlainSection, iterations: int) -> Iterator[str]:
    """Yield a line for a warm-up of the value network alone where it is that of the policy."""
    if iterations and not models.get("separate", True):
        yield (
            f"value_warmup_iterations={iterations}: policy and value share one network, which the warm-up freezes. "
            "Type agent.models.separate=true, or agent.value_warmup_iterations=0."
        )


def clip_problems(models: PlainSection) -> Iterator[str]:
    """Yield a line for each setting that clips actions, which have no bound."""
    for key in CLIPS:
        if (models.get("policy") or {}).get(key):
            yield (
                f"models.policy.{key}=true: the actions of this task have no bound. Type "
                f"agent.models.policy.{key}=false, or env.actions.clip=<bound> where the task has it."
            )


def value_clip_problems(models: PlainSection) -> Iterator[str]:
    """Yield a line for each setting that would clip values to the bound of actions."""
    for key in CLIPS:
        if (models.get("value") or {}).get(key):
            yield f"models.value.{key}=true: a value is no action. Type agent.models.value.{key}=false."
