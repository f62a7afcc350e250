"""Checks of settings that skrl ignores, or fails on after the start. Neither skrl nor torch is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from regimen.system.errors import did_you_mean

ACTIVATIONS = ("elu", "leaky_relu", "relu", "selu", "sigmoid", "softmax", "softplus", "softsign", "tanh")
"""Activations of skrl's instantiators, which leave another name out silently."""

RunnerSection = dict[str, Any]


def networks(models: RunnerSection) -> Iterator[tuple[str, str, RunnerSection]]:
    """Yield the key, the role and the section of each network of the models."""
    for role, model in models.items():
        if isinstance(model, dict):
            for number, network in enumerate(model.get("network") or []):
                yield f"models.{role}.network.{number}", role, network


def activation_problems(models: RunnerSection) -> Iterator[str]:
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


def reads_states(network: RunnerSection) -> bool:
    """Return whether a network reads skrl's `STATES`."""
    return re.search(r"\bSTATES\b", str(network.get("input"))) is not None


def policy_input_problems(models: RunnerSection) -> Iterator[str]:
    """Yield a line for each network of the policy that reads `STATES`: what acts has `OBSERVATIONS` alone."""
    for key, role, network in networks(models):
        if role == "policy" and reads_states(network):
            yield f"{key}.input={network['input']}: only the value network may read STATES. Type OBSERVATIONS."
