"""Read checkpoints that skrl's PPO or AMP wrote: names and shapes of the weights give the networks.

`agent_<n>.pt` and `best_agent.pt` hold the state of each module: `policy`, `value`, `optimizer`, normalisers. Version 2
names the normaliser of the observations `observation_preprocessor`, version 1 `state_preprocessor`. Networks are those
of skrl's instantiators: one container of linear layers, in a shared model with the layers of both outputs behind it.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from regimen.agents import adoption
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError

NAMES = re.compile(
    r"(?P<container>\w+)_container\.(?P<number>\d+)\.(weight|bias)|log_std_parameter|(policy|value)_layer\.(weight|bias)"
)
LOG_STD = "log_std_parameter"
SCALERS = ("observation_preprocessor", "state_preprocessor")
"""Normaliser of the observations in version 2 and 1. A file of version 2 may have the other for the critic's states."""

State = dict[str, torch.Tensor]


@dataclass
class Layers:
    """Linear layers of a container, each with an activation behind it.

    Attributes:
        container: its name in `network` of the configuration.
        units: sizes of the hidden layers.
        num_inputs: d.
        last: beginning of the names of the output layer's tensors.
    """

    container: str
    units: list[int]
    num_inputs: int
    last: str

    @property
    def first(self) -> str:
        """Name of the first weight (h, d)."""
        return f"{self.container}_container.0.weight"


@dataclass
class SkrlFile:
    """The policy of a checkpoint of skrl.

    Attributes:
        policy: name -> tensor of its model; of a shared one with the value's layers.
        scaler: `running_mean` (d,), `running_variance` (d,) and `current_count`; None without a normaliser.
        shared: whether policy and value are one model.
        actor: layers of the policy.
        critic: layers of the value network; those of the policy in a shared model.
        scales_values: whether values are normalised.
        num_actions: A.
        steps: number in the name of the file, env steps of each env; None for another name.
    """

    policy: State
    scaler: State | None
    shared: bool
    actor: Layers
    critic: Layers
    scales_values: bool
    num_actions: int
    steps: int | None

    @property
    def state(self) -> dict[str, State]:
        """Policy and normaliser in the keys of a checkpoint of `SkrlPpo`."""
        return {"policy": self.policy} | ({} if self.scaler is None else {SCALERS[0]: self.scaler})


def read(path: Path) -> SkrlFile:
    """Read a checkpoint that skrl saved whole.

    Args:
        path: such as agent_2400.pt.

    Raises:
        CheckpointError: it is none, is of another algorithm, holds Python objects, or the network cannot be inferred.
    """
    saved = adoption.read(path, "skrl")
    if "value" not in saved:
        raise CheckpointError(f"{path} is no checkpoint of PPO or AMP: it has {', '.join(saved)}, but no value.")
    policy, value = dict(saved["policy"]), dict(saved["value"])
    checkpoint.require_weights(path, policy, torch.isfinite, "policy")
    shared = "policy_layer.weight" in policy
    try:
        if LOG_STD not in policy:
            raise ValueError(f"policy has no {LOG_STD}, which a policy of GaussianMixin has")
        actor = _layers("policy", policy, shared)
        critic = actor if shared else _layers("value", value, shared=False)
        scaler = next((saved[name] for name in SCALERS if name in saved), None)
        if scaler is not None and len(scaler["running_mean"]) != actor.num_inputs:
            scaler = None if SCALERS[0] not in saved else _wrong_scaler(scaler, actor)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"The network of {path} cannot be inferred: {error}.") from error
    if scaler is not None:
        checkpoint.require_weights(path, scaler, torch.isfinite, SCALERS[0])
    number = re.fullmatch(r"agent_(\d+)", path.stem)
    steps = int(number.group(1)) if number else None
    actions, scales = len(policy[LOG_STD]), "value_preprocessor" in saved
    return SkrlFile(policy, scaler, shared, actor, critic, scales, actions, steps)


def _wrong_scaler(scaler: State, actor: Layers) -> State:
    raise ValueError(
        f"{SCALERS[0]} has {len(scaler['running_mean'])} values, the first layer of the policy takes {actor.num_inputs}"
    )


def _layers(role: str, state: State, shared: bool) -> Layers:
    """Return the layers of a model.

    Raises:
        ValueError: they are no chain of two or more, or something else is there.
    """
    found = {name: NAMES.fullmatch(name) for name in state}
    if unknown := sorted(name for name, match in found.items() if match is None):
        raise ValueError(f"{role} has {', '.join(unknown[:6])}, which belong to no model of skrl's instantiators")
    names = sorted({match["container"] for match in found.values() if match and match["container"]})
    if len(names) != 1:
        raise ValueError(f"{role} has the containers {', '.join(names) or 'none'}, expected one")
    numbers = sorted({int(match["number"]) for match in found.values() if match and match["number"]})
    if numbers != list(range(0, 2 * len(numbers), 2)):
        raise ValueError(f"layers of {role} are number {numbers}, expected 0, 2, … with an activation after each")
    weights = [state[f"{names[0]}_container.{number}.weight"] for number in numbers]
    last = f"{names[0]}_container.{numbers[-1]}."
    if shared:
        weights.append(state["policy_layer.weight"])
        last = "policy_layer."
    for before, after in itertools.pairwise(weights):
        if after.shape[1] != before.shape[0]:
            raise ValueError(f"a layer of {role} gives {before.shape[0]} values, the next one takes {after.shape[1]}")
    if len(weights) < 2:
        raise ValueError(f"{role} has no hidden layer")
    return Layers(names[0], [len(weight) for weight in weights[:-1]], weights[0].shape[1], last)
